"""Runs the API in this process until it is told to stop."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable

import structlog
from granian.constants import Interfaces
from granian.server.embed import Server

from perfopt.config import Config
from perfopt.errors import InvalidInputError, UnavailableError
from perfopt_api.bootstrap import open_app
from perfopt_api.settings import service_settings
from perfopt_api.store.database import Database
from perfopt_api.store.schema import migrate

GRACE_SECONDS = 10.0
_LISTEN_SECONDS = 10.0
_RETRY_SECONDS = 0.25
_log = structlog.get_logger("perfopt_api.serving")


def stop_on_signals() -> asyncio.Event:
    """Returns an event that SIGINT and SIGTERM set, in place of what they did before."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


async def serve_api(config: Config, stop: asyncio.Event, ready: Callable[[str], None]) -> None:
    """Serves until told to stop; requests that run then get ten seconds to finish.

    A stop while PostgreSQL or NATS is still waited for ends it at once.

    Args:
        config: the effective configuration.
        stop: ends it.
        ready: told the address once the API listens.

    Raises:
        UnavailableError: PostgreSQL or NATS did not answer in time.
        InvalidInputError: a setting is wrong, or the address cannot be listened on.
    """
    listening = asyncio.Event()

    def listens(url: str) -> None:
        listening.set()
        ready(url)

    serving = asyncio.create_task(_serve(config, stop, listens))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if stop.is_set() and not listening.is_set():
        serving.cancel()
        await asyncio.wait({serving})
    else:
        await serving


async def migrate_first(config: Config) -> None:
    """Brings the database to this version's schema, once it is reachable.

    Raises:
        UnavailableError: it did not answer within `startup_seconds`.
    """
    settings = service_settings(config)
    deadline = asyncio.get_running_loop().time() + settings.startup_seconds
    database = Database(settings.database_url, pool_size=1)
    try:
        while True:
            try:
                await migrate(database)
                return
            except UnavailableError:
                if asyncio.get_running_loop().time() >= deadline:
                    raise
                await asyncio.sleep(_RETRY_SECONDS)
    finally:
        await database.close()


async def _serve(config: Config, stop: asyncio.Event, ready: Callable[[str], None]) -> None:
    settings = service_settings(config)
    address, port = _listenable(settings.host, settings.port)
    if not settings.api_keys:
        _log.warning("the API is open to everyone who can reach it", remedy="Set service.api_keys.")
    async with open_app(config) as app:
        server = Server(
            app, address=address, port=port, interface=Interfaces.ASGI, websockets=False, log_enabled=False
        )
        serving = asyncio.create_task(server.serve())
        try:
            await _listening(address, port, serving)
            ready(f"http://{settings.host}:{port}")
            await _until(stop, serving)
        finally:
            server.stop()  # type: ignore[no-untyped-call]  # granian leaves it without types
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(serving, GRACE_SECONDS)


def _listenable(host: str, port: int) -> tuple[str, int]:
    """Returns the numeric address and a port that is free; the server itself would share a taken one."""
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
            return str(probe.getsockname()[0]), int(probe.getsockname()[1])
    except OSError as error:
        raise InvalidInputError(
            f"The API cannot listen on {host}:{port}: {error.strerror or error}.",
            remedy="Choose another address with --host and --port.",
        ) from error


async def _listening(address: str, port: int, serving: asyncio.Task[None]) -> None:
    """Waits until the server takes connections."""
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  compared with, not bound to
    async with asyncio.timeout(_LISTEN_SECONDS):
        while not serving.done():
            try:
                _, writer = await asyncio.open_connection(anywhere.get(address, address), port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            return
    raise UnavailableError("The HTTP server did not start.", remedy="Look at the log above.")


async def _until(stop: asyncio.Event, serving: asyncio.Task[None]) -> None:
    """Waits for the stop, or for the server to end on its own, which it should not."""
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({stopping, serving}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if serving.done():
        raise UnavailableError("The HTTP server ended on its own.", remedy="Look at the log above.")
