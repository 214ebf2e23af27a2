"""Recommendations are held against what came, once, whoever applied them, and confidence follows."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest
from sqlalchemy import select, update

from perfopt.domain.enums import OptimizationType
from perfopt.domain.recommendation import AnalysisResult, Plan, PlanStep
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt.domain.workload import Container, WorkloadState
from perfopt.engine.records import OTHER_VERSION, PLAN
from perfopt.errors import NoDataError, SourceUnavailableError
from perfopt.sources.base import FailedSnapshot
from perfopt.testing import make_snapshot
from perfopt_api.jobs.outcomes import GIVE_UP, OutcomeScorer
from perfopt_api.store.outcomes import PostgresOutcomes, RecommendationOutcome
from perfopt_api.store.plan_outcomes import PostgresPlanOutcomes
from perfopt_api.store.postgres import PostgresStore
from perfopt_api.store.tables import outcomes, plan_outcomes, recommendations
from perfopt_api.store.work import PostgresWorkStore
from perfopt_api.supervision import TaskSupervisor

MADE = datetime(2026, 3, 2, tzinfo=UTC)
WEEK = timedelta(days=7)
GIB = 2**30
KEY = "resource/resource"
SCALING = "scaling/scaling"


class Clock:
    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


class Source:
    """Knows workloads that use half a core and half a GiB, until a certain instant."""

    name = "fake"

    def __init__(self, *names, latest=MADE + WEEK, cpu=0.5, **metrics):
        self.names, self.end, self.cpu, self.metrics = names, latest, cpu, metrics
        self.read: list[tuple[Sequence[str], datetime, datetime]] = []
        self.error = None

    async def latest(self):
        if self.error is not None:
            raise self.error
        return self.end

    def _snapshot(self, name, start, end):
        steps = (end - start) // timedelta(minutes=5)
        used = {"cpu_cores": np.full(steps, self.cpu), "memory_bytes": np.full(steps, 0.5 * GIB)}
        more = {metric: np.full(steps, value) for metric, value in self.metrics.items()}
        return make_snapshot({"main": used | more}, name=name, end=end, state=state(9.0))

    async def inventory(self, at):
        return tuple(self._snapshot(name, at - timedelta(hours=1), at).workload for name in self.names)

    async def snapshots(self, workloads, start, end, metrics):
        self.read.append(([w.service_name for w in workloads], start, end))
        for workload in workloads:
            if workload.service_name == "silent":
                yield FailedSnapshot(workload, NoDataError("There is no sample of it."))
            else:
                yield self._snapshot(workload.service_name, start, end)


def state(cpu):
    main = Container(name="main", cpu_request_cores=cpu, memory_request_bytes=GIB, memory_limit_bytes=GIB)
    return WorkloadState(containers=(main,), replicas=2)


@pytest.fixture
def keeper(database):
    """Builds one on this test's database."""

    def build(source, clock, learnt=None):
        async def opened(name):
            assert name in (None, "edge")
            return source

        use = (lambda records: None) if learnt is None else learnt.append
        versions = {KEY: "0.1.0"}
        stores = (PostgresOutcomes(database), PostgresPlanOutcomes(database))
        return OutcomeScorer(stores, opened, versions, use, pause_seconds=0.01, now=clock)

    return build


@pytest.fixture
def made(database, recommendation):
    """Stores a recommendation as an analysis does; returns its id."""

    async def store(service="web", cpu=0.6, at=MADE, confidence=0.9, **fields):
        identity = make_snapshot(name=service).workload.id
        given = recommendation(service)
        improvement = msgspec.structs.replace(given.expected_improvement, confidence=confidence)
        given = msgspec.structs.replace(
            given,
            workload=str(identity),
            plugin=KEY,
            plugin_version="0.1.0",
            made_at=at,
            valid_until=at + WEEK,
            current_state=state(2.0).to_map(),
            recommended_state=state(cpu).to_map(),
            expected_improvement=improvement,
            **fields,
        )
        request = PerformanceAnalysisRequest(service_name=service, source="edge")
        job = (await PostgresStore(database).create_job(request)).job
        work = PostgresWorkStore(database)
        claim = await work.claim(owner=job.job_id, lease=timedelta(minutes=1))
        result = AnalysisResult(
            service_name=service, workload=given.workload, recommendations=(given,), declined=(), warnings=()
        )
        await work.finish_job(claim, result)
        query = select(recommendations.c.recommendation_id).where(recommendations.c.job_id == job.job_id)
        async with database.transaction() as connection:
            return await connection.scalar(query)

    return store


