import asyncio
from datetime import timedelta

import msgspec
import nats
import pytest
from sqlalchemy import func, select, text

from perfopt.domain import recommendation as domain
from perfopt.domain.enums import DeclineCode, OptimizationStatus, OptimizationType
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt.errors import (
    AmbiguousError,
    InvalidInputError,
    NotFoundError,
    SourceError,
    SourceUnavailableError,
)
from perfopt_api.events.nats import JOB_SUBJECT
from perfopt_api.jobs.policy import WorkerPolicy
from perfopt_api.store.tables import jobs

REQUEST = PerformanceAnalysisRequest(service_name="vm-1")
SOON = timedelta(seconds=10)


async def ask(api, name="vm-1", priority="interactive"):
    request = msgspec.structs.replace(REQUEST, service_name=name, priority=priority)
    job = (await api.store.create_job(request)).job
    await api.queue.enqueue(job.job_id)
    return job.job_id


async def attempts(api, job_id):
    async with api.backends.database.transaction() as connection:
        return await connection.scalar(select(jobs.c.attempts).where(jobs.c.job_id == job_id))


async def messages(api, settings):
    return (await api.backends.nats.jetstream.stream_info(settings.job_stream)).state.messages


async def test_a_job_is_answered_and_its_event_published(
    api, settings, worker, recommendation, result, eventually
):
    async def analyse(request):
        assert request == REQUEST
        return result(recommendation())

    subscriber = await nats.connect(settings.nats_url)
    heard = await subscriber.subscribe("quantivista.optimization.>")  # events, and nothing of our own use
    async with worker(settings, analyse):
        job = await api.waiter.wait_for_job(await ask(api), SOON)
        message = await heard.next_msg(timeout=5)
        ended = msgspec.json.decode((await heard.next_msg(timeout=5)).data)
    assert job.status is OptimizationStatus.RECOMMENDATIONS_READY
    body = msgspec.json.decode(message.data)
    told = body["optimization_recommendation"]["recommendation_id"]
    assert [each.recommendation_id for each in job.recommendations] == [told]
    assert message.headers["Nats-Msg-Id"] == body["event_id"]
    await eventually(lambda: _empty(api, settings))
    assert (ended["job_id"], ended["status"]) == (job.job_id, "RECOMMENDATIONS_READY")
    assert heard.pending_msgs == 0
    await subscriber.close()


async def _empty(api, settings):
    return await messages(api, settings) == 0


async def test_many_jobs_at_once_are_each_answered_once(api, settings, worker, recommendation, result):
    seen = []

    async def analyse(request):
        seen.append(request)
        return result(recommendation(request.service_name))

    async with worker(settings, analyse):
        ids = await asyncio.gather(*(ask(api, f"vm-{number}") for number in range(40)))
        done = await asyncio.gather(*(api.waiter.wait_for_job(each, SOON) for each in ids))
    assert len(seen) == 40
    assert all(job.status is OptimizationStatus.RECOMMENDATIONS_READY for job in done)
    assert len({job.recommendations[0].recommendation_id for job in done}) == 40


@pytest.mark.parametrize(
    ("error", "code", "candidates"),
    [
        (
            NotFoundError("No such service.", field="service_name", candidates=("a", "b")),
            "not_found",
            ["a", "b"],
        ),
        (AmbiguousError("Two match.", candidates=("x/a", "y/a")), "ambiguous", ["x/a", "y/a"]),
        (InvalidInputError("Bad period.", field="analysis_period"), "invalid_input", None),
        (SourceError("401 from Prometheus."), "source_error", None),
    ],
)
async def test_what_retrying_cannot_help_fails_at_once_and_says_why(
    api, settings, worker, error, code, candidates
):
    async def analyse(request):
        raise error

    async with worker(settings, analyse):
        job = await api.waiter.wait_for_job(await ask(api), SOON)
    assert job.status is OptimizationStatus.FAILED
    assert (job.error["code"], job.error["message"]) == (code, error.message)
    assert job.error.get("candidates") == candidates
    assert job.error.get("field") == error.field
    assert await attempts(api, job.job_id) == 1


