"""What breaks while jobs are asked for: processes, servers, the network, messages, plugins and clocks."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import nats
import psutil
from faultupgrade import upgrade
from faultworld import LIMIT_MIB, World
from nats.aio.client import Client

WORKERS = ("worker-1", "worker-2")
UPGRADE = "rolling upgrade"
LEAKY = """
from perfopt.testing.examples import ExamplePlugin, PeakStrategy
class Leaky(PeakStrategy):
    name = "leaky"
    def propose(self, context):
        held = [bytearray(64 * 2**20) for _ in range(64)]
        return super().propose(context)
PLUGIN = ExamplePlugin(Leaky())
"""


@dataclass
class Outcome:
    """What came of one fault."""

    fault: str
    asked: int = 0
    unended: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    written: int = 0
    missing: int = 0
    doubled: int = 0
    seconds: float = 0.0
    note: str = ""
    unserved: str = ""

    @property
    def is_fine(self) -> bool:
        """Whether nothing was lost or doubled, and jobs were served all along where they have to be."""
        return not (self.unended or self.missing or self.doubled or self.unserved)

    def row(self) -> str:
        """Returns the row of the table."""
        refused, failed = shown(self.refused), shown(self.failed)
        note = self.note + (f", none served: {self.unserved}" if self.unserved else "")
        return (
            f"| {self.fault} | {self.asked} | {self.unended} | {failed} | {self.written}"
            f" | {self.missing} | {self.doubled} | {self.seconds:.0f} s | {refused} | {note} |"
        )


def shown(counts: Counter[str]) -> str:
    """Returns counts as text."""
    return ", ".join(f"{count} x {name}" for name, count in sorted(counts.items())) or "none"


async def connected(world: World) -> Client:
    """Returns a connection to NATS of our own, quiet where the server was away."""

    async def ignore(_: Exception) -> None:
        return

    return await nats.connect(world.nats.url, error_cb=ignore)


Fault = Callable[[World, "Outcome"], Coroutine[Any, Any, None]]


def kills(*names: str, times: int = 6) -> Fault:
    """Returns a fault that kills processes again and again, each time within a second of a claimed job."""

    async def breaks(world: World, outcome: Outcome) -> None:
        for _ in range(times):
            await claimed_job(world)
            await asyncio.sleep(random.uniform(0.0, 1.0))  # noqa: S311  no secret
            name = random.choice(names)  # noqa: S311  no secret
            await asyncio.to_thread(world.kill, name)
            world.start(name)
        outcome.note = f"{times} kills"

    return breaks


async def claimed_job(world: World, within: float = 10.0) -> None:
    """Waits until a worker holds a job, or the time is over."""
    connection, deadline = await asyncpg.connect(world.database), time.monotonic() + within
    held = "SELECT count(*) FROM optimization_jobs WHERE lease_expires_at > now() AND status = 'ANALYZING'"
    while time.monotonic() < deadline and not await connection.fetchval(held):
        await asyncio.sleep(0.05)
    await connection.close()


def restarts(server: str, *, store: bool = True) -> Fault:
    """Returns a fault that kills a server, with or without what it stored, and starts it again."""

    async def breaks(world: World, outcome: Outcome) -> None:
        await asyncio.sleep(1.5)
        process = world.postgres if server == "postgresql" else world.nats
        os.kill(process.pid, signal.SIGKILL)
        await asyncio.sleep(2)
        if not store:
            shutil.rmtree(process.root / "store", ignore_errors=True)
        await asyncio.to_thread(process.revive)
        if not store:
            await asyncio.sleep(4)
            await asyncio.to_thread(world.run, "events", "republish")
            outcome.note = "perfopt events republish"

    return breaks


def slow(delay: float, seconds: float) -> Fault:
    """Returns a fault that delays every packet to every server."""

    async def breaks(world: World, outcome: Outcome) -> None:
        for proxy in world.proxies.values():
            proxy.delay = delay
        await asyncio.sleep(seconds)
        for proxy in world.proxies.values():
            proxy.delay = 0.0
        outcome.note = f"{delay * 1000:.0f} ms each way"

    return breaks


def half_open(seconds: float) -> Fault:
    """Returns a fault that leaves connections open without a byte, one server after another."""

    async def breaks(world: World, outcome: Outcome) -> None:
        for proxy in world.proxies.values():
            proxy.freeze()
            await asyncio.sleep(seconds)
            proxy.thaw()
            await asyncio.to_thread(proxy.cut)
        outcome.note = f"{seconds:.0f} s each"

    return breaks


async def read_only(world: World, outcome: Outcome) -> None:
    """Has PostgreSQL refuse writes for some seconds."""
    connection = await asyncpg.connect(world.database)
    await connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    await connection.execute("SELECT pg_reload_conf()")
    await asyncio.sleep(5)
    await connection.execute("SET default_transaction_read_only = off")
    await connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()
    outcome.note = "5 s"


async def full_disk(world: World, outcome: Outcome) -> None:
    """Fills the disk of PostgreSQL for some seconds, and starts it again where that ended it."""
    if not os.path.ismount(world.postgres.root):
        outcome.note = "left out: mounting a small disk is not allowed"
        return
    await asyncio.sleep(1.5)
    filler = world.postgres.root / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 2**20):
            pass
    await asyncio.sleep(6)
    filler.unlink()
    ended = await asyncio.to_thread(world.postgres.revive)
    outcome.note = "6 s" + (", PostgreSQL ended" if ended else "")


async def poison(world: World, outcome: Outcome) -> None:
    """Puts messages and a job into the queue that nobody can read."""
    client = await connected(world)
    for number in range(20):
        await client.publish(f"perfopt.jobs.analyze.poison{number}", os.urandom(50) + b"\xff\x00")
    await client.close()
    connection = await asyncpg.connect(world.database)
    await connection.execute(
        "INSERT INTO optimization_jobs (job_id, service_name, optimization_type, status, request)"
        " VALUES (gen_random_uuid()::text, 'poison', 'RESOURCE_OPTIMIZATION', 'ANALYZING', '{\"no\": 1}')"
    )
    await connection.close()
    outcome.note = "20 messages, one job"


async def leak(world: World, outcome: Outcome) -> None:
    """Adds a plugin that takes 4 GiB for each workload."""
    folder = world.root / "plugins"
    info = folder / "leaky-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: leaky\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[perfopt.plugins]\nleaky = leaky_plugin:PLUGIN\n")
    (folder / "leaky_plugin.py").write_text(LEAKY)
    for name in WORKERS:
        await asyncio.to_thread(world.kill, name)
        world.start(name, PYTHONPATH=str(folder))
    stop = asyncio.Event()
    watching = asyncio.create_task(_largest_child(world, stop))
    stopped = await _stopped_for_memory(world)
    stop.set()
    for name in WORKERS:
        world.extra.pop(name)
        await asyncio.to_thread(world.kill, name, signal.SIGTERM)
        world.start(name)
    outcome.note = f"stopped {stopped} times at {LIMIT_MIB} MiB, largest process {await watching:.0f} MiB"


async def _stopped_for_memory(world: World, times: int = 3, within: float = 180.0) -> int:
    """Waits until jobs ended without the leaking plugin's proposal; returns how many did."""
    connection, deadline = await asyncpg.connect(world.database), time.monotonic() + within
    query = "SELECT count(*) FROM optimization_jobs WHERE warnings::text LIKE '%plugin_memory%'"
    while (found := await connection.fetchval(query)) < times and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    await connection.close()
    return int(found)