async def rows(database):
    async with database.transaction() as connection:
        found = (await connection.execute(select(outcomes).order_by(outcomes.c.recommendation_id))).mappings()
        return [dict(row) for row in found]


async def test_a_recommendation_is_scored_once_its_validity_is_over_and_the_samples_are_there(
    database, keeper, made
):
    await made()
    clock, source = Clock(MADE + WEEK - timedelta(seconds=1)), Source("web")
    one = keeper(source, clock)
    assert await one.sweep() == 0
    clock.now += timedelta(seconds=1)
    assert await one.sweep() == 1
    assert await one.sweep() == 0
    [row] = await rows(database)
    assert (row["status"], row["accurate"]) == ("scored", True)
    assert (row["cpu_safe"], row["memory_safe"]) == (True, True)
    assert row["cpu_waste"] == pytest.approx(0.2)
    assert row["scored_at"] == clock.now
    assert (row["applied"], row["censored"]) == (False, None)
    assert source.read == [(["web"], MADE, MADE + WEEK)]


async def test_one_that_was_too_small_or_superseded_is_recorded_all_the_same(database, keeper, made):
    await made(cpu=0.4)
    await made(cpu=0.7)
    await keeper(Source("web"), Clock(MADE + WEEK)).sweep()
    assert [row["accurate"] for row in await rows(database)] == [False, True]


@pytest.mark.parametrize(("applied", "accurate"), [(False, True), (True, False)])
async def test_a_kill_counts_against_what_was_applied(database, keeper, made, applied, accurate):
    await made()
    async with database.transaction() as connection:
        await connection.execute(update(recommendations).values(applied=applied))
    await keeper(Source("web", oom_kills=1.0), Clock(MADE + WEEK)).sweep()
    [row] = await rows(database)
    assert (row["applied"], row["accurate"]) == (applied, accurate)
    assert row["censored"] == ("oom_kill" if applied else None)


async def test_a_source_is_read_once_for_all_recommendations_of_a_window(database, keeper, made):
    for name in ("a", "b", "c"):
        await made(name)
    await made("a", at=MADE + timedelta(days=1))
    source = Source("a", "b", "c", latest=MADE + 2 * WEEK)
    await keeper(source, Clock(MADE + 2 * WEEK)).sweep()
    assert [names for names, _, _ in source.read] == [["a", "b", "c"], ["a"]]
    assert {row["status"] for row in await rows(database)} == {"scored"}


async def test_while_the_samples_are_not_there_it_waits_and_in_the_end_gives_up(database, keeper, made):
    await made()
    clock, source = Clock(MADE + WEEK), Source("web", latest=MADE + timedelta(days=1))
    one = keeper(source, clock)
    await one.sweep()
    [row] = await rows(database)
    assert (row["status"], row["due_at"]) == ("due", clock.now + timedelta(days=1))
    source.end = MADE + WEEK
    clock.now += timedelta(days=1)
    await one.sweep()
    assert (await rows(database))[0]["status"] == "scored"


async def test_samples_that_never_come_end_as_not_scored(database, keeper, made):
    await made()
    stored = datetime.now(UTC)
    clock = Clock(stored + GIVE_UP + timedelta(days=1))
    await keeper(Source("web", latest=MADE), clock).sweep()
    [row] = await rows(database)
    assert (row["status"], row["accurate"]) == ("not_scored", None)
    assert "no samples yet" in row["reason"]


