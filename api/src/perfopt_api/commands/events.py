"""`perfopt events`: the stream of events."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perfopt.cli.groups import SuggestingGroup
from perfopt.cli.options import config_option, load
from perfopt.errors import UnavailableError

if TYPE_CHECKING:
    from perfopt_api.events.republish import RepublishedEvents
    from perfopt_api.settings import ServiceSettings

_CONNECT_SECONDS = 5.0


@click.group("events", cls=SuggestingGroup)
def events() -> None:
    """Repair the stream of events."""


@events.command("republish")
@config_option
@click.option("--since", metavar="WHEN", help="Only events written since: an instant, or an age such as 7d.")
def republish(config_file: Path | None, since: str | None) -> None:
    """Rebuild the stream from the outbox.

    Each event keeps its id, so none is there twice.
    """
    from perfopt_api.settings import service_settings

    done = asyncio.run(_republish(service_settings(load(config_file)), _since(since)))
    click.echo(
        f"{done.published} events published, {done.present} were in the stream already,"
        f" {done.refused} refused by NATS."
    )
    if done.dropped:
        raise UnavailableError(
            f"{done.dropped} events are not in the stream, and NATS drops them by their ids, kept for a day.",
            remedy="Delete the stream (`nats stream rm`) and republish again.",
        )


def _since(text: str | None) -> datetime | None:
    from perfopt.domain.period import parse_duration, parse_instant

    if text is None:
        return None
    if text[:4].isdigit() and "-" in text:
        return parse_instant(text, field="since")
    return datetime.now(UTC) - parse_duration(text, field="since")


async def _republish(settings: "ServiceSettings", since: datetime | None) -> "RepublishedEvents":
    from perfopt_api.backends import nats_files
    from perfopt_api.events.nats import NatsConnection, event_stream
    from perfopt_api.events.republish import republish
    from perfopt_api.store.database import Database
    from perfopt_api.store.outbox import PostgresOutbox

    stream = event_stream(settings.event_stream, settings.stream_replicas)
    database = Database(settings.database_url, pool_size=1)
    try:
        nats = await NatsConnection.connect(
            settings.nats_url,
            name="perfopt-events",
            within=_CONNECT_SECONDS,
            files=nats_files(settings),
        )
        try:
            return await republish(PostgresOutbox(database), nats, stream, since)
        finally:
            await nats.close()
    finally:
        await database.close()
