from datetime import date

from perfopt_api.store.database import Database
from perfopt_api.store.days import PostgresDays

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
