import asyncio
import itertools
import re
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import select, text

from perfopt.domain import recommendation as domain
from perfopt.domain.enums import DeclineCode, OptimizationStatus, OptimizationType
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt.errors import ConflictError, InvalidInputError
from perfopt_api.events.message import STATUS_PREFIX
from perfopt_api.store.port import FinishResult, JobClaim, JobError
from perfopt_api.store.tables import outbox

LEASE = timedelta(seconds=30)
_hours = itertools.count(1)
REQUEST = PerformanceAnalysisRequest(service_name="portfolio_management_service")


async def claimed(store, work, service="vm-1", lease=LEASE):
    different = f"{next(_hours)}h"  # equal requests would be one job
    await store.create_job(PerformanceAnalysisRequest(service_name=service, analysis_period=different))
    claim = await work.claim(owner=different, lease=lease)
    assert isinstance(claim, JobClaim)
    return claim


async def finished(store, work, outcome):
    claim = await claimed(store, work, outcome.service_name)
    assert await work.finish_job(claim, outcome) is FinishResult.DONE
    return (await store.get_job(claim.job_id)).recommendations


async def events(database, *, of_status=False):
    """Returns the events of recommendations, or those of the status of jobs."""
    status = outbox.c.subject.startswith(STATUS_PREFIX)
    wanted = select(outbox).where(status if of_status else ~status).order_by(outbox.c.id)
    async with database.transaction() as connection:
        rows = (await connection.execute(wanted)).all()
    return [(row, msgspec.json.decode(row.payload)) for row in rows]


async def test_a_new_job_reads_back_as_it_was_asked_for(store):
    request = PerformanceAnalysisRequest(service_name="a/b", analysis_period="P7D")
    created = await store.create_job(request, requester="ann")
    assert created.replayed is False
    job = await store.get_job(created.job.job_id)
    assert job == created.job
    assert (job.service_name, job.analysis_period) == ("a/b", "P7D")
    assert job.status is OptimizationStatus.ANALYZING
    assert job.optimization_types == tuple(OptimizationType)
    assert job.optimization_type is OptimizationType.RESOURCE_OPTIMIZATION
    assert await store.get_job("nonsense") is None


async def test_a_finished_job_gives_back_every_field_in_the_order_it_was_written(
    store, work, recommendation, result
):
    made = recommendation()
    declined = domain.Declined(
        optimization_type=OptimizationType.COST_OPTIMIZATION, code=DeclineCode.NO_STRATEGY, reason="None."
    )
    warning = domain.AnalysisWarning(code="short_history", message="Only 3 days.")
    claim = await claimed(store, work)
    await work.finish_job(claim, result(made, declined=(declined,), warnings=(warning,)))
    job = await store.get_job(claim.job_id)
    assert job.status is OptimizationStatus.RECOMMENDATIONS_READY
    assert job.completed_at is not None
    assert (job.declined, job.warnings) == ((declined,), (warning,))
    [stored] = job.recommendations
    assert re.fullmatch(r"opt_\d{8}_001", stored.recommendation_id)
    expected = msgspec.structs.replace(made, recommendation_id=stored.recommendation_id)
    assert msgspec.json.encode(stored) == msgspec.json.encode(expected)
    assert await store.get_recommendation(stored.recommendation_id) == (stored, claim.job_id)
    assert await store.get_recommendation("opt_20000101_001") is None


async def statuses(database):
    """Returns job, status and code of the error of each event of a status."""
    told = [body for _, body in await events(database, of_status=True)]
    return [(body["job_id"], body["status"], body.get("error", {}).get("code")) for body in told]


async def test_how_an_analysis_ends_is_announced_once_and_with_it(
    store, work, database, recommendation, result
):
    claim = await claimed(store, work)
    assert await statuses(database) == []
    await work.finish_job(claim, result(recommendation()))
    await work.finish_job(claim, result(recommendation()))
    assert await statuses(database) == [(claim.job_id, "RECOMMENDATIONS_READY", None)]
    [(row, body)] = await events(database, of_status=True)
    assert row.subject == f"{STATUS_PREFIX}.RESOURCE_OPTIMIZATION.vm-1"
    assert body["details_url"] == f"https://perfopt.example/api/v1/optimization/jobs/{claim.job_id}"
    assert "parent_job_id" not in body


