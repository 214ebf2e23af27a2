"""What `faults.py` breaks: real servers, each behind a proxy, and the processes of the service."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import yaml

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/support"))

from sample_cluster import sample_cluster

from perfopt_api.childserver import free_port
from perfopt_api.embedded import NatsServer, PostgresServer, temporary_root

PERFOPT = Path(sys.executable).parent / "perfopt"
WORKLOADS = 6

LIMIT_MIB = 700
"""Of the memory of a process that runs strategies."""
DISK_BYTES = 600 * 2**20


class Proxy:
    """Forwards one port to another; slowly, or not at all while the connections stay open."""

    def __init__(self, loop: asyncio.AbstractEventLoop, target: int) -> None:
        self.port = free_port()
        self.delay = 0.0
        self._open = asyncio.Event()
        self._target = target
        self._loop = loop
        self._writers: set[asyncio.StreamWriter] = set()
        self._do(self._listen())

    def freeze(self) -> None:
        """Forwards nothing from now on: the peers do not learn of it."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def thaw(self) -> None:
        """Forwards again."""
        self._loop.call_soon_threadsafe(self._open.set)

    def cut(self) -> None:
        """Closes every connection."""
        self._do(self._cut())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._open.set()
        await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _cut(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            their_reader, their_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, their_writer}
        self._writers |= both
        ways = (self._pump(reader, their_writer), self._pump(their_reader, writer))
        await asyncio.wait([asyncio.create_task(way) for way in ways], return_when=asyncio.FIRST_COMPLETED)
        for each in both:
            each.transport.abort()
        self._writers -= both

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._open.wait()
                await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()


class World:
    """The servers, their proxies, one API and two workers.

    Attributes:
        extra: variables of processes, by name, for all their starts.
        events: that were written in faults before.
        is_older: the processes are of the version before the last migration.
    """

    def __init__(self, root: Path, postgres: PostgresServer, nats: NatsServer, prometheus: str) -> None:
        self.root, self.postgres, self.nats = root, postgres, nats
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        self.proxies = {
            "postgresql": Proxy(loop, postgres.port),
            "nats": Proxy(loop, nats.port),
            "prometheus": Proxy(loop, int(prometheus.rpartition(":")[2].strip("/"))),
        }
        self.port = free_port()
        self.api = f"http://127.0.0.1:{self.port}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.extra: dict[str, Mapping[str, str]] = {}
        self.events = 0
        self.is_older = False
        self.use_database("perfopt")

    def use_database(self, name: str) -> None:
        """Has processes that start from now on use a database, which is created."""
        self.postgres.create_database(name)
        self.database = self.postgres.url(name)
        proxied = self.database.replace(f":{self.postgres.port}/", f":{self.proxies['postgresql'].port}/")
        nats = self.nats.url.replace(f":{self.nats.port}", f":{self.proxies['nats'].port}")
        source = {"type": "prometheus", "url": f"http://127.0.0.1:{self.proxies['prometheus'].port}"}
        service = {
            "database_url": proxied,
            "nats_url": nats,
            "port": self.port,
            "log_level": "warning",
            "lease_seconds": 3,
            "max_wait_seconds": 2,
            "max_attempts": 50,
            "requests_per_second": 100_000,
            "event_stream": f"OPTIMIZATION_{name}" if name != "perfopt" else "OPTIMIZATION",
        }
        config = {"sources": {"cluster": source | {"timeout_seconds": 5}}, "service": service}
        self.config = self.root / f"{name}.yaml"
        self.config.write_text(
            yaml.safe_dump(config | {"engine": {"processes": 1, "memory_limit_mib": LIMIT_MIB}})
        )

    def start(self, name: str, **environment: str) -> None:
        """Starts `api` or a `worker...`; what is given stays for later starts of it."""
        if environment:
            self.extra[name] = environment
        command = [str(PERFOPT), "serve" if name == "api" else "worker", "--config", str(self.config)]
        with (self.root / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env=os.environ | {"OMP_NUM_THREADS": "1"} | dict(self.extra.get(name, {})),
            )

    def log(self, name: str) -> str:
        """Returns the end of what a process wrote."""
        return (self.root / f"{name}.log").read_text(errors="replace")[-800:]

    def run(self, *words: str, **environment: str) -> None:
        """Runs a command of the service to its end."""
        command = [str(PERFOPT), *words, "--config", str(self.config)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
        if done.returncode:
            raise SystemExit(f"{words[0]}: {done.stderr}")

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Ends a process with everything that it started."""
        process = self.processes.pop(name)
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(number)
        process.wait(30)
        for child in family:
            with contextlib.suppress(psutil.Error):
                child.kill()

    def stop(self) -> None:
        """Ends every process."""
        for name in tuple(self.processes):
            self.kill(name)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Gives a folder a disk of its own that can be filled, where mounting one is allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Has SIGTERM and SIGHUP end this process as an error does: what was mounted and started goes."""

    def end(number: int, _: object) -> None:
        for each in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)  # a second one would end the cleaning up
        raise SystemExit(128 + number)

    before = {each: signal.signal(each, end) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextlib.contextmanager
def fault_world() -> Iterator[World]:
    """Gives a world with its servers running, migrated, and nothing of the service started."""
    with (
        ended_by_signals(),
        temporary_root() as root,
        small_disk(root / "postgres"),
        PostgresServer(root / "postgres") as postgres,
        NatsServer(root / "nats") as nats,
    ):
        (root / "prometheus").mkdir()
        with sample_cluster(root / "prometheus", WORKLOADS) as prometheus:
            world = World(root, postgres, nats, prometheus)
            world.run("migrate")
            try:
                yield world
            finally:
                world.stop()
