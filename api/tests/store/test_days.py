import hashlib
from datetime import UTC, date, datetime

from sqlalchemy import text

from perfopt_api.store.database import Database
from perfopt_api.store.days import PostgresDays
from perfopt_api.store.retention import PostgresRetention

MONDAY, TUESDAY = date(2026, 11, 23), date(2026, 11, 24)


async def test_days_are_kept_by_source_workload_and_day(database):
    days = PostgresDays(database)
    await days.save("prom", {("a", MONDAY): b"1", ("a", TUESDAY): b"2", ("b", MONDAY): b"3"})
    await days.save("prom", {("a", TUESDAY): b"4"})
    await days.save("other", {("a", MONDAY): b"5"})
    assert await days.load("prom", ["a"], [MONDAY, TUESDAY]) == {("a", MONDAY): b"1", ("a", TUESDAY): b"4"}
    assert await days.load("prom", ["a", "b"], [MONDAY]) == {("a", MONDAY): b"1", ("b", MONDAY): b"3"}
    assert await days.load("third", ["a"], [MONDAY]) == {}


async def test_without_postgresql_nothing_is_stored_and_all_is_read_anew():
    database = Database("postgresql://perfopt@127.0.0.1:1/none")
    days = PostgresDays(database)
    await days.save("prom", {("a", MONDAY): b"1"})
    assert await days.load("prom", ["a"], [MONDAY]) == {}
    await database.close()


async def test_each_day_has_a_partition_and_rows_of_older_workers_stay_readable(database):
    old_worker = "INSERT INTO workload_days VALUES (:source, 'a', :day, '1')"
    source = hashlib.sha256(b"prom").hexdigest()
    async with database.transaction() as connection:
        await connection.execute(text(old_worker), {"source": source, "day": MONDAY})
    days = PostgresDays(database)
    await days.save("prom", {("a", MONDAY): b"2", ("a", TUESDAY): b"3"})
    assert await days.load("prom", ["a"], [MONDAY, TUESDAY]) == {("a", MONDAY): b"2", ("a", TUESDAY): b"3"}
    assert await _rows(database) == {"workload_days_default": 1, "workload_days_20261124": 1}
    retention = PostgresRetention(database)
    wednesday = datetime(2026, 11, 25, tzinfo=UTC)
    assert [await retention.forget_days(wednesday, limit=10) for _ in range(3)] == [1, 1, 0]
    assert await _rows(database) == {"workload_days_default": 0}


async def _rows(database):
    async with database.transaction() as connection:
        names = await connection.scalars(
            text(
                "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'workload_days'::regclass"
            )
        )
        return {name: await connection.scalar(text(f"SELECT count(*) FROM {name}")) for name in names.all()}
