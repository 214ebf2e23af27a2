"""What is in force, what is withdrawn, and what subscribers hear of it."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import select, text

from perfopt.domain.enums import DeclineCode, OptimizationType
from perfopt.domain.period import format_instant
from perfopt.domain.recommendation import Declined
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt_api.events.message import STATUS_PREFIX
from perfopt_api.store.postgres import PostgresStore
from perfopt_api.store.tables import outbox
from perfopt_api.store.work import PostgresWorkStore

KIND = OptimizationType.RESOURCE_OPTIMIZATION


@pytest.fixture
def store(database):
    return PostgresStore(database)


@pytest.fixture
def finish(database, store, result):
    """Finishes an analysis with some recommendations and abstentions; returns the id of the job."""

    async def run(*made, declined=()):
        await store.create_job(PerformanceAnalysisRequest(service_name="vm-1"))
        work = PostgresWorkStore(database, base_url="https://perfopt.example")
        claim = await work.claim(owner="w", lease=timedelta(minutes=1))
        abstained = tuple(
            Declined(optimization_type=KIND, code=code, reason="Too little history.") for code in declined
        )
        await work.finish_job(claim, result(*made, declined=abstained))
        return claim.job_id

    return run


async def events(database):
    """Returns the events of recommendations."""
    status = outbox.c.subject.startswith(STATUS_PREFIX)
    async with database.transaction() as connection:
        rows = (await connection.execute(select(outbox).where(~status).order_by(outbox.c.id))).all()
    return [(row.subject, row.headers["ce-type"], msgspec.json.decode(row.payload)) for row in rows]


async def expire(database, *, days):
    async with database.transaction() as connection:
        change = text(
            "UPDATE optimization_recommendations SET created_at = now() - make_interval(days => :days),"
            " made_at = now() - interval '30 d', valid_until = now() - interval '23 d'"
        )
        await connection.execute(change, {"days": days})


async def test_what_a_later_analysis_abstains_from_is_withdrawn_and_announced(
    database, store, finish, recommendation
):
    await finish(recommendation("vm-1"))
    [made] = (await store.list_recommendations()).items
    job_id = await finish(declined=[DeclineCode.SHORT_HISTORY])
    assert (await store.list_recommendations()).items == ()
    shown, _ = await store.get_recommendation(made.recommendation_id)
    assert shown.withdrawn_at is not None
    assert len((await store.list_recommendations(include_superseded=True)).items) == 1
    subject, kind, body = (await events(database))[-1]
    assert subject == "quantivista.optimization.recommendation_withdrawn.RESOURCE_OPTIMIZATION.vm-1"
    assert kind == "optimization_recommendation_withdrawn"
    del body["event_id"], body["timestamp"]
    assert body == {
        "recommendation_id": made.recommendation_id,
        "service_name": "vm-1",
        "optimization_type": "RESOURCE_OPTIMIZATION",
        "reason": "Too little history.",
        "job_id": job_id,
        "details_url": (
            f"https://perfopt.example/api/v1/optimization/recommendations/{made.recommendation_id}"
        ),
    }
    await finish(declined=[DeclineCode.SHORT_HISTORY])
    assert len(await events(database)) == 2


async def test_a_strategy_that_did_not_run_withdraws_nothing(database, store, finish, recommendation):
    await finish(recommendation("vm-1"))
    await finish(declined=[DeclineCode.STRATEGY_FAILED])
    assert len((await store.list_recommendations()).items) == 1
    assert len(await events(database)) == 1


async def test_after_a_withdrawal_the_same_recommendation_is_announced_again(
    database, store, finish, recommendation
):
    await finish(recommendation("vm-1"))
    await finish(declined=[DeclineCode.SHORT_HISTORY])
    await finish(recommendation("vm-1"))
    assert len((await store.list_recommendations()).items) == 1
    assert [kind for _, kind, _ in await events(database)] == [
        "optimization_recommendation_generated",
        "optimization_recommendation_withdrawn",
        "optimization_recommendation_generated",
    ]


async def test_an_expired_one_is_not_listed_and_its_successor_is_announced(
    database, store, finish, recommendation
):
    await finish(recommendation("vm-1"))
    await expire(database, days=30)
    assert (await store.list_recommendations()).items == ()
    assert (await store.accuracy()) == ()
    assert await store.plans() == ()
    assert len((await store.list_recommendations(include_expired=True)).items) == 1
    await finish(recommendation("vm-1"))
    assert len((await store.list_recommendations()).items) == 1
    assert len(await events(database)) == 2


async def test_the_validity_counts_from_the_analysis_where_the_data_are_old(
    database, store, finish, recommendation
):
    await finish(recommendation("vm-1"))
    await expire(database, days=6)
    assert len((await store.list_recommendations()).items) == 1
    await expire(database, days=8)
    assert (await store.list_recommendations()).items == ()


async def test_an_event_says_what_subscribers_need(database, store, finish, recommendation):
    first = await finish(recommendation("vm-1"))
    [old] = (await store.list_recommendations()).items
    second = await finish(recommendation("vm-1", already_right=True))
    await finish(recommendation("vm-1", already_right=True))
    (_, _, before), (_, _, after) = await events(database)
    assert before["job_id"] == first
    assert before["valid_until"] == format_instant(old.valid_until)
    assert "supersedes" not in before
    assert "no_change" not in before
    assert after["job_id"] == second
    assert after["supersedes"] == old.recommendation_id
    assert after["no_change"] is True
    assert datetime.fromisoformat(after["timestamp"]) <= datetime.now(UTC)
