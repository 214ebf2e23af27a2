"""Breaks the service in every way that it has to survive, and counts what is lost or doubled.

    python benchmarks/faults.py [--jobs 200] [--seconds 120] [--clients 500] [--only NAME]... [--short]

Real processes, PostgreSQL, NATS and Prometheus on loopback. While each fault lasts, jobs are asked for; a
client asks again with the same Idempotency-Key until it gets its 202. Then every job has to end, and every
event of the outbox has to be in the stream, once. Workers that change a simulated cluster are killed before
and after every step of a change, which has to end with the cluster in the matching state. Prints a table, and
ends with status 1 where something was lost or doubled. `--short` takes 6 jobs each and three of the faults.
"""

import argparse
import asyncio
import random
import ssl
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import asyncpg
import httpx
import numpy as np
from faultkinds import FAULTS, UPGRADE, Fault, Outcome, connected, shown
from faultupgrade import start_older
from faultworld import WORKLOADS, World, fault_world

from perfopt_api.embedded import NatsServer
from perfopt_api.settings import ServiceSettings
from perfopt_api.store.schema import migrate_now

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/support"))

from apply_kills import NAMES, survive_kills

API = "/api/v1/optimization"
ROOT = Path(__file__).parent.parent
DRAIN_SECONDS = 240.0
GAP_SECONDS = 0.07
"""Between two jobs, on average."""
ENDED = ("RECOMMENDATIONS_READY", "FAILED")


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
    gap = GAP_SECONDS
    if fault == UPGRADE:
        world.is_older = await start_older(world)
        gap *= 5  # a phase of an upgrade lasts longer than other faults
    for name in ("api", "worker-1", "worker-2"):
        if name not in world.processes:
            world.start(name)
    await _ready(world)
    began = time.monotonic()
    breaking = asyncio.create_task(breaks(world, outcome))
    asked: list[asyncio.Task[str]] = []
    while len(asked) < jobs or (fault == UPGRADE and not breaking.done()):
        asked.append(asyncio.create_task(ask(world, outcome, len(asked))))
        await asyncio.sleep(random.uniform(0.3 * gap, 1.7 * gap))  # noqa: S311  no secret
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
    """Waits until the API takes requests; gives up where its process ended, or after some minutes."""
    deadline = time.monotonic() + DRAIN_SECONDS
    async with httpx.AsyncClient(base_url=world.api, timeout=5) as http:
        while True:
            try:
                if (await http.get("/health/ready")).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            if world.processes["api"].poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the API did not start: {world.log('api')}")
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
    client = await connected(world)
    stream = "OPTIMIZATION"
    state = (await client.jetstream().stream_info(stream)).state
    numbers = range(state.first_seq, state.last_seq + 1) if state.messages else ()
    messages = [await client.jetstream().get_msg(stream, number) for number in numbers]
    await client.close()
    counts = Counter((message.headers or {}).get("Nats-Msg-Id", "") for message in messages)
    outcome.written, world.events = len(written) - world.events, len(written)
    outcome.missing = len(written - counts.keys())
    outcome.doubled = sum(count - 1 for count in counts.values())


CHANGES = "changes killed at every step"
CROWD = "many clients at once"
FUZZ = "schemathesis on the API"
SHORT = ("everything killed", "read-only database", "poison messages")
SHORT_JOBS = 6


