"""Breaks the service in every way that it has to survive, and counts what is lost or doubled.

    python benchmarks/faults.py [--jobs 200] [--seconds 120] [--clients 500] [--only NAME] [--short]

Real processes, PostgreSQL, NATS and Prometheus on loopback. While each fault lasts, jobs are asked for; a
client asks again with the same Idempotency-Key until it gets its 202. Then every job has to end, and every
event of the outbox has to be in the stream, once. Prints a table, and ends with status 1 where something was
lost or doubled. `--short` takes 12 jobs each and four of the faults.
"""

import argparse
import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import nats
import numpy as np
from faultworld import WORKLOADS, World, fault_world
from nats.aio.client import Client

API = "/api/v1/optimization"
ROOT = Path(__file__).parent.parent
DRAIN_SECONDS = 240.0
ENDED = ("RECOMMENDATIONS_READY", "FAILED")
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

    @property
    def is_fine(self) -> bool:
        """Whether nothing was lost or doubled."""
        return not (self.unended or self.missing or self.doubled)

    def row(self) -> str:
        """Returns the row of the table."""
        refused, failed = _shown(self.refused), _shown(self.failed)
        return (
            f"| {self.fault} | {self.asked} | {self.unended} | {failed} | {self.written}"
            f" | {self.missing} | {self.doubled} | {self.seconds:.0f} s | {refused} | {self.note} |"
        )


def _shown(counts: Counter[str]) -> str:
    return ", ".join(f"{count} x {name}" for name, count in sorted(counts.items())) or "none"


async def _connected(world: World) -> Client:
    """Returns a connection to NATS of our own, quiet where the server was away."""

    async def ignore(_: Exception) -> None:
        return

    return await nats.connect(world.nats.url, error_cb=ignore)


Fault = Callable[[World, "Outcome"], Coroutine[Any, Any, None]]
HEADER = (
    "| fault | jobs | not ended | FAILED | events | lost | doubled | all ended after | no 202 meanwhile | |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


async def ask(world: World, outcome: Outcome, number: int) -> str:
    """Asks for one job until it is accepted; returns its id."""
    names = ("order-router", "risk-engine", "market-data", *(f"service-{n:03d}" for n in range(3, WORKLOADS)))
    body = {
        "service_name": names[number % WORKLOADS],
        "analysis_period": f"{10 * 24 + number // WORKLOADS}h",
        "optimization_types": ["RESOURCE_OPTIMIZATION"],
    }
    headers = {"Idempotency-Key": f"{outcome.fault} {number}"}
    async with httpx.AsyncClient(base_url=world.api, timeout=20) as http:
        while True:
            try:
                answer = await http.post(f"{API}/analyze", json=body, headers=headers)
            except httpx.HTTPError as error:
                outcome.refused[type(error).__name__] += 1
            else:
                if answer.status_code == 202:
                    return str(answer.json()["job_id"])
                outcome.refused[str(answer.status_code)] += 1
            await asyncio.sleep(0.25)


async def survive(world: World, fault: str, breaks: Fault, jobs: int) -> Outcome:
    """Asks for jobs while something breaks; returns what came of all of them."""
    outcome = Outcome(fault)
    for name in ("api", "worker-1", "worker-2"):
        if name not in world.processes:
            world.start(name)
    await _ready(world)
    began = time.monotonic()
    breaking = asyncio.create_task(breaks(world, outcome))
    asked = []
    for number in range(jobs):
        asked.append(asyncio.create_task(ask(world, outcome, number)))
        await asyncio.sleep(random.uniform(0.02, 0.12))  # noqa: S311  no secret
    ids = set(await asyncio.gather(*asked))
    await breaking
    for name in ("api", "worker-1", "worker-2"):
        if name not in world.processes or world.processes[name].poll() is not None:
            world.start(name)
    outcome.asked = len(ids)
    await _ended(world, outcome, ids)
    outcome.seconds = time.monotonic() - began
    await _count_events(world, outcome)
    return outcome


async def _ready(world: World) -> None:
    """Waits until the API takes requests."""
    async with httpx.AsyncClient(base_url=world.api, timeout=5) as http:
        while True:
            try:
                if (await http.get("/health/ready")).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.2)


async def _ended(world: World, outcome: Outcome, ids: set[str]) -> None:
    left, deadline = set(ids), time.monotonic() + DRAIN_SECONDS
    while left and time.monotonic() < deadline:
        connection = await asyncpg.connect(world.database)
        rows = await connection.fetch(
            "SELECT job_id, status, error->>'code' AS code FROM optimization_jobs WHERE job_id = ANY($1)",
            list(left),
        )
        await connection.close()
        outcome.failed.update(row["code"] for row in rows if row["status"] == "FAILED")
        left -= {row["job_id"] for row in rows if row["status"] in ENDED}
        await asyncio.sleep(0.5)
    outcome.unended = len(left)


async def _count_events(world: World, outcome: Outcome) -> None:
    """Compares the outbox with the stream, once the relay is done."""
    database, deadline = await asyncpg.connect(world.database), time.monotonic() + 60
    while await database.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL"):
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.2)
    written = {str(row[0]) for row in await database.fetch("SELECT event_id FROM outbox")}
    await database.close()
    client = await _connected(world)
    stream = "OPTIMIZATION"
    state = (await client.jetstream().stream_info(stream)).state
    numbers = range(state.first_seq, state.last_seq + 1) if state.messages else ()
    messages = [await client.jetstream().get_msg(stream, number) for number in numbers]
    await client.close()
    found = Counter((message.headers or {}).get("Nats-Msg-Id", "") for message in messages)
    outcome.written = len(written)
    outcome.missing = len(written - found.keys())
    outcome.doubled = sum(count - 1 for count in found.values())