async def test_a_failed_and_a_cancelled_analysis_are_announced_with_the_reason(store, work, database):
    failed = await claimed(store, work, "vm-1")
    await work.fail_job(failed, JobError(code="no_data", message="None.", remedy="Wait."))
    cancelled = await claimed(store, work, "vm-2")
    assert await store.cancel_analysis(cancelled.job_id)
    assert not await store.cancel_analysis(cancelled.job_id)
    assert await statuses(database) == [
        (failed.job_id, "FAILED", "no_data"),
        (cancelled.job_id, "FAILED", "cancelled"),
    ]


async def test_finishing_twice_changes_nothing(store, work, database, recommendation, result):
    claim = await claimed(store, work)
    assert await work.finish_job(claim, result(recommendation())) is FinishResult.DONE
    assert await work.finish_job(claim, result(recommendation(cpu_request="1"))) is FinishResult.ALREADY
    assert await work.fail_job(claim, JobError(code="x", message="y")) is FinishResult.ALREADY
    assert len((await store.get_job(claim.job_id)).recommendations) == 1
    assert len(await events(database)) == 1


async def test_ids_are_unique_under_concurrency(store, work, recommendation, result):
    async def one(number):
        service = f"vm-{number % 5}"
        return await finished(
            store,
            work,
            result(
                recommendation(service),
                recommendation(service, kind=OptimizationType.COST_OPTIMIZATION),
            ),
        )

    made = [r for rs in await asyncio.gather(*(one(n) for n in range(25))) for r in rs]
    ids = {r.recommendation_id for r in made}
    assert len(ids) == 50
    assert all(re.fullmatch(r"opt_\d{8}_\d{3,}", each) for each in ids)
    current = await store.list_recommendations(limit=500)
    assert len(current.items) == 10  # five workloads, two types: the others are superseded


async def test_ids_grow_past_three_digits(store, work, database, recommendation, result):
    async with database.transaction() as connection:
        await connection.execute(
            text("INSERT INTO recommendation_counters VALUES ((now() AT TIME ZONE 'UTC')::date, 999)")
        )
    [made] = await finished(store, work, result(recommendation()))
    assert made.recommendation_id.endswith("_1000")


async def test_a_newer_recommendation_supersedes_only_the_same_workload_and_type(
    store, work, recommendation, result
):
    [old] = await finished(store, work, result(recommendation()))
    [other] = await finished(store, work, result(recommendation("vm-2")))
    [cost] = await finished(store, work, result(recommendation(kind=OptimizationType.COST_OPTIMIZATION)))
    [new] = await finished(store, work, result(recommendation(cpu_request="600m")))
    current = {r.recommendation_id for r in (await store.list_recommendations()).items}
    assert current == {other.recommendation_id, cost.recommendation_id, new.recommendation_id}
    every = {
        r.recommendation_id: r for r in (await store.list_recommendations(include_superseded=True)).items
    }
    assert every[old.recommendation_id].superseded_by == new.recommendation_id
    assert len(every) == 4


async def test_of_two_of_one_type_in_one_job_the_better_ranked_is_current(
    store, work, database, recommendation, result
):
    first, second = await finished(store, work, result(recommendation(), recommendation(cpu_request="2")))
    assert first.superseded_by is None
    assert second.superseded_by == first.recommendation_id
    assert len(await events(database)) == 1


async def test_events_tell_of_material_differences_only(store, work, database, recommendation, result):
    for state in (
        {"cpu_request": "300m"},  # the first: told
        {"cpu_request": "310m"},  # 3 % off
        {"cpu_request": "320m"},  # 3 % off the last, 7 % off what subscribers know: told
        {"cpu_request": "320m", "replicas": 5},  # told
        {"cpu_request": "320m", "replicas": 5, "memory_request": "820Mi"},
        {"cpu_request": "320m", "replicas": 5, "memory_request": None},  # told
        {"cpu_request": "320m", "replicas": 5, "memory_request": None, "knobs": {"GOMAXPROCS": 2}},  # told
    ):
        await finished(store, work, result(recommendation(**state)))
    told = [
        body["optimization_recommendation"]["recommendation_id"][-3:] for _, body in await events(database)
    ]
    assert told == ["001", "003", "004", "006", "007"]


