"""Retention: what is old and has done its work goes, and nothing that anybody still relies on."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from perfopt.domain.enums import OptimizationStatus, OptimizationType
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt_api.jobs.retention import RetentionTask
from perfopt_api.store.applies import PostgresApplies
from perfopt_api.store.apply_port import ApplyEnd, NewApply, TimelineEntry
from perfopt_api.store.apply_requests import PostgresApplyRequests
from perfopt_api.store.days import PostgresDays
from perfopt_api.store.postgres import PostgresStore
from perfopt_api.store.retention import PostgresRetention
from perfopt_api.store.tables import jobs, outbox, outcomes, recommendations
from perfopt_api.store.work import PostgresWorkStore

NOW = datetime(2026, 11, 23, tzinfo=UTC)
OLD, NEW = NOW - timedelta(days=91), NOW - timedelta(days=89)


@pytest.fixture
def retention(database):
    return RetentionTask(PostgresRetention(database), timedelta(days=90), now=lambda: NOW)


@pytest.fixture
def finished(database, recommendation, result):
    """Stores a finished analysis of a service, its recommendation scored; returns the job's id."""

    async def store(service="web", at=OLD, scored=True, cpu="300m"):
        api, work = PostgresStore(database), PostgresWorkStore(database)
        job = (await api.create_job(PerformanceAnalysisRequest(service_name=service))).job
        claim = await work.claim(owner="test", lease=timedelta(minutes=1))
        await work.finish_job(claim, result(recommendation(service, cpu_request=cpu)))
        mine = recommendations.c.job_id == job.job_id
        async with database.transaction() as connection:
            done = update(jobs).where(jobs.c.job_id == job.job_id).values(completed_at=at)
            await connection.execute(done)
            await connection.execute(update(outbox).values(published_at=at))
            if scored:
                ids = select(recommendations.c.recommendation_id).where(mine)
                known = update(outcomes).where(outcomes.c.recommendation_id.in_(ids))
                await connection.execute(known.values(status="scored", accurate=True))
        return job.job_id

    return store


async def left(database):
    async with database.transaction() as connection:
        ids = (await connection.execute(select(jobs.c.job_id))).scalars().all()
        counts = [
            await connection.scalar(select(func.count()).select_from(table))
            for table in (recommendations, outcomes, outbox)
        ]
    return set(ids), counts


async def test_an_old_analysis_that_was_superseded_and_scored_goes_with_all_it_made(
    database, retention, finished
):
    await finished()
    kept = await finished(cpu="900m", at=NEW)
    assert (await retention.forget())["jobs"] == 1
    ids, (made, scored, _) = await left(database)
    assert (ids, made, scored) == ({kept}, 1, 1)
    assert (await retention.forget())["jobs"] == 0


async def test_what_is_in_force_stays_however_old(database, retention, finished):
    current = await finished()
    await retention.forget()
    assert (await left(database))[0] == {current}


async def test_what_waits_for_its_outcome_was_applied_or_is_named_by_a_change_stays(
    database, retention, finished
):
    waiting = await finished(scored=False)
    applied = await finished(cpu="900m")
    parent = await finished(cpu="100m")
    await finished(cpu="1500m")
    child = (await PostgresStore(database).create_job(PerformanceAnalysisRequest(service_name="web"))).job
    async with database.transaction() as connection:
        of_applied = recommendations.c.job_id == applied
        await connection.execute(update(recommendations).where(of_applied).values(applied=True))
        mine = update(jobs).where(jobs.c.job_id == child.job_id)
        await connection.execute(mine.values(parent_job_id=parent, completed_at=NEW))
    assert (await retention.forget())["jobs"] == 0
    assert {waiting, applied, parent, child.job_id} < (await left(database))[0]


