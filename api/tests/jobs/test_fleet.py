import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import func, select, text, update

from perfopt.domain.enums import DeclineCode, OptimizationStatus, OptimizationType
from perfopt.domain.job import SourceUsage
from perfopt.domain.recommendation import Declined
from perfopt.domain.request import FleetAnalysisRequest, WorkloadSelector
from perfopt.errors import NoDataError, SourceUnavailableError
from perfopt.sources.usage import count_usage
from perfopt.testing import make_snapshot
from perfopt_api.jobs.retention import RetentionTask
from perfopt_api.store.retention import PostgresRetention
from perfopt_api.store.tables import jobs, outbox, recommendations
from perfopt_api.store.work import PostgresWorkStore

END = datetime(2026, 11, 23, 12, tzinfo=UTC)
READY, FAILED = OptimizationStatus.RECOMMENDATIONS_READY, OptimizationStatus.FAILED
SOON = timedelta(seconds=15)


class Analyzer:
    """Analyses workloads that it makes up; what `wrong` names is answered with that error."""

    def __init__(self, result, recommendation, count=10):
        self.result, self.recommendation = result, recommendation
        self.names = [f"vm-{number}" for number in range(count)]
        self.wrong, self.sizes, self.batches, self.down = {}, {}, [], 0
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        self.stops_at = None

    async def __call__(self, request):
        return self.result(self.recommendation(request.service_name))

    async def inventory(self, request):
        return END, tuple(self.workload(name) for name in self.names)

    def workload(self, name):
        found = make_snapshot(name=name).workload
        identity = msgspec.structs.replace(found.id, namespace="prod", kind="Deployment")
        return msgspec.structs.replace(found, id=identity)

    async def analyses(self, request, end, names):
        assert end == END
        self.batches.append(list(names))
        count_usage(SourceUsage(queries=2, samples=100 * len(names), bytes=10, seconds=0.5))
        for full in names:
            name = full.rpartition("/")[2]
            if name == self.stops_at:
                self.reached.set()
                await self.go.wait()
            if self.down:
                self.down -= 1
                yield self.workload(name), SourceUnavailableError("down")
            elif name in self.wrong:
                yield self.workload(name), self.wrong[name]
            else:
                yield self.result(self.recommendation(name, **self.sizes.get(name, {})))


@pytest.fixture
def analyzer(result, recommendation):
    return Analyzer(result, recommendation)


@pytest.fixture
def settings(settings):
    return msgspec.structs.replace(settings, fleet_batch_workloads=4, worker_concurrency=2)


@pytest.fixture
def ask(api):
    async def run(**selector):
        request = FleetAnalysisRequest(selector=WorkloadSelector(**selector))
        job = (await api.store.create_job(request)).job
        await api.queue.enqueue(job.job_id)
        return job.job_id

    return run


async def rows(api, *columns):
    async with api.backends.database.transaction() as connection:
        return (await connection.execute(select(*columns).order_by(jobs.c.created_at))).all()


async def count(api, table):
    async with api.backends.database.transaction() as connection:
        return await connection.scalar(select(func.count()).select_from(table))


async def test_one_job_analyses_all_workloads_in_batches(api, settings, worker, analyzer, ask):
    analyzer.wrong = {"vm-3": NoDataError("There is no sample of vm-3.")}
    async with worker(settings, analyzer, fleet=analyzer):
        job = await api.waiter.wait_for_job(await ask(), SOON)
    assert job.status is READY
    assert sorted(len(batch) for batch in analyzer.batches) == [3, 3, 4]
    progress = job.progress
    assert (progress.workloads, progress.analysed, progress.failed) == (10, 9, 1)
    assert (progress.batches, progress.batches_done, progress.recommendations) == (3, 3, 9)
    assert progress.usage == SourceUsage(queries=6, samples=1000, bytes=30, seconds=1.5)
    assert [warning.code for warning in job.warnings] == ["workloads_failed"]
    listed = await api.store.list_recommendations(job_id=job.job_id, limit=500)
    assert {made.service_name for made in listed.items} == {f"vm-{n}" for n in range(10)} - {"vm-3"}
    singles = await api.store.list_jobs(fleet_id=job.job_id, limit=500)
    by_name = {single.service_name: single for single in singles.items}
    assert by_name["prod/deployment/vm-3"].error["code"] == "no_data"
    assert by_name["prod/deployment/vm-4"].recommendations[0].service_name == "vm-4"
    assert {single.fleet_id for single in singles.items} == {job.job_id}


OLDER_WORKER = (
    "CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN NEW.fleet_id := NULL; RETURN NEW; END $$",
    "CREATE TRIGGER older BEFORE INSERT ON optimization_recommendations"
    " FOR EACH ROW EXECUTE FUNCTION forget()",
)