def kills(*names: str, times: int = 6) -> Fault:
    """Returns a fault that kills processes again and again, each time within a second of a claimed job."""

    async def breaks(world: World, outcome: Outcome) -> None:
        for _ in range(times):
            await _claimed(world)
            await asyncio.sleep(random.uniform(0.0, 1.0))  # noqa: S311  no secret
            name = random.choice(names)  # noqa: S311  no secret
            await asyncio.to_thread(world.kill, name)
            world.start(name)
        outcome.note = f"{times} kills"

    return breaks


async def _claimed(world: World, within: float = 10.0) -> None:
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


async def poison(world: World, outcome: Outcome) -> None:
    """Puts messages and a job into the queue that nobody can read."""
    client = await _connected(world)
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
    for name in ("worker-1", "worker-2"):
        await asyncio.to_thread(world.kill, name)
        world.start(name, PYTHONPATH=str(folder))
    await asyncio.sleep(10)
    for name in ("worker-1", "worker-2"):
        world.extra.pop(name)
        await asyncio.to_thread(world.kill, name, signal.SIGTERM)
        world.start(name)
    outcome.note = "limit 700 MiB"


async def clock(world: World, outcome: Outcome) -> None:
    """Runs one worker two hours ahead."""
    if shutil.which("faketime") is None:
        outcome.note = "left out: faketime is not installed"
        return
    await asyncio.to_thread(world.kill, "worker-1")
    world.start("worker-1", ("faketime", "-f", "+2h"))
    await asyncio.sleep(8)
    await asyncio.to_thread(world.kill, "worker-1", signal.SIGTERM)
    outcome.note = "one worker two hours ahead"


async def replace_each(world: World, outcome: Outcome) -> None:
    """Stops and starts every process in turn, as a rolling upgrade does."""
    for name in ("worker-1", "api", "worker-2"):
        await asyncio.to_thread(world.kill, name, signal.SIGTERM)
        world.start(name)
        await asyncio.sleep(3)
    outcome.note = "same version, in turn"


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
    "poison messages": poison,
    "plugin leaks 4 GiB": leak,
    "clock jumps": clock,
    "rolling restart": replace_each,
}
SHORT = ("everything killed", "NATS killed, store lost", "read-only database", "poison messages")


async def crowd(world: World, clients: int, seconds: float) -> bool:
    """Has many clients ask at once; returns whether no answer was an error but 429."""
    statuses: Counter[str] = Counter()
    taken: list[float] = []
    until = time.monotonic() + seconds

    async def client(number: int) -> None:
        async with httpx.AsyncClient(base_url=world.api, timeout=60) as http:
            while time.monotonic() < until:
                began = time.perf_counter()
                try:
                    answer = await http.get(f"{API}/recommendations", params={"limit": 5 + number % 5})
                    statuses[str(answer.status_code)] += 1
                except httpx.HTTPError as error:
                    statuses[type(error).__name__] += 1
                taken.append(time.perf_counter() - began)
                await asyncio.sleep(random.uniform(1.0, 3.0))  # noqa: S311  no secret

    await asyncio.gather(*(client(number) for number in range(clients)))
    median, high = 1000 * np.percentile(taken, [50, 99])
    print(
        f"\n{clients} clients for {seconds:.0f} s: {_shown(statuses)}; median {median:.0f}, p99 {high:.0f} ms"
    )
    return not set(statuses) - {"200", "202", "429"}


def fuzz(world: World, examples: int) -> bool:
    """Sends what the OpenAPI document allows, and what it does not; returns whether no answer was a 5xx."""
    program = Path(sys.executable).parent / "schemathesis"
    checks = ["--checks", "not_a_server_error", "--phases", "examples,fuzzing"]
    command = [str(program), "run", f"{world.api}/openapi.json", "--max-examples", str(examples), *checks]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=world.root)
    lines = [line.strip() for line in done.stdout.splitlines() if "test cases" in line or "passed" in line]
    print(f"\nschemathesis, {examples} an operation: status {done.returncode}; {' '.join(lines[-2:])}")
    return done.returncode == 0


async def run(world: World, given: argparse.Namespace) -> bool:
    """Runs the faults in turn."""
    names = [given.only] if given.only else list(SHORT) if given.short else list(FAULTS)
    fine = True
    print(HEADER)
    for name in names:
        outcome = await survive(world, name, FAULTS[name], given.jobs)
        print(outcome.row(), flush=True)
        fine = fine and outcome.is_fine
    if given.only or given.short:
        return fine
    fine = await crowd(world, given.clients, given.seconds) and fine
    return await asyncio.to_thread(fuzz, world, given.examples) and fine


def main() -> None:
    """Runs everything against servers of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--examples", type=int, default=20)
    parser.add_argument("--only", choices=FAULTS)
    parser.add_argument("--short", action="store_true")
    given = parser.parse_args()
    if given.short:
        given.jobs = 12
    with fault_world() as world:
        fine = asyncio.run(run(world, given))
    raise SystemExit(0 if fine else 1)


if __name__ == "__main__":
    main()
