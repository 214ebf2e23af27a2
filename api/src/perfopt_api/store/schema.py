"""Migrations, run in the process on our own connection. Two runs at once wait for each other."""

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, func, select

import perfopt_api
from perfopt.errors import InvalidInputError
from perfopt_api.store.database import Database

_LOCK = 0x70657266  # "perf": any number that nobody else locks


def migrations_directory() -> Path:
    """Returns where the migrations are: in the wheel, or beside api/ in a checkout."""
    package = Path(perfopt_api.__file__).parent
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parents[2] / "migrations"


def head_revision() -> str:
    """Returns the newest revision there is."""
    head = ScriptDirectory(str(migrations_directory())).get_current_head()
    assert head is not None, "migrations were packaged"
    return head


async def current_revision(database: Database) -> str | None:
    """Returns the revision a database is at; None before the first."""
    async with database.transaction() as connection:
        return await connection.run_sync(_current)


async def migrate(database: Database, revision: str = "head", *, down: bool = False) -> tuple[str, str]:
    """Brings a database to a revision.

    Args:
        database: where to.
        revision: `head`, `base`, a revision, or relative such as -1.
        down: towards older revisions.

    Returns:
        The revision before and after; "base" is an empty database.

    Raises:
        InvalidInputError: there is no such revision.
        UnavailableError: PostgreSQL is not reachable.
    """
    with database.translated():
        async with database.engine.connect() as connection:
            await connection.execute(select(func.pg_advisory_lock(_LOCK)))
            await (
                connection.commit()
            )  # each revision is a transaction of its own, under the lock of the session
            try:
                return await connection.run_sync(_migrate, revision, down)
            finally:
                await connection.rollback()
                await connection.execute(select(func.pg_advisory_unlock(_LOCK)))
                await connection.commit()


def _migrate(connection: Connection, revision: str, down: bool) -> tuple[str, str]:
    before = _current(connection)
    config = Config()
    config.set_main_option("script_location", str(migrations_directory()).replace("%", "%%"))
    config.attributes["connection"] = connection
    connection.rollback()  # reading the revision began a transaction
    try:
        (command.downgrade if down else command.upgrade)(config, revision)
    except CommandError as error:
        raise InvalidInputError(
            f"{error}.".replace("..", "."),
            field="revision",
            remedy="`perfopt migrate --check` names the newest.",
        ) from error
    return before or "base", _current(connection) or "base"


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def migrate_now(url: str, revision: str = "head", *, down: bool = False) -> tuple[str, str]:
    """Does what `migrate` does, for callers without an event loop."""

    async def run() -> tuple[str, str]:
        database = Database(url, pool_size=1)
        try:
            return await migrate(database, revision, down=down)
        finally:
            await database.close()

    return asyncio.run(run())
