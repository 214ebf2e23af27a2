"""Runs the API in this process until the stop."""

import asyncio
import contextlib
import resource
import socket
from collections.abc import AsyncIterator, Callable

import structlog
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server
from litestar import Litestar

from perfopt.config import Config
from perfopt.errors import InvalidInputError, UnavailableError
from perfopt_api.auth.authenticate import is_required
from perfopt_api.bootstrap import open_app
from perfopt_api.http.ports import Checks
from perfopt_api.http.workerhealth import create_worker_app
from perfopt_api.settings import ServiceSettings, service_settings
from perfopt_api.store.database import Database
from perfopt_api.store.schema import migrate
from perfopt_api.supervision import TaskSupervisor

GRACE_SECONDS = 8.0
"""For requests that run when the process is stopped; it leaves after ten seconds whatever they do."""
_BACKLOG = 1024
_OTHER_FILES = 256
_LISTEN_SECONDS = 10.0
_RETRY_SECONDS = 0.25
_log = structlog.get_logger("perfopt_api.serving")


async def serve_api(config: Config, stop: asyncio.Event, ready: Callable[[str], None]) -> None:
    """Serves until the stop; requests that run then get eight seconds to finish, and waits end at once.

    A stop while PostgreSQL or NATS is still waited for ends it at once.

    Args:
        config: the effective configuration.
        stop: ends it.
        ready: called with the address once the API listens.

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
    if not is_required(settings):
        _log.warning("api_without_authentication", remedy="Set service.auth to on.")
    async with open_app(config) as app, http_server(app, address, port, settings) as serving:
        ready(f"http://{settings.host}:{port}")
        await _until(stop, serving)
        app.state.stop_waiting()


@contextlib.asynccontextmanager
async def http_server(
    app: Litestar, address: str, port: int, settings: ServiceSettings
) -> AsyncIterator[asyncio.Task[None]]:
    """Serves an application while the context is open; gives the task that ends with the server.

    Raises:
        UnavailableError: the server did not start.
    """
    _allow_files(settings.max_connections + _OTHER_FILES)
    server = Server(
        app,
        address=address,
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=False,
        backlog=_BACKLOG,
        backpressure=settings.max_connections,
        http1_settings=HTTP1Settings(header_read_timeout=int(settings.header_seconds * 1000)),
    )
    serving = asyncio.create_task(server.serve())
    try:
        await _listening(address, port, serving)
        yield serving
    finally:
        server.stop()  # type: ignore[no-untyped-call]  # granian leaves it without types
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(serving, GRACE_SECONDS)


def _allow_files(count: int) -> None:
    """Raises the limit of open files as far as this process may: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@contextlib.asynccontextmanager
async def serve_worker_health(
    settings: ServiceSettings, checks: Checks, supervisor: TaskSupervisor
) -> AsyncIterator[None]:
    """Serves health and metrics of a worker while the context is open, where the settings name a port.

    Raises:
        InvalidInputError: the address cannot be listened on.
    """
    if settings.worker_port is None:
        yield
        return
    address, port = _listenable(settings.host, settings.worker_port)
    async with http_server(create_worker_app(checks, supervisor), address, port, settings):
        _log.info("worker_health", url=f"http://{settings.host}:{port}/health/ready")
        yield


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
