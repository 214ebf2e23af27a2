"""POST analyze to RECOMMENDATIONS_READY over HTTP, from files or a Prometheus; memory of the API process.

    python benchmarks/service.py [--prometheus URL | --fleet DIR] [--requests 1000] [--clients 4]

Starts the service with embedded servers, one worker process, one engine process a core. Each request is
for another service in turn and waits for the finished job (Prefer: wait); 50 requests before the count
begin warm it up. `--fleet` names what `fleet_prometheus.py --data DIR` made; a Prometheus is started on it.
"""

import argparse
import asyncio
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import httpx
import numpy as np
import psutil
import yaml

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/support"))

from prometheus_server import running_prometheus

from perfopt.config import load_config
from perfopt.domain.period import AnalysisPeriod
from perfopt.sources.factory import open_source

PERFOPT = Path(sys.executable).parent / "perfopt"
SAMPLES = Path(__file__).parent.parent / "api/src/perfopt_api/demo/data/bitbrains.parquet"
WARM_UP = 50
START_SECONDS = 90


async def names(config: Path, at: datetime | None = None) -> list[str]:
    """Returns the services of the configured source, at an instant or at its end."""
    source = open_source(None, load_config(config, {}))
    try:
        at = at or await source.latest()
        return [workload.service_name for workload in await source.inventory(at)]
    finally:
        await source.close()


async def ask(api: str, services: Sequence[str], period: str, count: int, clients: int) -> list[float]:
    """Returns the seconds of each request, asked by some clients at once."""
    turn = iter(range(count))
    taken: list[float] = []
    statuses: Counter[str] = Counter()

    async def client() -> None:
        async with httpx.AsyncClient(base_url=api, timeout=60) as http:
            for number in turn:
                body = {
                    "service_name": services[number % len(services)],
                    "analysis_period": period,
                }
                began = time.perf_counter()
                answer = await http.post(
                    "/api/v1/optimization/analyze", json=body, headers={"Prefer": "wait=30"}
                )
                taken.append(time.perf_counter() - began)
                statuses[answer.json().get("status", str(answer.status_code))] += 1

    await asyncio.gather(*(client() for _ in range(clients)))
    if set(statuses) != {"RECOMMENDATIONS_READY"}:
        print(f"not all were ready: {dict(statuses)}")
    return taken


def serve(config: Path, folder: Path, last: str) -> tuple[subprocess.Popen[str], str]:
    """Starts the service with embedded servers; returns its process and what it shows.

    Args:
        config: its configuration.
        folder: for its data.
        last: in the last line that is waited for.
    """
    command = [
        PERFOPT,
        "serve",
        "--embedded",
        "--port",
        "0",
        "--config",
        config,
        "--data-dir",
        folder / "data",
    ]
    environment = os.environ | {"PERFOPT_SERVICE__LOG_LEVEL": "error"}
    service = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert service.stdout is not None
    shown, began = "", time.monotonic()
    for line in service.stdout:
        shown += line
        if last in line:
            return service, shown
        if time.monotonic() - began > START_SECONDS:
            break
    service.kill()
    raise SystemExit(f"the service did not start: {shown}")


def start(config: Path, folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Starts the service; returns its process and the address of the API."""
    service, shown = serve(config, folder, "/api/")
    match = re.search(r"(http://\S+?)/api/", shown)
    assert match is not None
    return service, match[1]


@contextlib.contextmanager
def fleet(directory: str | None) -> Iterator[str | None]:
    """Starts a Prometheus on the blocks of a fleet, where one is named, and gives its URL."""
    if directory is None:
        yield None
        return
    with (
        tempfile.TemporaryDirectory() as scratch,
        running_prometheus(Path(directory) / "data", Path(scratch)) as (url, _),
    ):
        yield url


def main() -> None:
    """Prints the latency quantiles and the memory of the API process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prometheus", help="URL; without it the bundled samples are the source")
    parser.add_argument("--scrape-interval", type=float, default=60.0, help="of that Prometheus, seconds")
    parser.add_argument("--period", default="14d", help="as the request takes it; start/end for old data")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--fleet", help="blocks of fleet_prometheus.py; --period is then start/end of it")
    given = parser.parse_args()
    with fleet(given.fleet) as url:
        measure(given, given.prometheus or url)


def measure(given: argparse.Namespace, prometheus: str | None) -> None:
    """Starts the service over a source, asks, and prints what it took."""
    source: dict[str, object] = {"type": "files", "paths": str(SAMPLES)}
    if prometheus:
        source = {"type": "prometheus", "url": prometheus, "scrape_interval_seconds": given.scrape_interval}
    until = AnalysisPeriod.parse(given.period).end
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)  # PostgreSQL does not run as root, so another user must get in
        config = folder / "perfopt.yaml"
        config.write_text(yaml.safe_dump({"sources": {"bench": source}}))
        services = asyncio.run(names(config, until))
        service, api = start(config, folder)
        try:
            asyncio.run(ask(api, services, given.period, WARM_UP, given.clients))
            taken = asyncio.run(ask(api, services, given.period, given.requests, given.clients))
            resident = psutil.Process(service.pid).memory_info().rss / 2**20
        finally:
            service.terminate()
            service.wait(60)
    median, high, most = 1000 * np.percentile(taken, [50, 99, 100])
    print(
        f"POST analyze to READY, {'Prometheus' if prometheus else 'files'}, {len(services)} services,"
        f" {given.requests} requests from {given.clients} clients: median {median:.0f} ms, p99 {high:.0f} ms,"
        f" max {most:.0f} ms; API process {resident:.0f} MiB resident"
    )


if __name__ == "__main__":
    main()
