"""What waits: jobs by class with the age of the oldest, and events that did not go out."""

from datetime import timedelta

from sqlalchemy import func, update

from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt_api.store.backlog import ClassBacklog, PostgresBacklog
from perfopt_api.store.backtests import BacktestRequest, PostgresBacktests
from perfopt_api.store.port import JobClass
from perfopt_api.store.postgres import PostgresStore
from perfopt_api.store.tables import jobs, outbox
from perfopt_api.store.work import PostgresWorkStore

LEASE = timedelta(minutes=1)


async def ask(database, name, priority):
    request = PerformanceAnalysisRequest(service_name=name, priority=priority)
    return (await PostgresStore(database).create_job(request)).job.job_id


async def aged(database, table, seconds):
    async with database.transaction() as connection:
        await connection.execute(update(table).values(created_at=func.now() - timedelta(seconds=seconds)))


async def test_nothing_waits_in_a_new_database(database):
    found = await PostgresBacklog(database).read()
    assert found.jobs == {each: ClassBacklog() for each in JobClass}
    assert (found.events, found.lag_seconds) == (0, 0)


async def test_jobs_are_counted_by_class_and_a_held_one_runs(database):
    for number in range(3):
        await ask(database, f"s{number}", "fleet")
    await ask(database, "web", "interactive")
    await PostgresWorkStore(database).claim(owner="w", lease=LEASE, classes={JobClass.FLEET})
    await aged(database, jobs, 120)
    found = (await PostgresBacklog(database).read()).jobs
    assert (found[JobClass.FLEET].waiting, found[JobClass.FLEET].running) == (2, 1)
    assert (found[JobClass.INTERACTIVE].waiting, found[JobClass.INTERACTIVE].running) == (1, 0)
    assert 120 <= found[JobClass.FLEET].oldest_seconds < 130


async def test_a_job_whose_lease_ran_out_waits_and_a_finished_one_does_not(database, recommendation, result):
    await ask(database, "web", "interactive")
    work = PostgresWorkStore(database)
    claim = await work.claim(owner="w", lease=LEASE)
    async with database.transaction() as connection:
        await connection.execute(update(jobs).values(lease_expires_at=func.now() - LEASE))
    found = await PostgresBacklog(database).read()
    assert (found.jobs[JobClass.INTERACTIVE].waiting, found.jobs[JobClass.INTERACTIVE].running) == (1, 0)
    await work.finish_job(claim, result(recommendation("web")))
    await aged(database, outbox, 60)
    found = await PostgresBacklog(database).read()
    assert found.jobs[JobClass.INTERACTIVE] == ClassBacklog()
    assert found.events == 2  # of the recommendation and of the status
    assert 60 <= found.lag_seconds < 70


async def test_backtests_are_counted_as_heavy_work(database):
    backtests = PostgresBacktests(database)
    for _ in range(2):
        await backtests.start(BacktestRequest(), None)
    await backtests.claim("w", LEASE)
    heavy = (await PostgresBacklog(database).read()).heavy
    assert (heavy.waiting, heavy.running) == (1, 1)
    assert 0 <= heavy.oldest_seconds < 60