async def test_what_workers_of_an_older_version_stored_is_listed_with_its_fleet(
    api, settings, worker, analyzer, ask
):
    async with api.backends.database.transaction() as connection:
        for statement in OLDER_WORKER:
            await connection.execute(text(statement))
    async with worker(settings, analyzer, fleet=analyzer):
        job = await api.waiter.wait_for_job(await ask(), SOON)
    assert job.progress.recommendations == 10
    assert len((await api.store.list_recommendations(job_id=job.job_id)).items) == 10


async def test_jobs_of_a_fleet_stay_out_of_the_list_of_jobs(api, settings, worker, analyzer, ask):
    async with worker(settings, analyzer, fleet=analyzer):
        job = await api.waiter.wait_for_job(await ask(), SOON)
    assert [each.job_id for each in (await api.store.list_jobs()).items] == [job.job_id]
    named = await api.store.list_jobs(service_name="prod/deployment/vm-1")
    assert [each.fleet_id for each in named.items] == [job.job_id]


async def test_a_selector_that_matches_nothing_fails_with_the_remedy(api, settings, worker, analyzer, ask):
    async with worker(settings, analyzer, fleet=analyzer):
        job = await api.waiter.wait_for_job(await ask(namespace="trading"), SOON)
    assert job.status is FAILED
    assert job.error["message"] == "No workload of the source matches: namespace=trading."
    assert job.error["remedy"] == "Namespaces: prod."


async def test_more_workloads_than_may_be_are_refused(api, settings, worker, analyzer, ask):
    settings = msgspec.structs.replace(settings, fleet_max_workloads=9)
    async with worker(settings, analyzer, fleet=analyzer):
        job = await api.waiter.wait_for_job(await ask(), SOON)
    assert job.error["message"] == "10 workloads match, and at most 9 are analysed."


async def test_reading_ends_with_the_budget_of_samples(api, settings, worker, analyzer, ask):
    settings = msgspec.structs.replace(settings, fleet_max_samples=300, worker_concurrency=1)
    async with worker(settings, analyzer, fleet=analyzer):
        job = await api.waiter.wait_for_job(await ask(), SOON)
    assert job.status is READY
    analysed = job.progress.analysed
    assert analysed in (3, 4)  # one batch, of any size
    assert job.progress.usage.samples == 100 * analysed
    assert job.warnings[0].message == f"{10 - analysed} of 10 workloads could not be analysed."


async def test_equal_requests_that_wait_are_one_job(api, ask):
    assert await ask(namespace="prod") == await ask(namespace="prod")
    assert await ask(namespace="prod") != await ask(namespace="test")


async def test_partial_results_are_there_while_it_runs(api, settings, worker, analyzer, ask):
    settings = msgspec.structs.replace(settings, worker_concurrency=1, fleet_batch_workloads=100)
    analyzer.stops_at = "vm-2"
    async with worker(settings, analyzer, fleet=analyzer):
        job_id = await ask()
        await asyncio.wait_for(analyzer.reached.wait(), 10)
        job = await api.store.get_job(job_id)
        assert job.status is OptimizationStatus.ANALYZING
        assert (job.progress.workloads, job.progress.analysed, job.progress.recommendations) == (10, 2, 2)
        assert {made.service_name for made in job.recommendations} == {"vm-0", "vm-1"}
        analyzer.go.set()
        assert (await api.waiter.wait_for_job(job_id, SOON)).progress.analysed == 10


async def test_cancelled_it_ends_and_what_was_stored_stays(api, settings, worker, analyzer, ask, eventually):
    analyzer.stops_at = "vm-1"
    async with worker(settings, analyzer, fleet=analyzer):
        job_id = await ask()
        await asyncio.wait_for(analyzer.reached.wait(), 10)
        assert await api.store.cancel_analysis(job_id)
        assert not await api.store.cancel_analysis(job_id)

        async def none_held():
            held = await rows(api, jobs.c.lease_owner, jobs.c.status)
            return all(row.lease_owner is None and row.status != "ANALYZING" for row in held)

        await eventually(none_held)
        analyzer.go.set()
    job = await api.store.get_job(job_id)
    assert (job.status, job.error["code"]) == (FAILED, "cancelled")
    assert {made.service_name for made in job.recommendations} >= {"vm-0"}
    assert "vm-1" not in {made.service_name for made in job.recommendations}


async def test_a_batch_goes_on_where_a_stopped_worker_left_it(api, settings, worker, analyzer, ask):
    analyzer.stops_at = "vm-2"
    async with worker(settings, analyzer, fleet=analyzer):
        job_id = await ask()
        await asyncio.wait_for(analyzer.reached.wait(), 10)
    analyzer.stops_at = None
    analyzer.batches.clear()
    async with worker(settings, analyzer, fleet=analyzer):
        job = await api.waiter.wait_for_job(job_id, SOON)
    assert job.progress.analysed == job.progress.recommendations == 10
    again = [name for batch in analyzer.batches for name in batch]
    assert "prod/deployment/vm-2" in again
    assert "prod/deployment/vm-0" not in again