async def test_a_source_that_comes_back_is_tried_again(api, settings, worker, recommendation, result):
    tries = []

    async def analyse(request):
        tries.append(request)
        if len(tries) < 3:
            raise SourceUnavailableError("Prometheus is down.")
        return result(recommendation())

    async with worker(settings, analyse):
        job = await api.waiter.wait_for_job(await ask(api), SOON)
    assert job.status is OptimizationStatus.RECOMMENDATIONS_READY
    assert len(tries) == 3


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            SourceUnavailableError("Prometheus is down."),
            "source_unavailable",
            "Prometheus is down. (3 attempts)",
        ),
        (RuntimeError("boom"), "internal_error", "an error that perfopt did not expect. (3 attempts)"),
    ],
)
async def test_exhausted_attempts_end_as_failed_without_a_trace(api, settings, worker, error, code, message):
    async def analyse(request):
        raise error

    async with worker(settings, analyse):
        job = await api.waiter.wait_for_job(await ask(api), SOON)
    assert job.status is OptimizationStatus.FAILED
    assert job.error["code"] == code
    assert job.error["message"].endswith(message)
    assert "boom" not in str(job.error)


async def test_all_declined_is_ready_but_failed_where_no_strategy_could_run(api, settings, worker, result):
    kind = OptimizationType.RESOURCE_OPTIMIZATION
    warning = domain.AnalysisWarning(code="plugin_failed", message="resource crashed", plugin="resource")
    codes = iter([DeclineCode.SHORT_HISTORY, DeclineCode.STRATEGY_FAILED])

    async def analyse(request):
        declined = domain.Declined(optimization_type=kind, code=next(codes), reason="Because.")
        return result(declined=(declined,), warnings=(warning,))

    async with worker(settings, analyse):
        ready = await api.waiter.wait_for_job(await ask(api), SOON)
        failed = await api.waiter.wait_for_job(await ask(api), SOON)
    assert ready.status is OptimizationStatus.RECOMMENDATIONS_READY
    assert ready.declined[0].code is DeclineCode.SHORT_HISTORY
    assert failed.status is OptimizationStatus.FAILED
    assert failed.error["code"] == "no_strategy"
    assert failed.warnings == (warning,)


async def test_a_long_job_keeps_its_lease(api, settings, worker, recommendation, result):
    started = []

    async def analyse(request):
        started.append(request)
        await asyncio.sleep(2.5)  # the lease is one second
        return result(recommendation())

    async with worker(settings, analyse), worker(settings, analyse):
        job = await api.waiter.wait_for_job(await ask(api), SOON)
    assert job.status is OptimizationStatus.RECOMMENDATIONS_READY
    assert len(started) == 1


async def test_a_worker_that_lost_its_lease_drops_the_work(
    api, settings, worker, recommendation, result, eventually
):
    started, cancelled = [], []

    async def analyse(request):
        started.append(request)
        if len(started) > 1:
            return result(recommendation())
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(request)
            raise

    async with worker(settings, analyse):
        job_id = await ask(api)
        await eventually(lambda: started)
        async with api.backends.database.transaction() as connection:
            values = {"lease_owner": "other", "lease_expires_at": func.now() + timedelta(seconds=0.5)}
            await connection.execute(jobs.update().values(values))
        job = await api.waiter.wait_for_job(job_id, SOON)
    assert cancelled
    assert job.status is OptimizationStatus.RECOMMENDATIONS_READY


async def test_a_lost_lease_whose_worker_lives_counts_as_no_lost_worker(
    api, settings, worker, recommendation, result, eventually
):
    started = []

    async def analyse(request):
        started.append(request)
        if len(started) == 1:
            await asyncio.Event().wait()
        return result(recommendation())

    async with worker(settings, analyse):
        job_id = await ask(api)
        await eventually(lambda: started)
        async with api.backends.database.transaction() as connection:
            soon = func.now() + timedelta(seconds=0.5)
            values = {"lease_owner": "other", "lease_expires_at": soon, "lost_leases": 1}
            await connection.execute(jobs.update().values(values))
        await api.waiter.wait_for_job(job_id, SOON)
    async with api.backends.database.transaction() as connection:
        lost = await connection.scalar(select(jobs.c.lost_leases))
    assert lost == 1  # that of "other", which did not come back; that of this worker is taken back


async def test_stopping_gives_running_jobs_back_to_another_worker(
    api, settings, worker, recommendation, result, eventually
):
    started = []

    async def stuck(request):
        started.append(request)
        await asyncio.Event().wait()

    async def analyse(request):
        return result(recommendation())

    async with worker(settings, stuck):
        job_id = await ask(api)
        await eventually(lambda: started)
    assert (await api.store.get_job(job_id)).status is OptimizationStatus.ANALYZING
    assert await attempts(api, job_id) == 0
    async with worker(settings, analyse):
        job = await api.waiter.wait_for_job(job_id, timedelta(seconds=2))
    assert job.status is OptimizationStatus.RECOMMENDATIONS_READY


async def test_a_job_whose_message_is_lost_is_answered_all_the_same(
    api, settings, worker, recommendation, result
):
    async def analyse(request):
        return result(recommendation())

    job = (await api.store.create_job(REQUEST)).job  # and nobody enqueues it
    async with worker(settings, analyse):
        answered = await api.waiter.wait_for_job(job.job_id, SOON)
    assert answered.status is OptimizationStatus.RECOMMENDATIONS_READY