@pytest.fixture
def changed(database):
    """Applies the recommendation of an analysis; returns the job."""

    async def apply(parent, status=OptimizationStatus.APPLIED, at=OLD):
        requests, applying = PostgresApplyRequests(database), PostgresApplies(database)
        mine = select(recommendations.c.recommendation_id).where(recommendations.c.job_id == parent)
        async with database.transaction() as connection:
            ids = (await connection.execute(mine)).scalars().all()
        new = NewApply(
            parent_job_id=parent,
            service_name="web",
            optimization_types=(OptimizationType.RESOURCE_OPTIMIZATION,),
            recommendation_ids=tuple(ids),
            order={},
            state={},
            step="preflight",
            workload="prod/deployment/web",
            namespace="prod",
        )
        job_id = (await requests.create_apply(new)).job.job_id
        claim = await applying.claim_apply(owner="w", lease=timedelta(minutes=1))
        note = TimelineEntry(at=at, step="rest", code="applied", message="The workload was changed.")
        await applying.save_apply(claim, step="rest", state={}, snapshot={"fields": {}}, entries=[note])
        await applying.finish_apply(claim, ApplyEnd(status=status))
        async with database.transaction() as connection:
            old = update(jobs).where(jobs.c.job_id == job_id).values(completed_at=at)
            await connection.execute(old)
        return job_id

    return apply


async def test_old_changes_go_with_their_timeline_but_what_is_in_force_and_the_audit_stay(
    database, retention, finished, changed
):
    failed = await changed(await finished(), OptimizationStatus.ROLLED_BACK)
    fresh = await changed(await finished(cpu="400m"), OptimizationStatus.FAILED, NEW)
    replaced = await changed(await finished(cpu="500m"))
    in_force = await changed(await finished(cpu="900m"))
    assert (await retention.forget())["changes"] == 2
    ids, _ = await left(database)
    assert {fresh, in_force} < ids
    assert not {failed, replaced} & ids
    requests = PostgresApplyRequests(database)
    assert await requests.timeline(failed) is None
    assert [entry.code for entry in await requests.timeline(in_force)] == ["applied"]
    assert {failed, replaced, fresh, in_force} == {entry.job_id for entry in await requests.audit_log()}
    assert await requests.restore("prod", principal="ann", reason=None) == (in_force,)


async def test_the_change_that_one_in_force_replaced_stays_while_that_is_new(
    database, retention, finished, changed
):
    replaced = await changed(await finished())
    await changed(await finished(cpu="900m"), at=NEW)
    assert (await retention.forget())["changes"] == 0
    assert replaced in (await left(database))[0]


async def test_unfinished_jobs_and_unpublished_events_stay(database, retention, finished):
    await finished()
    open_job = (await PostgresStore(database).create_job(PerformanceAnalysisRequest(service_name="x"))).job
    async with database.transaction() as connection:
        await connection.execute(update(jobs).values(created_at=OLD))
        await connection.execute(update(outbox).values(published_at=None, created_at=OLD))
    assert not any((await retention.forget()).values())
    assert open_job.job_id in (await left(database))[0]
    async with database.transaction() as connection:
        await connection.execute(update(outbox).values(published_at=OLD))
    assert {kind: n for kind, n in (await retention.forget()).items() if n} == {"events": 2}


async def test_jobs_of_fleets_that_stored_nothing_go_after_a_month(database, retention, finished):
    month_old, fresh = await finished("a"), await finished("b")
    kept = await finished("c")
    async with database.transaction() as connection:
        for job_id, days in ((month_old, 31), (fresh, 29), (kept, 31)):
            fleet = {"fleet_id": "fleet", "completed_at": NOW - timedelta(days=days)}
            await connection.execute(update(jobs).where(jobs.c.job_id == job_id).values(fleet))
            if job_id != kept:
                await connection.execute(recommendations.delete().where(recommendations.c.job_id == job_id))
    assert (await retention.forget())["fleet_jobs"] == 1
    assert (await left(database))[0] == {fresh, kept}


async def test_series_of_old_days_go(database):
    days = PostgresDays(database)
    content = {("prod/deployment/web", (NOW - timedelta(days=age)).date()): b"x" for age in (14, 15, 16)}
    await days.save("prom", content)
    task = RetentionTask(PostgresRetention(database), None, timedelta(days=15), now=lambda: NOW)
    assert {kind: n for kind, n in (await task.forget()).items() if n} == {"days": 1}
    wanted = [day for _, day in content]
    left_over = await days.load("prom", ["prod/deployment/web"], wanted)
    assert sorted(day for _, day in left_over) == sorted(wanted)[1:]
