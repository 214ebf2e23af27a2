"""Whether PostgreSQL can do what the service needs of it, asked over a connection of its own."""

import asyncio
from datetime import date
from secrets import randbelow

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from perfopt.errors import UnavailableError
from perfopt_api.store.database import Database
from perfopt_api.store.tables import SCHEMA_REVISION, counters

CHECK_SECONDS = 2.0


class DatabaseReadiness:
    """Checks one database.

    Args:
        database: a pool that nothing else uses, so that busy connections are no reason to fail.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def check(self) -> None:
        """Returns when PostgreSQL answers, its schema fits, and it takes writes.

        Raises:
            UnavailableError: one of these is not so; it says which.
        """
        try:
            async with asyncio.timeout(CHECK_SECONDS), self._database.transaction() as connection:
                await check_schema(connection)
                await _try_write(connection)
        except TimeoutError as error:
            raise UnavailableError(
                f"PostgreSQL at {self._database.place} did not answer within {CHECK_SECONDS:g} s.",
                remedy="Check that it runs and that the setting database_url is right.",
            ) from error


async def check_schema(connection: AsyncConnection) -> None:
    """Returns when the schema is the one this version was written for, or the next one.

    A migration leaves what the version before it uses, so pods of that version serve on while new ones start.

    Raises:
        UnavailableError: it is older, or newer by more than one revision.
    """
    revision = await connection.scalar(text("SELECT version_num FROM alembic_version"))
    following = f"{int(SCHEMA_REVISION) + 1:04d}"
    if revision in (SCHEMA_REVISION, following):
        return
    newer = revision is not None and revision > following
    raise UnavailableError(
        f"The database schema is at {revision or 'base'};"
        f" this version works with {SCHEMA_REVISION} and the next.",
        remedy="Run a newer version of perfopt." if newer else "Run `perfopt migrate` of this version.",
    )


async def _try_write(connection: AsyncConnection) -> None:
    """Writes a row and takes it back; a day long past, chosen anew, is nobody else's."""
    day = date.fromordinal(1 + randbelow(500_000))
    savepoint = await connection.begin_nested()
    await connection.execute(insert(counters).values(day=day, last=0))
    await savepoint.rollback()