async def test_predictions_come_with_the_job_and_the_recommendation_and_not_in_listings(
    store, work, recommendation, result
):
    start = datetime(2025, 6, 21, tzinfo=UTC)
    series = domain.PredictionSeries(
        unit="cores", start=start, step_seconds=300, quantiles={"0.5": [0.1, 0.2]}
    )
    made = msgspec.structs.replace(recommendation(), predictions={"main/cpu_cores": series})
    [kept] = await finished(store, work, result(made))
    assert kept.predictions == {"main/cpu_cores": series}
    found, job_id = await store.get_recommendation(kept.recommendation_id)
    assert (
        found.predictions == (await store.get_job(job_id)).recommendations[0].predictions == made.predictions
    )
    [listed] = (await store.list_recommendations()).items
    [job] = (await store.list_jobs()).items
    assert listed.predictions is job.recommendations[0].predictions is None


async def test_accuracy_adds_up_the_evidence_of_what_is_in_force(store, work, recommendation, result):
    def window(outcome, cpu_safe=None, memory_safe=None, cpu_waste=None):
        accurate = {"accurate": True, "inaccurate": False}.get(outcome)
        return domain.ReplayWindow(
            made_at=datetime(2025, 6, 1, tzinfo=UTC),
            scored_until=datetime(2025, 6, 8, tzinfo=UTC),
            outcome=outcome,
            accurate=accurate,
            cpu_safe=cpu_safe,
            memory_safe=memory_safe,
            cpu_waste=cpu_waste,
        )

    def with_evidence(service, *windows):
        return msgspec.structs.replace(recommendation(service), evidence=domain.Evidence(windows=windows))

    assert await store.accuracy() == ()
    await finished(store, work, result(with_evidence("vm-1", window("inaccurate", False, True, -0.5))))
    good = (window("accurate", True, True, 0.2), window("accurate", True, True, 0.6), window("declined"))
    await finished(store, work, result(with_evidence("vm-1", *good)))  # supersedes the first
    await finished(store, work, result(with_evidence("vm-2", window("inaccurate", True, False, 1.0))))
    await finished(store, work, result(recommendation("vm-3")))  # no window at all

    [found] = await store.accuracy()
    assert (found.recommendations, found.windows, found.declined, found.not_scored) == (3, 3, 1, 0)
    assert found.accuracy == found.memory_safe == 0.6667
    assert (found.cpu_safe, found.cpu_waste, found.memory_waste) == (1.0, 0.6, None)
    assert found.confidence == 0.87
    [one] = await store.accuracy(
        service_name="vm_1", optimization_type=OptimizationType.RESOURCE_OPTIMIZATION
    )
    assert one.accuracy == 1.0
    assert await store.accuracy(optimization_type=OptimizationType.COST_OPTIMIZATION) == ()
    [bare] = await store.accuracy(service_name="vm-3")
    assert (bare.windows, bare.accuracy) == (0, None)


async def test_turning_already_right_is_material(store, work, database, recommendation, result):
    await finished(store, work, result(recommendation()))
    await finished(store, work, result(recommendation(already_right=True)))
    assert len(await events(database)) == 2


async def test_the_event_is_the_contracts(store, work, database, recommendation, result):
    [made] = await finished(store, work, result(recommendation("a.b c_d-é")))
    [(row, body)] = await events(database)
    assert row.subject == (
        "quantivista.optimization.recommendation_generated.RESOURCE_OPTIMIZATION.a%2Eb%20c_d-%C3%A9"
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["timestamp"])
    assert body == {
        "event_id": str(row.event_id),
        "timestamp": body["timestamp"],
        "job_id": body["job_id"],
        "valid_until": "2025-06-28T10:00:00.000Z",
        "optimization_recommendation": {
            "recommendation_id": made.recommendation_id,
            "service_name": "a.b c_d-é",
            "optimization_type": "RESOURCE_OPTIMIZATION",
            "description": "Optimize memory allocation and CPU requests",
            "current_state": {"cpu_request": "500m", "memory_request": "1Gi", "replicas": 3},
            "recommended_state": {"cpu_request": "300m", "memory_request": "800Mi", "replicas": 4},
            "expected_improvement": {
                "performance_gain_percent": 15.0,
                "cost_reduction_percent": 12.0,
                "confidence": 0.87,
            },
        },
        "details_url": f"https://perfopt.example/api/v1/optimization/recommendations/{made.recommendation_id}",
    }
    assert row.headers["Nats-Msg-Id"] == row.headers["ce-id"] == str(row.event_id)
    assert row.headers["ce-specversion"] == "1.0"


