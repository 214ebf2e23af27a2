"""The whole service on one machine: embedded PostgreSQL and NATS, a worker process, and the API here."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
import uvloop
import yaml

from perfopt.config.loading import Config, written
from perfopt.config.overrides import PREFIX
from perfopt.errors import InvalidInputError, UnavailableError
from perfopt_api.childserver import ChildServer
from perfopt_api.embedded import EmbeddedServers, embedded_servers
from perfopt_api.serving import serve_api
from perfopt_api.settings import with_service
from perfopt_api.shutdown import EXIT_SECONDS, stop_on_signals
from perfopt_api.store.schema import migrate_now

_RESTART_SECONDS = 0.5
_STOP_SECONDS = 7.0
"""For the worker after a stop: with the servers that end after it, everything leaves within ten seconds."""
_PR_SET_PDEATHSIG = 1
_CHILD = "from perfopt_api.standalone import run_worker_child; run_worker_child()"
_log = structlog.get_logger("perfopt_api.standalone")


def default_data_dir() -> Path:
    """Returns ./.perfopt; for root, where nobody else may enter that, /var/lib/perfopt.

    PostgreSQL does not run as root, so its own user must reach its data.
    """
    here = Path.cwd()
    closed = not all(place.stat().st_mode & 0o001 for place in (here, *here.parents))
    return Path("/var/lib/perfopt") if closed and os.geteuid() == 0 else here / ".perfopt"


@dataclass(frozen=True, slots=True)
class ServiceAddresses:
    """Where everything listens.

    Attributes:
        credentials: a configuration file, for this user only, with the addresses and generated passwords of
            the servers; None where no data is kept.
    """

    api: str
    servers: EmbeddedServers
    credentials: Path | None = None


def run_standalone(
    config: Config, data_dir: Path | None, announce: Callable[[ServiceAddresses], None]
) -> None:
    """Runs everything until SIGINT or SIGTERM, and leaves nothing running.

    Args:
        config: the effective configuration; the addresses of the embedded servers are put into it.
        data_dir: keeps the data between runs; None is a temporary directory.
        announce: called with the addresses once the API listens.

    Raises:
        UnavailableError: a server did not start.
        InvalidInputError: a setting, or the data directory, is not usable.
    """
    with embedded_servers(data_dir) as servers:
        migrate_now(servers.database_url)
        whole = with_service(config, database_url=servers.database_url, nats_url=servers.nats_url)
        credentials = None if data_dir is None else _write_credentials(data_dir, servers)
        with config_file(whole) as path:
            ready = partial(ServiceAddresses, servers=servers, credentials=credentials)
            uvloop.run(_serve(whole, path, servers, lambda api: announce(ready(api))))


def _write_credentials(data_dir: Path, servers: EmbeddedServers) -> Path:
    """Writes what another process needs to reach the servers, such as `perfopt doctor --config`."""
    path = data_dir / "servers.yaml"
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    addresses = {"database_url": servers.database_url, "nats_url": servers.nats_url}
    path.write_text(yaml.safe_dump({"service": addresses}), encoding="utf-8")
    return path


async def _serve(config: Config, path: Path, servers: EmbeddedServers, ready: Callable[[str], None]) -> None:
    stop = stop_on_signals(exit_within=EXIT_SECONDS)  # guards end the servers that are left
    tasks = [
        asyncio.create_task(keep_worker(path, stop)),
        asyncio.create_task(keep_servers(servers.children, stop)),
    ]
    try:
        await serve_api(config, stop, ready)
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def keep_servers(children: Iterable[ChildServer], stop: asyncio.Event) -> None:
    """Starts a server again, on the same port and data, where it ends on its own, until the stop."""
    while not stop.is_set():
        for child in children:
            try:
                if await asyncio.to_thread(child.revive):
                    _log.warning("embedded_server_restarted", server=child.title)
            except (UnavailableError, InvalidInputError) as error:
                _log.warning("embedded_server_failed", server=child.title, reason=error.message)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _RESTART_SECONDS)


async def keep_worker(path: Path, stop: asyncio.Event) -> None:
    """Runs a worker process, and another one where it ends, until the stop; then waits for its end.

    Args:
        path: the configuration file, see `config_file`.
        stop: ends it.
    """
    stopping = asyncio.create_task(stop.wait())
    while not stop.is_set():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _CHILD, str(os.getpid()), str(path), env=_environment()
        )
        ended = asyncio.create_task(process.wait())
        await asyncio.wait({stopping, ended}, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            await _end(process, ended)
            return
        _log.warning("worker_restarted", exit_code=process.returncode)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(stopping), _RESTART_SECONDS)


async def _end(process: asyncio.subprocess.Process, ended: asyncio.Task[int]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(asyncio.shield(ended), _STOP_SECONDS)
    except TimeoutError:
        _log.warning("worker_stopped_with_work_left", seconds=_STOP_SECONDS)  # its jobs are claimed again
        process.kill()
        await ended


def run_worker_child() -> None:
    """Is the worker process: it ends with its parent, even where that is killed."""
    from perfopt.cli.main import main

    parent, path = sys.argv[1:]
    with contextlib.suppress(OSError, AttributeError):  # Linux only; elsewhere a killed parent leaves it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == int(parent):
        main(["worker", "--config", path])


@contextlib.contextmanager
def config_file(config: Config) -> Iterator[Path]:
    """Gives a file, readable by this user only, from which another process loads the same configuration."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", prefix="perfopt-", encoding="utf-8") as file:
        yaml.safe_dump(written(config), file)
        file.flush()
        yield Path(file.name)


def _environment() -> dict[str, str]:
    # The file holds what the environment overrides, and the addresses of the servers are not to be.
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