async def test_a_source_that_is_down_is_asked_again_later(database, keeper, made):
    await made()
    clock, source = Clock(MADE + WEEK), Source("web")
    source.error = SourceUnavailableError("Prometheus is down.")
    one = keeper(source, clock)
    await one.sweep()
    assert await one.sweep() == 0
    source.error = None
    clock.now += timedelta(minutes=10)
    await one.sweep()
    [row] = await rows(database)
    assert (row["status"], row["attempts"]) == ("scored", 2)


@pytest.mark.parametrize(
    ("name", "why"), [("gone", "not known to the source"), ("silent", "no sample of it")]
)
async def test_a_workload_without_samples_is_not_scored_and_says_why(database, keeper, made, name, why):
    await made(name)
    await made("web")
    await keeper(Source("silent", "web"), Clock(MADE + WEEK)).sweep()
    found = {row["status"]: row["reason"] for row in await rows(database)}
    assert why in found["not_scored"]
    assert "scored" in found


async def test_two_workers_score_each_once(database, keeper, made):
    for number in range(6):
        await made(f"s{number}")
    sources = [Source(*(f"s{i}" for i in range(6))) for _ in range(2)]
    taken = await asyncio.gather(*(keeper(each, Clock(MADE + WEEK)).sweep() for each in sources))
    assert sum(taken) == 6
    assert sum(len(names) for source in sources for names, _, _ in source.read) == 6


async def test_a_lease_that_ran_out_passes_on_and_the_first_owner_s_word_comes_too_late(database, made):
    name = await made()
    store, now, lease = PostgresOutcomes(database), MADE + WEEK, timedelta(minutes=1)
    assert len(await store.claim(now, owner="a", lease=lease, limit=9)) == 1
    assert await store.claim(now, owner="b", lease=lease, limit=9) == ()
    later = now + 2 * lease
    assert [one.attempts for one in await store.claim(later, owner="b", lease=lease, limit=9)] == [2]
    right = RecommendationOutcome(status="scored", accurate=True)
    assert not await store.record(
        name, RecommendationOutcome(status="scored", accurate=False), owner="a", now=later
    )
    assert await store.record(name, right, owner="b", now=later)
    assert not await store.record(name, right, owner="b", now=later)
    assert [row["accurate"] for row in await rows(database)] == [True]


async def test_confidence_follows_what_was_recorded(database, keeper, made):
    for number in range(8):
        await made(f"s{number}", cpu=0.4, confidence=0.9)
    learnt = []
    one = keeper(Source(*(f"s{i}" for i in range(8))), Clock(MADE + WEEK), learnt)
    await one.start()
    assert learnt == [{}]
    await one.sweep()
    await one.learn()
    await one.learn()
    assert len(learnt) == 2
    record = learnt[1][KEY]
    assert (record.outcomes, record.accuracy) == (pytest.approx(8.0), 0.0)
    assert record.stated == pytest.approx(0.9)
    assert record.recalibrated(0.9) < 0.75


async def test_what_is_learnt_from_is_the_confidence_before_the_record(
    database, keeper, made, recommendation
):
    detail = msgspec.structs.replace(recommendation().confidence_detail, before_record=0.8)
    await made(confidence=0.6, confidence_detail=detail)
    learnt = []
    one = keeper(Source("web"), Clock(MADE + WEEK), learnt)
    await one.sweep()
    await one.learn()
    assert learnt[0][KEY].stated == pytest.approx(0.8)


async def test_a_type_that_promises_latency_is_held_to_its_claim(database, keeper, made):
    claim = {"latency_now_ms": 100.0, "latency_now_interval_ms": [90.0, 110.0]}
    await made(optimization_type=OptimizationType.LATENCY_OPTIMIZATION, claim=claim)
    await keeper(Source("web"), Clock(MADE + WEEK)).sweep()
    [row] = await rows(database)
    assert row["status"] == "not_scored"
    assert "latency" in row["reason"]


