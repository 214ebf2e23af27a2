"""A rolling upgrade while jobs are asked for: from the code before the last migration to the present one."""

import asyncio
import io
import re
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import asyncpg
from faultworld import World

ROOT = Path(__file__).parent.parent
SOURCES = (
    "core/src",
    "api/src",
    *(f"plugins/{name}/src" for name in ("resource", "cost", "scaling", "tuning", "latency")),
)
NAMES = ("worker-1", "api", "worker-2")
PHASE_JOBS = 8
PHASE_SECONDS = 90.0
ENDED_SINCE = (
    "SELECT count(*) FROM optimization_jobs WHERE created_at >= $1 AND status = 'RECOMMENDATIONS_READY'"
)


def before_last_migration(folder: Path) -> str | None:
    """Writes the code before the last migration into a folder; returns its schema, None without history."""
    added = _git("log", "--diff-filter=A", "-1", "--format=%H", "--", "migrations/versions").decode().strip()
    parts = ("core/src", "api/src", "plugins", "migrations")
    archive = _git("archive", f"{added}^", *parts) if added else b""
    if not archive:
        return None
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    tables = (folder / "api/src/perfopt_api/store/tables.py").read_text()
    found = re.search(r'^SCHEMA_REVISION = "(\d+)"', tables, re.MULTILINE)
    assert found is not None, "the module of the tables names its revision"
    return found[1]


def _git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True).stdout


async def start_older(world: World) -> bool:
    """Has every process be of the older version, on its schema; returns whether there is one."""
    folder = world.root / "older"
    schema = await asyncio.to_thread(before_last_migration, folder)
    if schema is None:
        return False
    for name in tuple(world.processes):
        await asyncio.to_thread(world.kill, name, signal.SIGTERM)
    await asyncio.to_thread(world.run, "migrate", "--down", schema)
    path = ":".join(str(folder / source) for source in SOURCES)
    for name in NAMES:
        world.start(name, PYTHONPATH=path)
    return True


async def upgrade(world: World) -> tuple[str, str]:
    """Migrates under the older processes, then replaces each in turn, each phase until jobs were served.

    Returns:
        What was served in each phase, and which phases served nothing ("" where all did).
    """
    served: dict[str, int] = {"older on the old schema": await _served(world)}
    await asyncio.to_thread(world.run, "migrate")
    served["older on the new"] = await _served(world)
    served["mixed"] = 0
    for name in NAMES:
        world.extra.pop(name)
        await asyncio.to_thread(world.kill, name, signal.SIGTERM)
        world.start(name)
        served["mixed"] += await _served(world)
    note = ", ".join(f"{phase}: {count}" for phase, count in served.items())
    return f"jobs {note}", ", ".join(phase for phase, count in served.items() if not count)


async def _served(world: World) -> int:
    """Waits until jobs that were asked for from now on have ended; returns how many, at most so many."""
    connection, deadline = await asyncpg.connect(world.database), time.monotonic() + PHASE_SECONDS
    try:
        began = await connection.fetchval("SELECT now()")
        while (count := await connection.fetchval(ENDED_SINCE, began)) < PHASE_JOBS:
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.2)
        return int(count)
    finally:
        await connection.close()