async def test_a_source_that_is_away_is_asked_again(api, settings, worker, analyzer, ask):
    analyzer.down = 1
    async with worker(settings, analyzer, fleet=analyzer):
        job = await api.waiter.wait_for_job(await ask(), SOON)
    assert (job.status, job.progress.analysed) == (READY, 10)


async def test_a_batch_that_lost_its_worker_is_halved(api, settings, worker, analyzer, ask, monkeypatch):
    async def silent(store, claim):
        """The worker that is lost says nothing any more, though here it lives on."""

    monkeypatch.setattr(PostgresWorkStore, "survived", silent)
    settings = msgspec.structs.replace(settings, fleet_batch_workloads=100)
    analyzer.stops_at = "vm-0"
    async with worker(settings, analyzer, fleet=analyzer) as running:
        job_id = await ask()
        await asyncio.wait_for(analyzer.reached.wait(), 10)
        lost = update(jobs).where(jobs.c.kind == "batch")
        async with api.backends.database.transaction() as connection:
            await connection.execute(
                lost.values(lease_owner="gone", lease_expires_at=func.now() - timedelta(seconds=1))
            )
        analyzer.stops_at = None
        job = await api.waiter.wait_for_job(job_id, SOON)
        assert not running.done()
    assert (job.status, job.progress.analysed, job.progress.batches) == (READY, 10, 2)


async def test_a_fleet_of_which_nothing_can_be_analysed_fails(api, settings, worker, analyzer, ask):
    analyzer.wrong = {name: NoDataError("no sample") for name in analyzer.names}
    async with worker(settings, analyzer, fleet=analyzer):
        job = await api.waiter.wait_for_job(await ask(), SOON)
    assert job.status is FAILED
    assert job.error["message"] == "None of the 10 workloads could be analysed."


async def again(api, settings, worker, analyzer, ask):
    async with worker(settings, analyzer, fleet=analyzer):
        return await api.waiter.wait_for_job(await ask(), SOON)


async def test_analysed_again_without_news_what_is_in_force_stays(api, settings, worker, analyzer, ask):
    await again(api, settings, worker, analyzer, ask)
    analyzer.sizes = {"vm-1": {"cpu_request": "303m"}, "vm-2": {"cpu_request": "450m"}}
    second = await again(api, settings, worker, analyzer, ask)
    assert (second.progress.unchanged, second.progress.recommendations) == (9, 1)
    assert await count(api, recommendations) == 11
    assert await count(api, outbox) == 11 + 2  # the two fleets, and none of their analyses
    current = (await api.store.list_recommendations(limit=500)).items
    assert {made.recommended_state["cpu_request"] for made in current} == {"300m", "450m"}
    singles = {one.service_name: one for one in (await api.store.list_jobs(fleet_id=second.job_id)).items}
    unchanged = singles["prod/deployment/vm-1"]
    assert [unchanged.unchanged] == [tuple(m.recommendation_id for m in current if m.service_name == "vm-1")]
    shown = await api.store.get_job(unchanged.job_id)
    assert [made.service_name for made in shown.recommendations] == ["vm-1"]


async def test_what_holds_for_less_than_half_of_its_validity_is_made_anew(
    api, settings, worker, analyzer, ask
):
    await again(api, settings, worker, analyzer, ask)
    old = update(recommendations).where(recommendations.c.service_name == "vm-1")
    async with api.backends.database.transaction() as connection:
        await connection.execute(old.values(created_at=func.now() - timedelta(days=4)))
    second = await again(api, settings, worker, analyzer, ask)
    assert (second.progress.unchanged, second.progress.recommendations) == (9, 1)
    assert await count(api, outbox) == 10 + 2


async def test_a_type_that_abstains_now_is_withdrawn(
    api, settings, worker, analyzer, ask, result, recommendation
):
    await again(api, settings, worker, analyzer, ask)
    declined = Declined(
        optimization_type=OptimizationType.RESOURCE_OPTIMIZATION,
        code=DeclineCode.SHORT_HISTORY,
        reason="too little",
    )
    analyzer.result = lambda made: (
        result(declined=(declined,)) if made.service_name == "vm-1" else result(made)
    )
    second = await again(api, settings, worker, analyzer, ask)
    assert second.progress.unchanged == 9
    names = {made.service_name for made in (await api.store.list_recommendations(limit=500)).items}
    assert names == {f"vm-{number}" for number in range(10) if number != 1}


async def test_old_fleets_are_forgotten(api, settings, worker, analyzer, ask):
    job = await again(api, settings, worker, analyzer, ask)
    async with api.backends.database.transaction() as connection:
        await connection.execute(update(recommendations).values(withdrawn_at=func.now()))
        await connection.exec_driver_sql("UPDATE recommendation_outcomes SET status = 'scored'")
    task = RetentionTask(
        PostgresRetention(api.backends.database),
        timedelta(days=30),
        now=lambda: datetime.now(UTC) + timedelta(days=31),
    )
    await task.forget()
    assert await api.store.get_job(job.job_id) is None
    assert await count(api, jobs) == 0