async def test_queueing_twice_leaves_one_message(api, settings):
    job_id = await ask(api)
    await api.queue.enqueue(job_id)
    assert await messages(api, settings) == 1


async def test_messages_of_unknown_and_finished_jobs_go_away(
    api, settings, worker, recommendation, result, eventually
):
    async def analyse(request):
        return result(recommendation())

    async with worker(settings, analyse):
        job = await api.waiter.wait_for_job(await ask(api), SOON)
        for job_id in (job.job_id, "nobody"):
            await eventually(lambda: _empty(api, settings))
            await api.backends.nats.jetstream.publish(f"{JOB_SUBJECT}.{job_id}", job_id.encode())
        await eventually(lambda: _empty(api, settings))
    assert len((await api.store.get_job(job.job_id)).recommendations) == 1


async def test_a_job_that_kills_its_worker_ends_as_failed(api, settings, worker):
    job_id = await ask(api)
    async with api.backends.database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE optimization_jobs SET attempts = 3, lease_owner = 'dead', "
                "lease_expires_at = now() - interval '1 s'"
            )
        )

    async def analyse(request):
        raise AssertionError("a fourth attempt of three")

    async with worker(settings, analyse):
        job = await api.waiter.wait_for_job(job_id, SOON)
    assert job.error["code"] == "attempts_exhausted"


async def test_waiting_ends_with_the_job_as_it_stands(api):
    job_id = await ask(api)
    job = await api.waiter.wait_for_job(job_id, timedelta(seconds=0.1))
    assert job.status is OptimizationStatus.ANALYZING
    with pytest.raises(NotFoundError, match="There is no job nonsense"):
        await api.waiter.wait_for_job("nonsense", timedelta(seconds=1))


async def test_equal_requests_in_the_queue_are_analysed_once(api, settings, worker, recommendation, result):
    seen = []

    async def analyse(request):
        seen.append(request)
        return result(recommendation(request.service_name))

    ids = {await ask(api) for _ in range(5)}
    async with worker(settings, analyse):
        [job] = [await api.waiter.wait_for_job(job_id, SOON) for job_id in ids]
    assert job.status is OptimizationStatus.RECOMMENDATIONS_READY
    assert len(seen) == 1


async def test_an_interactive_job_starts_within_a_second_beside_long_jobs_of_a_fleet(
    api, settings, worker, recommendation, result, eventually
):
    started, go_on = [], asyncio.Event()

    async def analyse(request):
        started.append(request.service_name)
        if request.service_name.startswith("fleet/"):
            await go_on.wait()
        return result(recommendation(request.service_name))

    loop = asyncio.get_running_loop()
    async with worker(settings, analyse):
        for number in range(20):
            await ask(api, f"fleet/s{number}", "fleet")
        await eventually(lambda: started)
        began = loop.time()
        job = await api.waiter.wait_for_job(await ask(api, "mine"), SOON)
        assert loop.time() - began < 1.5
        assert job.status is OptimizationStatus.RECOMMENDATIONS_READY
        assert len(started) == 2  # one slot of two works for the fleet
        go_on.set()


async def test_auto_apply_says_why_nothing_is_applied(api, settings, worker, recommendation, result):
    async def analyse(request):
        made = recommendation(request.service_name)
        return result(msgspec.structs.replace(made, requires_approval=True, rules_fired=("four-eyes",)))

    request = msgspec.structs.replace(REQUEST, auto_apply=True)
    job_id = (await api.store.create_job(request)).job.job_id
    await api.queue.enqueue(job_id)
    async with worker(settings, analyse):
        job = await api.waiter.wait_for_job(job_id, SOON)
    assert job.status is OptimizationStatus.RECOMMENDATIONS_READY
    assert [warning.code for warning in job.warnings] == ["executor_not_configured", "approval_required"]
    assert job.warnings[1].message == "RESOURCE_OPTIMIZATION needs approval by the rule four-eyes."


async def test_an_answer_is_quick(api, settings, worker, recommendation, result):
    async def analyse(request):
        return result(recommendation(request.service_name))

    loop = asyncio.get_running_loop()
    took = []
    async with worker(settings, analyse, WorkerPolicy()):
        for _ in range(20):
            began = loop.time()
            job = await api.waiter.wait_for_job(await ask(api), SOON)
            took.append(loop.time() - began)
            assert job.status is OptimizationStatus.RECOMMENDATIONS_READY
    assert sorted(took)[10] < 0.5, took
