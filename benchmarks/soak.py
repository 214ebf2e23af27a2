"""The service under load and faults, on loopback: 2,000 idle connections, 200 clients, then servers that die.

    python benchmarks/soak.py [--seconds 60] [--clients 200] [--idle 2000]

First part: connections that say nothing, bodies sent by half, and clients that ask and wait. No answer may be
an error but 429. Second part: the worker, NATS and PostgreSQL are killed while jobs are asked for. Each job
that was accepted must end, and each event of the outbox must stand in the stream once. Ends with status 1
otherwise.
"""

import argparse
import asyncio
import re
import resource
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import httpx
import nats
import numpy as np
import psutil
import yaml
from service import SAMPLES, names, serve

API = "/api/v1/optimization"
DRAIN_SECONDS = 180.0
HALF = (
    b'POST %s/analyze HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"a'
)
HALF_BODIES = 50
PAUSE_SECONDS = 2.0
FAULT_JOBS = 60


@dataclass
class Service:
    """A running `perfopt serve --embedded`, and what it said of its addresses."""

    process: subprocess.Popen[str]
    api: str
    database: str
    nats: str
    names: Sequence[str]

    def kill(self, name: str) -> None:
        """Kills its worker, or one of its servers, which it starts again."""
        for child in psutil.Process(self.process.pid).children():
            command = " ".join(child.cmdline())
            if name in command.split("/")[-1] or name in command:
                child.send_signal(signal.SIGKILL)
                return
        raise SystemExit(f"there is no process {name}")


