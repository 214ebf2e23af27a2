"""`perfopt migrate`: brings the database to the schema of this version."""

import asyncio
from pathlib import Path

import click

from perfopt.cli.options import config_option, load


@click.command("migrate")
@config_option
@click.option("--revision", default="head", show_default=True, help="Upgrade to this revision.")
@click.option("--down", metavar="REVISION", help="Downgrade to this revision; `base` drops every table.")
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 unless the schema is right.")
def migrate(config_file: Path | None, revision: str, down: str | None, check: bool) -> None:
    """Bring the database to this version's schema.

    Two runs at once wait for each other.
    """
    from perfopt_api.settings import service_settings
    from perfopt_api.store import schema

    url = service_settings(load(config_file)).database_url
    if check:
        asyncio.run(_check(url))
        return
    before, after = schema.migrate_now(url, down or revision, down=down is not None)
    click.echo(f"The schema is at {after}." if before == after else f"Migrated from {before} to {after}.")


async def _check(url: str) -> None:
    from perfopt_api.store.database import Database
    from perfopt_api.store.readiness import check_schema
    from perfopt_api.store.tables import SCHEMA_REVISION

    database = Database(url, pool_size=1)
    try:
        async with database.transaction() as connection:
            await check_schema(connection)
    finally:
        await database.close()
    click.echo(f"The schema is at {SCHEMA_REVISION}, as this version wants it.")