async def test_it_runs_by_itself_and_survives_what_it_did_not_expect(database, keeper, made, eventually):
    await made()
    source, clock = Source("web"), Clock(MADE + WEEK)
    source.error = ZeroDivisionError("a fault")
    task = asyncio.create_task(TaskSupervisor(()).keep(keeper(source, clock)))
    try:
        await eventually(lambda: _attempted(database))
        source.error = None
        clock.now += timedelta(days=1)
        await eventually(lambda: _scored(database))
    finally:
        task.cancel()


async def test_one_that_can_not_be_scored_holds_up_no_other(database, keeper, made):
    broken = await made("web")
    await made("web", cpu=0.7)
    async with database.transaction() as connection:
        mine = recommendations.c.recommendation_id == broken
        nonsense = {"containers": {"main": {"cpu_request": "much"}}}
        await connection.execute(update(recommendations).where(mine).values(recommended_state=nonsense))
    clock = Clock(MADE + WEEK)
    await keeper(Source("web"), clock).sweep()
    found = {row["recommendation_id"]: row for row in await rows(database)}
    assert found.pop(broken)["due_at"] > clock.now
    assert [row["status"] for row in found.values()] == ["scored"]


async def _attempted(database):
    return (await rows(database))[0]["attempts"] > 0


async def _scored(database):
    return (await rows(database))[0]["status"] == "scored"


async def test_accuracy_shows_what_was_recorded_beside_what_was_replayed(database, keeper, made):
    for number in range(4):
        await made(f"s{number}", cpu=0.4 if number == 0 else 0.75)
    await made("s1", at=MADE + WEEK)
    await made("gone")
    one = keeper(Source(*(f"s{i}" for i in range(4))), Clock(MADE + WEEK))
    await one.sweep()
    store = PostgresStore(database)
    [whole] = await store.accuracy()
    recorded = whole.recorded
    assert (recorded.scored, recorded.not_scored, recorded.waiting, recorded.applied) == (4, 1, 1, 0)
    assert (recorded.accuracy, recorded.confidence) == (0.75, 0.9)
    assert recorded.brier == pytest.approx((3 * 0.01 + 0.81) / 4)
    assert (recorded.cpu_safe, recorded.memory_safe, recorded.cpu_waste) == (0.75, 1.0, 0.5)
    [own] = await store.accuracy(service_name="s0")
    assert (own.recorded.scored, own.recorded.accuracy) == (1, 0.0)


async def test_what_files_tell_of_times_long_gone_is_news_when_it_is_scored(database, keeper, made):
    for number in range(3):
        await made(f"s{number}")
    learnt, years_later = [], Clock(MADE + timedelta(days=10 * 365))
    one = keeper(Source("s0", "s1", "s2"), years_later, learnt)
    await one.sweep()
    await one.learn()
    assert learnt[0][KEY].outcomes == pytest.approx(3.0)


def one_replica(cpu):
    return msgspec.structs.replace(state(cpu), replicas=1)


def two_parts(recommendation, service, at):
    """Returns smaller requests and one replica less, each from the state that runs."""
    targets = (
        (OptimizationType.RESOURCE_OPTIMIZATION, KEY, state(0.6)),
        (OptimizationType.SCALING_OPTIMIZATION, SCALING, one_replica(2.0)),
    )
    return [
        msgspec.structs.replace(
            recommendation(service, kind=kind),
            recommendation_id=f"opt_20260302_00{rank}",
            workload=str(make_snapshot(name=service).workload.id),
            plugin=key,
            plugin_version="0.1.0",
            made_at=at,
            valid_until=at + WEEK,
            current_state=state(2.0).to_map(),
            recommended_state=target.to_map(),
        )
        for rank, (kind, key, target) in enumerate(targets, start=1)
    ]