async def crowd(world: World, clients: int, seconds: float) -> bool:
    """Has many clients ask at once, one in ten for an analysis; returns whether no error but 429 came."""
    statuses: Counter[str] = Counter()
    taken: list[float] = []
    until, context = time.monotonic() + seconds, ssl.create_default_context()

    async def client(number: int) -> None:
        async with httpx.AsyncClient(base_url=world.api, timeout=60, verify=context) as http:
            while time.monotonic() < until:
                began = time.perf_counter()
                try:
                    if number % 10:
                        answer = await http.get(f"{API}/recommendations", params={"limit": 5 + number % 5})
                    else:
                        answer = await http.post(f"{API}/analyze", json={"service_name": "order-router"})
                    statuses[str(answer.status_code)] += 1
                except httpx.HTTPError as error:
                    statuses[type(error).__name__] += 1
                taken.append(time.perf_counter() - began)
                await asyncio.sleep(random.uniform(1.0, 3.0))  # noqa: S311  no secret

    await asyncio.gather(*(client(number) for number in range(clients)))
    median, high = 1000 * np.percentile(taken, [50, 99])
    print(
        f"\n{clients} clients for {seconds:.0f} s: {shown(statuses)}; median {median:.0f}, p99 {high:.0f} ms",
        flush=True,
    )
    return not set(statuses) - {"200", "202", "429"}


def fuzz(world: World, examples: int) -> bool:
    """Sends what the OpenAPI document allows, and what it does not; returns whether no answer was a 5xx."""
    program = Path(sys.executable).parent / "schemathesis"
    checks = ["--checks", "not_a_server_error", "--phases", "examples,fuzzing"]
    command = [str(program), "run", f"{world.api}/openapi.json", "--max-examples", str(examples), *checks]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=world.root)
    lines = [line.strip() for line in done.stdout.splitlines() if "test cases" in line or "passed" in line]
    print(
        f"\nschemathesis, {examples} an operation: status {done.returncode}; {' '.join(lines[-2:])}",
        flush=True,
    )
    if done.returncode:
        print(done.stdout)
    return done.returncode == 0


async def change_kills(world: World) -> Outcome:
    """Kills workers before and after every step of a change; returns what came of it."""
    world.postgres.create_database("changes")
    url, root = world.postgres.url("changes"), world.root / "changes"
    await asyncio.to_thread(migrate_now, url)
    root.mkdir()
    with NatsServer(root / "nats") as server:
        settings = ServiceSettings(database_url=url, nats_url=server.url, lease_seconds=2.0)
        came = await survive_kills(settings, root, DRAIN_SECONDS)
    outcome = Outcome(CHANGES, asked=len(NAMES), missing=came.missing, doubled=came.doubled)
    outcome.unended = sum(not came.is_right(name) for name in NAMES)
    outcome.written = sum(sum(counts.values()) for counts in came.written.values())
    outcome.seconds = came.seconds
    outcome.note = f"{len(came.killed)} kills, before and after each step"
    return outcome


async def run(world: World, given: argparse.Namespace) -> bool:
    """Runs the faults in turn, then many clients and what the API's document allows."""
    names = given.only or (SHORT if given.short else [*FAULTS, CHANGES, CROWD, FUZZ])
    fine = True
    if set(names) - {CROWD, FUZZ}:
        print(HEADER)
    for name in names:
        fine = await _one(world, name, given) and fine
    return fine


async def _one(world: World, name: str, given: argparse.Namespace) -> bool:
    if name in (CROWD, FUZZ):
        for process in ("api", "worker-1"):
            if process not in world.processes:
                world.start(process)
        await _ready(world)
        if name == CROWD:
            return await crowd(world, given.clients, given.seconds)
        return await asyncio.to_thread(fuzz, world, given.examples)
    if name == CHANGES:
        outcome = await change_kills(world)
    else:
        outcome = await survive(world, name, FAULTS[name], given.jobs)
    print(outcome.row(), flush=True)
    return outcome.is_fine


def main() -> None:
    """Runs everything against servers of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--examples", type=int, default=20)
    parser.add_argument(
        "--only", choices=(*FAULTS, CHANGES, CROWD, FUZZ), action="append", help="may be given again"
    )
    parser.add_argument("--short", action="store_true")
    given = parser.parse_args()
    if given.short:
        given.jobs = SHORT_JOBS
    with fault_world() as world:
        fine = asyncio.run(run(world, given))
    raise SystemExit(0 if fine else 1)


if __name__ == "__main__":
    main()