@dataclass
class Seen:
    """What the clients saw."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    live: list[float] = field(default_factory=list)

    def count(self, answer: httpx.Response) -> None:
        """Counts an answer by its status, an error by its problem as well."""
        problem = f" {answer.json()['type']}" if answer.is_error else ""
        self.statuses[f"{answer.status_code}{problem}"] += 1

    def errors(self) -> dict[str, int]:
        """Answers that are errors, without 429."""
        fine = ("200", "202", "429")
        return {status: count for status, count in self.statuses.items() if status[:3] not in fine}


def start(config: Path, folder: Path) -> Service:
    """Starts the service and reads its addresses."""
    process, shown = serve(config, folder, "Data ")
    match = re.search(r"(http://\S+?)/api/", shown)
    if match is None:
        process.kill()
        raise SystemExit(f"the service shows no address: {shown}")
    servers = yaml.safe_load((folder / "data" / "servers.yaml").read_text(encoding="utf-8"))["service"]
    return Service(
        process, match[1], servers["database_url"], servers["nats_url"], asyncio.run(names(config))
    )


async def idle(service: Service, count: int) -> list[asyncio.StreamWriter]:
    """Opens connections; the first few send half of a body, the others nothing."""
    place = service.api.removeprefix("http://").split(":")
    opened: list[asyncio.StreamWriter] = []
    for number in range(count):
        _, writer = await asyncio.open_connection(place[0], int(place[1]))
        if number < HALF_BODIES:
            writer.write(HALF % API.encode())
        opened.append(writer)
    return opened


async def client(number: int, service: Service, until: float, seen: Seen) -> None:
    """Asks for analyses and waits, looks at the job and at lists, until the time is over."""
    async with httpx.AsyncClient(base_url=service.api, timeout=30, verify=False) as http:  # noqa: S501  no TLS here
        turn = 0
        while time.monotonic() < until:
            turn += 1
            name = service.names[(number + turn) % len(service.names)]
            body = {"service_name": name, "analysis_period": "7d"}
            began = time.perf_counter()
            try:
                answer = await http.post(f"{API}/analyze", json=body, headers={"Prefer": "wait=2"})
                seen.count(answer)
                seen.seconds.append(time.perf_counter() - began)
                listed = await http.get(f"{API}/recommendations", params={"limit": 5})
                seen.count(listed)
            except httpx.HTTPError as error:
                seen.statuses[type(error).__name__] += 1
            await asyncio.sleep(PAUSE_SECONDS)


async def watch(service: Service, until: float, seen: Seen) -> None:
    """Asks five times a second, each time over a new connection, whether the service lives."""
    host, _, port = service.api.removeprefix("http://").partition(":")
    while time.monotonic() < until:
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        seen.live.append(time.perf_counter() - began)
        seen.statuses[answer[9:12].decode()] += 1
        await asyncio.sleep(0.2)


async def load(service: Service, given: argparse.Namespace) -> bool:
    """Runs the first part; returns whether there was no error."""
    seen = Seen()
    connections = await idle(service, given.idle)
    until = time.monotonic() + given.seconds
    clients = [client(number, service, until, seen) for number in range(given.clients)]
    await asyncio.gather(watch(service, until, seen), *clients)
    for writer in connections:
        writer.close()
    live, answers = (1000 * np.percentile(each, [50, 99, 100]) for each in (seen.live, seen.seconds))
    print(f"{given.idle} idle connections, {given.clients} clients, {given.seconds} s: {dict(seen.statuses)}")
    print(f"/health/live: median {live[0]:.0f} ms, p99 {live[1]:.0f} ms, max {live[2]:.0f} ms")
    print(f"analyze, wait=2: median {answers[0]:.0f} ms, p99 {answers[1]:.0f} ms, max {answers[2]:.0f} ms")
    return not seen.errors()


async def faults(service: Service) -> bool:
    """Runs the second part; returns whether nothing was lost or doubled."""
    accepted: set[str] = set()
    kills = {
        FAULT_JOBS // 4: "run_worker_child",
        FAULT_JOBS // 2: "nats-server",
        3 * FAULT_JOBS // 4: "postgres",
    }
    async with httpx.AsyncClient(base_url=service.api, timeout=30) as http:
        for number in range(FAULT_JOBS):
            if number in kills:
                service.kill(kills[number])
            name = service.names[number % len(service.names)]
            body = {"service_name": name, "analysis_period": f"{8 + number // len(service.names)}d"}
            answer = await http.post(f"{API}/analyze", json=body)
            if answer.status_code == 202:
                accepted.add(answer.json()["job_id"])
            await asyncio.sleep(0.2)
        open_jobs = await _ended(http, accepted)
    outbox, stream, ids = await _events(service)
    print(f"{len(accepted)} of {FAULT_JOBS} jobs accepted while worker, NATS and PostgreSQL were killed;")
    print(
        f"{len(open_jobs)} not ended; {outbox} events written, {stream} in the stream, {ids} different ones"
    )
    return not open_jobs and outbox == stream == ids


async def _ended(http: httpx.AsyncClient, jobs: set[str]) -> set[str]:
    """Waits for jobs to end; returns those that did not, or are gone."""
    left, deadline = set(jobs), time.monotonic() + DRAIN_SECONDS
    while left and time.monotonic() < deadline:
        for job in tuple(left):
            answer = await http.get(f"{API}/jobs/{job}")
            if answer.status_code == 200 and answer.json()["status"] in ("RECOMMENDATIONS_READY", "FAILED"):
                left.discard(job)
        await asyncio.sleep(0.5)
    return left


async def _events(service: Service) -> tuple[int, int, int]:
    """Returns events in the outbox and in the stream, and their different ids, once the relay is done."""
    database = await asyncpg.connect(service.database)
    connection = await nats.connect(service.nats)
    try:
        deadline = time.monotonic() + 30
        while await database.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL"):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.2)
        written = await database.fetchval("SELECT count(*) FROM outbox")
        jetstream = connection.jetstream()
        state = (await jetstream.stream_info("OPTIMIZATION")).state
        numbers = range(state.first_seq, state.last_seq + 1) if state.messages else ()
        messages = [await jetstream.get_msg("OPTIMIZATION", number) for number in numbers]
        ids = {(message.headers or {}).get("Nats-Msg-Id") for message in messages}
        return written, len(messages), len(ids)
    finally:
        await connection.close()
        await database.close()


def main() -> None:
    """Runs both parts against a service of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--idle", type=int, default=2000)
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)  # PostgreSQL does not run as root, so another user must get in
        config = folder / "perfopt.yaml"
        config.write_text(yaml.safe_dump({"sources": {"soak": {"type": "files", "paths": str(SAMPLES)}}}))
        service = start(config, folder)
        try:
            fine = asyncio.run(load(service, given))
            fine = asyncio.run(faults(service)) and fine
        finally:
            service.process.terminate()
            service.process.wait(60)
    raise SystemExit(0 if fine else 1)


if __name__ == "__main__":
    main()