def plan_of(parts, together, confidence):
    return Plan(
        description="Both.",
        current_state=parts[0].current_state,
        recommended_state=together.to_map(),
        expected_improvement=msgspec.structs.replace(parts[0].expected_improvement, confidence=confidence),
        confidence_detail=parts[0].confidence_detail,
        evidence=parts[0].evidence,
        price_book="book",
        currency="USD",
        monthly_cost_current=None,
        monthly_cost_recommended=None,
        steps=tuple(
            PlanStep(
                recommendation_id=part.recommendation_id,
                optimization_type=part.optimization_type,
                changes={"replicas": 1},
                reason="In this order.",
            )
            for part in parts
        ),
    )


@pytest.fixture
def planned(database, recommendation):
    """Stores an analysis whose two recommendations hold each by itself and not together; returns its job."""

    async def store(service="web", at=MADE, confidence=0.9, together=None):
        parts = two_parts(recommendation, service, at)
        plan = plan_of(parts, one_replica(0.6) if together is None else together, confidence)
        job = (await PostgresStore(database).create_job(PerformanceAnalysisRequest(service_name=service))).job
        work = PostgresWorkStore(database)
        claim = await work.claim(owner=job.job_id, lease=timedelta(minutes=1))
        result = AnalysisResult(
            service_name=service,
            workload=parts[0].workload,
            recommendations=tuple(parts),
            declined=(),
            warnings=(),
            plan=plan,
        )
        await work.finish_job(claim, result)
        return job.job_id

    return store


async def plan_rows(database):
    async with database.transaction() as connection:
        found = (await connection.execute(select(plan_outcomes).order_by(plan_outcomes.c.job_id))).mappings()
        return [dict(row) for row in found]


async def test_a_plan_is_held_against_what_came_as_a_whole(database, keeper, planned):
    """Half a core on each of two pods is a whole one on the one that is left, which has 0.6."""
    job = await planned()
    source = Source("web")
    assert await keeper(source, Clock(MADE + WEEK)).sweep() == 3
    assert [row["accurate"] for row in await rows(database)] == [True, True]
    [row] = await plan_rows(database)
    assert (row["job_id"], row["status"], row["accurate"]) == (job, "scored", False)
    assert len(source.read) == 1


async def test_a_plan_of_one_is_its_recommendation(database, keeper, made):
    await made()
    await keeper(Source("web"), Clock(MADE + WEEK)).sweep()
    assert await plan_rows(database) == []


@pytest.mark.parametrize(("applied", "accurate"), [("all", False), ("one", True)])
async def test_a_kill_counts_against_a_plan_that_was_applied_as_a_whole(
    database, keeper, planned, applied, accurate
):
    await planned(together=one_replica(2.0))
    kinds = {"one": [OptimizationType.RESOURCE_OPTIMIZATION.value]}
    of = recommendations.c.optimization_type.in_(kinds.get(applied, list(OptimizationType)))
    async with database.transaction() as connection:
        await connection.execute(update(recommendations).where(of).values(applied=True))
    await keeper(Source("web", oom_kills=1.0), Clock(MADE + WEEK)).sweep()
    [row] = await plan_rows(database)
    assert (row["applied"], row["accurate"]) == (applied == "all", accurate)


async def test_confidence_of_plans_follows_what_plans_came_to(database, keeper, planned):
    for number in range(6):
        await planned(f"s{number}", confidence=0.9)
    learnt = []
    one = keeper(Source(*(f"s{i}" for i in range(6))), Clock(MADE + WEEK), learnt)
    await one.sweep()
    await one.learn()
    plan, resource = learnt[0][PLAN], learnt[0][KEY]
    assert (plan.accuracy, plan.stated, resource.accuracy) == (0.0, pytest.approx(0.9), 1.0)
    # Of the strategies that made them one does not run here: as of an earlier version, that weighs less.
    assert plan.outcomes == pytest.approx(6 * OTHER_VERSION)
    assert plan.recalibrated(0.9) < 0.9 < resource.recalibrated(0.9)