async def _largest_child(world: World, stop: asyncio.Event) -> float:
    """Returns the most memory that a process of a worker had until the stop, in MiB."""
    most = 0
    while not stop.is_set():
        for name in WORKERS:
            with contextlib.suppress(psutil.Error, KeyError):
                for child in psutil.Process(world.processes[name].pid).children(recursive=True):
                    most = max(most, child.memory_info().rss)
        await asyncio.sleep(0.01)
    return most / 2**20


async def clock(world: World, outcome: Outcome) -> None:
    """Sets the clock of a running worker two hours ahead, then back, then right."""
    if shutil.which("faketime") is None:
        outcome.note = "left out: faketime is not installed"
        return
    faked = ["faketime", "-m", "-f", "+0", "printenv", "LD_PRELOAD"]
    library = subprocess.run(faked, capture_output=True, text=True, check=True).stdout.strip()
    file = world.root / "clock"
    file.write_text("+0")
    await asyncio.to_thread(world.kill, "worker-1")
    world.start(
        "worker-1",
        LD_PRELOAD=library,
        FAKETIME_TIMESTAMP_FILE=str(file),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    for ahead in ("+0", "+2h", "-2h", "+0"):
        file.write_text(ahead)
        await claimed_job(world)
        await asyncio.sleep(4)
    world.extra.pop("worker-1")
    await asyncio.to_thread(world.kill, "worker-1", signal.SIGTERM)
    world.start("worker-1")
    outcome.note = "one worker two hours ahead, then back"


async def rolling_upgrade(world: World, outcome: Outcome) -> None:
    """Replaces processes of the version before the last migration, one by one."""
    if world.is_older:
        outcome.note, outcome.unserved = await upgrade(world)
    else:
        outcome.note = "left out: no history of Git"


FAULTS: dict[str, Fault] = {
    "workers killed": kills("worker-1", "worker-2"),
    "API killed": kills("api"),
    "everything killed": kills("api", "worker-1", "worker-2"),
    "PostgreSQL killed": restarts("postgresql"),
    "NATS killed": restarts("nats"),
    "NATS killed, store lost": restarts("nats", store=False),
    "slow network": slow(0.05, 10),
    "half-open network": half_open(8),
    "read-only database": read_only,
    "full disk of PostgreSQL": full_disk,
    "poison messages": poison,
    "plugin leaks 4 GiB": leak,
    "clock jumps": clock,
    UPGRADE: rolling_upgrade,
}
