"""Ready means: reachable, a schema that fits, and writes are taken."""

import pytest
from sqlalchemy import text

from perfopt.errors import UnavailableError
from perfopt_api.store.database import Database
from perfopt_api.store.readiness import DatabaseReadiness
from perfopt_api.store.tables import SCHEMA_REVISION

REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{code}'; END $$
"""


@pytest.fixture
def readiness(database):
    return DatabaseReadiness(database)


async def set_revision(database, revision):
    async with database.transaction() as connection:
        statement = text("UPDATE alembic_version SET version_num = :revision")
        await connection.execute(statement, {"revision": revision})


def ahead(count):
    return f"{int(SCHEMA_REVISION) + count:04d}"


async def test_the_schema_of_this_version_and_the_next_one_are_ready_and_nothing_is_left(database, readiness):
    await readiness.check()
    await set_revision(database, ahead(1))
    await readiness.check()
    async with database.transaction() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM recommendation_counters")) == 0


@pytest.mark.parametrize(
    ("revision", "words"),
    [("0000", "is at 0000.*perfopt migrate"), (ahead(2), f"is at {ahead(2)}.*Run a newer version")],
)
async def test_an_older_schema_and_one_two_ahead_are_not(database, readiness, revision, words):
    await set_revision(database, revision)
    with pytest.raises(UnavailableError, match=words):
        await readiness.check()


async def test_an_empty_database_lacks_the_schema(empty_database_url):
    empty = Database(empty_database_url)
    with pytest.raises(UnavailableError, match=r"lacks the schema of this version\. Run `perfopt migrate`"):
        await DatabaseReadiness(empty).check()
    await empty.close()


@pytest.mark.parametrize(("code", "words"), [("25006", "takes no writes"), ("53100", "no disk space")])
async def test_a_database_that_takes_no_writes_is_not_ready(database, readiness, code, words):
    async with database.transaction() as connection:
        await connection.execute(text(REFUSE.format(code=code)))
        trigger = "CREATE TRIGGER refuse BEFORE INSERT ON recommendation_counters EXECUTE FUNCTION refuse()"
        await connection.execute(text(trigger))
    with pytest.raises(UnavailableError, match=words):
        await readiness.check()
