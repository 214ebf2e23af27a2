"""PostgreSQL and NATS as the settings name them, opened for as long as a process runs."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from perfopt.errors import UnavailableError
from perfopt_api.events.nats import NatsConnection, NatsFiles, ensure_stream, event_stream, job_stream
from perfopt_api.settings import ServiceSettings
from perfopt_api.store.database import Database
from perfopt_api.store.readiness import DatabaseReadiness

_RETRY_SECONDS = 0.25
# Commands of jobs and requests take far less than a second: who asks should not wait long for a hung server.
_COMMAND_SECONDS = 8.0


@dataclass(frozen=True)
class ServiceBackends:
    """What both the API and the worker stand on."""

    database: Database
    nats: NatsConnection
    readiness: DatabaseReadiness


def nats_files(settings: ServiceSettings) -> NatsFiles:
    """Returns what a connection to NATS proves itself with."""
    return NatsFiles(
        ca=settings.nats_ca_file,
        client_cert=settings.nats_client_cert_file,
        client_key=settings.nats_client_key_file,
        credentials=settings.nats_credentials_file,
        nkey_seed=settings.nats_nkey_seed_file,
    )


@contextlib.asynccontextmanager
async def open_backends(
    settings: ServiceSettings, *, name: str, pool_size: int, bounded: bool = False
) -> AsyncIterator[ServiceBackends]:
    """Waits for both at start, creates the streams unless they are there, and closes all at the end.

    Args:
        settings: where they are and how long to wait.
        name: of this process in NATS's monitoring.
        pool_size: half of the connections to PostgreSQL.
        bounded: whether commands that would wait too long for one are refused.

    Raises:
        UnavailableError: one did not answer within `startup_seconds`, or the schema is not this version's.
        InvalidInputError: an address or a stream is not usable.
    """
    database = Database(
        settings.database_url, pool_size=pool_size, command_seconds=_COMMAND_SECONDS, bounded=bounded
    )
    single = Database(settings.database_url, pool_size=1, command_seconds=_COMMAND_SECONDS)
    readiness = DatabaseReadiness(single)
    try:
        await _reached(readiness, settings.startup_seconds)
        connection = await NatsConnection.connect(
            settings.nats_url,
            name=name,
            within=settings.startup_seconds,
            files=nats_files(settings),
        )
        try:
            for stream in (
                event_stream(settings.event_stream, settings.stream_replicas),
                job_stream(settings.job_stream, settings.stream_replicas),
            ):
                await ensure_stream(connection, stream)
            yield ServiceBackends(database, connection, readiness)
        finally:
            await connection.close()
    finally:
        await single.close()
        await database.close()


async def _reached(readiness: DatabaseReadiness, within: float) -> None:
    deadline = time.monotonic() + within
    while True:
        try:
            return await readiness.check()
        except UnavailableError:
            if time.monotonic() >= deadline:
                raise
            await asyncio.sleep(_RETRY_SECONDS)
