"""Recommendations are held against what came, once, whoever applied them, and confidence follows."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from outcome_world import KEY, MADE, WEEK, Clock, Source, rows
from sqlalchemy import select, update

from perfopt.domain.enums import OptimizationType
from perfopt.errors import SourceUnavailableError
from perfopt_api.jobs.outcomes import GIVE_UP
from perfopt_api.store.apply_tables import service_days
from perfopt_api.store.outcomes import PostgresOutcomes, RecommendationOutcome
from perfopt_api.store.postgres import PostgresStore
from perfopt_api.store.tables import recommendations
from perfopt_api.supervision import TaskSupervisor


async def test_a_recommendation_is_scored_once_its_validity_is_over_and_the_samples_are_there(
    database, scorer, stored
):
    await stored()
    clock, source = Clock(MADE + WEEK - timedelta(seconds=1)), Source("web")
    one = scorer(source, clock)
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


async def test_one_that_was_too_small_or_superseded_is_recorded_all_the_same(database, scorer, stored):
    await stored(cpu=0.4)
    await stored(cpu=0.7)
    await scorer(Source("web"), Clock(MADE + WEEK)).sweep()
    assert [row["accurate"] for row in await rows(database)] == [False, True]


@pytest.mark.parametrize(("applied", "accurate"), [(False, True), (True, False)])
async def test_a_kill_counts_against_what_was_applied(database, scorer, stored, applied, accurate):
    await stored()
    async with database.transaction() as connection:
        await connection.execute(update(recommendations).values(applied=applied))
    await scorer(Source("web", oom_kills=1.0), Clock(MADE + WEEK)).sweep()
    [row] = await rows(database)
    assert (row["applied"], row["accurate"]) == (applied, accurate)
    assert row["censored"] == ("oom_kill" if applied else None)


async def test_days_in_force_are_kept_once_a_workload_and_stay_unsafe(database, scorer, stored):
    await stored()
    async with database.transaction() as connection:
        await connection.execute(update(recommendations).values(applied=True))
    await scorer(Source("web", oom_kills=1.0), Clock(MADE + WEEK)).sweep()
    async with database.reading() as connection:
        days = (await connection.execute(select(service_days))).mappings().all()
    assert len(days) in (7, 8)
    assert all(day["unsafe"] for day in days)
    await stored(at=MADE + timedelta(days=1))
    async with database.transaction() as connection:
        await connection.execute(update(recommendations).values(applied=True))
    await scorer(Source("web", latest=MADE + 2 * WEEK), Clock(MADE + 2 * WEEK)).sweep()
    async with database.reading() as connection:
        found = (await connection.execute(select(service_days))).mappings().all()
    after = {row["day"]: row["unsafe"] for row in found}
    assert all(after[day["day"]] for day in days)
    assert len(after) == len(days) + 1
    assert not after[max(after)]


async def test_a_source_is_read_once_for_all_recommendations_of_a_window(database, scorer, stored):
    for name in ("a", "b", "c"):
        await stored(name)
    await stored("a", at=MADE + timedelta(days=1))
    source = Source("a", "b", "c", latest=MADE + 2 * WEEK)
    await scorer(source, Clock(MADE + 2 * WEEK)).sweep()
    assert [names for names, _, _ in source.read] == [["a", "b", "c"], ["a"]]
    assert {row["status"] for row in await rows(database)} == {"scored"}


async def test_while_the_samples_are_not_there_it_waits_and_in_the_end_gives_up(database, scorer, stored):
    await stored()
    clock, source = Clock(MADE + WEEK), Source("web", latest=MADE + timedelta(days=1))
    one = scorer(source, clock)
    await one.sweep()
    [row] = await rows(database)
    assert (row["status"], row["due_at"]) == ("due", clock.now + timedelta(days=1))
    source.end = MADE + WEEK
    clock.now += timedelta(days=1)
    await one.sweep()
    assert (await rows(database))[0]["status"] == "scored"


async def test_samples_that_never_come_end_as_not_scored(database, scorer, stored):
    await stored()
    stored = datetime.now(UTC)
    clock = Clock(stored + GIVE_UP + timedelta(days=1))
    await scorer(Source("web", latest=MADE), clock).sweep()
    [row] = await rows(database)
    assert (row["status"], row["accurate"]) == ("not_scored", None)
    assert "no samples yet" in row["reason"]


async def test_a_source_that_is_down_is_asked_again_later(database, scorer, stored):
    await stored()
    clock, source = Clock(MADE + WEEK), Source("web")
    source.error = SourceUnavailableError("Prometheus is down.")
    one = scorer(source, clock)
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
async def test_a_workload_without_samples_is_not_scored_and_says_why(database, scorer, stored, name, why):
    await stored(name)
    await stored("web")
    await scorer(Source("silent", "web"), Clock(MADE + WEEK)).sweep()
    found = {row["status"]: row["reason"] for row in await rows(database)}
    assert why in found["not_scored"]
    assert "scored" in found


async def test_two_workers_score_each_once(database, scorer, stored):
    for number in range(6):
        await stored(f"s{number}")
    sources = [Source(*(f"s{i}" for i in range(6))) for _ in range(2)]
    taken = await asyncio.gather(*(scorer(each, Clock(MADE + WEEK)).sweep() for each in sources))
    assert sum(taken) == 6
    assert sum(len(names) for source in sources for names, _, _ in source.read) == 6


async def test_a_lease_that_ran_out_passes_on_and_the_first_owner_s_word_comes_too_late(database, stored):
    name = await stored()
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


async def test_confidence_follows_what_was_recorded(database, scorer, stored):
    for number in range(8):
        await stored(f"s{number}", cpu=0.4, confidence=0.9)
    learnt = []
    one = scorer(Source(*(f"s{i}" for i in range(8))), Clock(MADE + WEEK), learnt)
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
    database, scorer, stored, recommendation
):
    detail = msgspec.structs.replace(recommendation().confidence_detail, before_record=0.8)
    await stored(confidence=0.6, confidence_detail=detail)
    learnt = []
    one = scorer(Source("web"), Clock(MADE + WEEK), learnt)
    await one.sweep()
    await one.learn()
    assert learnt[0][KEY].stated == pytest.approx(0.8)


async def test_a_type_that_promises_latency_is_held_to_its_claim(database, scorer, stored):
    claim = {"latency_now_ms": 100.0, "latency_now_interval_ms": [90.0, 110.0]}
    await stored(optimization_type=OptimizationType.LATENCY_OPTIMIZATION, claim=claim)
    await scorer(Source("web"), Clock(MADE + WEEK)).sweep()
    [row] = await rows(database)
    assert row["status"] == "not_scored"
    assert "latency" in row["reason"]


async def test_it_runs_by_itself_and_survives_what_it_did_not_expect(database, scorer, stored, eventually):
    await stored()
    source, clock = Source("web"), Clock(MADE + WEEK)
    source.error = ZeroDivisionError("a fault")
    task = asyncio.create_task(TaskSupervisor(()).keep(scorer(source, clock)))
    try:
        await eventually(lambda: _attempted(database))
        source.error = None
        clock.now += timedelta(days=1)
        await eventually(lambda: _scored(database))
    finally:
        task.cancel()


async def test_one_that_can_not_be_scored_holds_up_no_other(database, scorer, stored):
    broken = await stored("web")
    await stored("web", cpu=0.7)
    async with database.transaction() as connection:
        mine = recommendations.c.recommendation_id == broken
        nonsense = {"containers": {"main": {"cpu_request": "much"}}}
        await connection.execute(update(recommendations).where(mine).values(recommended_state=nonsense))
    clock = Clock(MADE + WEEK)
    await scorer(Source("web"), clock).sweep()
    found = {row["recommendation_id"]: row for row in await rows(database)}
    assert found.pop(broken)["due_at"] > clock.now
    assert [row["status"] for row in found.values()] == ["scored"]


async def _attempted(database):
    return (await rows(database))[0]["attempts"] > 0


async def _scored(database):
    return (await rows(database))[0]["status"] == "scored"


async def test_accuracy_shows_what_was_recorded_beside_what_was_replayed(database, scorer, stored):
    for number in range(4):
        await stored(f"s{number}", cpu=0.4 if number == 0 else 0.75)
    await stored("s1", at=MADE + WEEK)
    await stored("gone")
    one = scorer(Source(*(f"s{i}" for i in range(4))), Clock(MADE + WEEK))
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


async def test_what_files_tell_of_times_long_gone_is_news_when_it_is_scored(database, scorer, stored):
    for number in range(3):
        await stored(f"s{number}")
    learnt, years_later = [], Clock(MADE + timedelta(days=10 * 365))
    one = scorer(Source("s0", "s1", "s2"), years_later, learnt)
    await one.sweep()
    await one.learn()
    assert learnt[0][KEY].outcomes == pytest.approx(3.0)