async def test_the_same_idempotency_key_and_body_is_the_same_job(store):
    async def ask():
        return await store.create_job(REQUEST, idempotency_key="k", body_hash="h", requester="ann")

    created = await asyncio.gather(*(ask() for _ in range(8)))
    assert len({each.job.job_id for each in created}) == 1
    assert sorted(each.replayed for each in created) == [False] + [True] * 7
    other = await store.create_job(REQUEST, idempotency_key="k", body_hash="h", requester="bob")
    assert other.replayed is False


async def test_the_same_idempotency_key_with_another_body_is_refused(store):
    await store.create_job(REQUEST, idempotency_key="k", body_hash="h")
    with pytest.raises(ConflictError, match="Idempotency-Key was used with another body"):
        await store.create_job(REQUEST, idempotency_key="k", body_hash="other")
    assert len((await store.list_jobs()).items) == 1


async def test_an_expired_idempotency_key_is_free_again(store, work, database):
    first = await store.create_job(REQUEST, idempotency_key="k", body_hash="h")
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE idempotency_keys SET expires_at = now() - interval '1 s'"))
    different = msgspec.structs.replace(REQUEST, analysis_period="7d")
    second = await store.create_job(different, idempotency_key="k", body_hash="other")
    assert second.job.job_id != first.job.job_id
    assert await work.forget_expired() == 0
    third = await store.create_job(different, idempotency_key="k", body_hash="other")
    assert third.job.job_id == second.job.job_id


async def test_pages_hold_every_job_once_newest_first(store):
    requests = [PerformanceAnalysisRequest(service_name=f"s{number}") for number in range(7)]
    made = [(await store.create_job(request)).job.job_id for request in requests]
    seen, cursor = [], None
    while True:
        page = await store.list_jobs(cursor=cursor, limit=3)
        seen += [job.job_id for job in page.items]
        assert page.total == 7
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == made[::-1]


async def test_filters_take_underscore_and_dash_alike(store, work, recommendation, result):
    await finished(store, work, result(recommendation("portfolio-service")))
    await finished(store, work, result(recommendation("portfolio-service-2")))
    for name in ("portfolio_service", "portfolio-service"):
        assert len((await store.list_jobs(service_name=name)).items) == 1
        assert len((await store.list_recommendations(service_name=name)).items) == 1
    ready = await store.list_jobs(status=OptimizationStatus.RECOMMENDATIONS_READY)
    assert len(ready.items) == 2
    assert (await store.list_jobs(status=OptimizationStatus.FAILED)).items == ()
    kind = OptimizationType.COST_OPTIMIZATION
    assert (await store.list_recommendations(optimization_type=kind)).items == ()


@pytest.mark.parametrize("cursor", ["", "x", "é", "AAAA", "_" * 32 + "!", "gAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"])
async def test_a_malformed_cursor_is_named(store, cursor):
    with pytest.raises(InvalidInputError) as caught:
        await store.list_jobs(cursor=cursor)
    assert caught.value.field == "cursor"


@pytest.mark.parametrize("limit", [0, -1, 501])
async def test_a_limit_out_of_range_is_named(store, limit):
    with pytest.raises(InvalidInputError) as caught:
        await store.list_recommendations(limit=limit)
    assert caught.value.field == "limit"


async def test_a_service_name_too_long_for_its_column_is_a_clear_error(store, work, recommendation, result):
    claim = await claimed(store, work)
    with pytest.raises(InvalidInputError, match="more than 100 characters"):
        await work.finish_job(claim, result(recommendation("x" * 101)))
    assert (await store.get_job(claim.job_id)).status is OptimizationStatus.ANALYZING


async def test_a_character_that_cannot_be_stored_is_a_clear_error(store):
    for ask in (store.get_job("a\0b"), store.list_jobs(service_name="a\0b")):
        with pytest.raises(InvalidInputError, match="cannot be stored"):
            await ask
    with pytest.raises(InvalidInputError, match="cannot be stored"):
        await store.create_job(PerformanceAnalysisRequest(service_name="a\0b"))


async def test_statements_that_only_read_are_transactions_of_their_own(database):
    """BEGIN and COMMIT are a round trip each, and hundreds who wait look at jobs."""
    now = text("SELECT now()")  # of the transaction's begin
    async with database.transaction() as connection:
        assert len({await connection.scalar(now) for _ in range(2)}) == 1
    async with database.reading() as connection:
        assert len({await connection.scalar(now) for _ in range(2)}) == 2
    async with database.transaction() as connection:  # the pooled connection is as before
        assert len({await connection.scalar(now) for _ in range(2)}) == 1
