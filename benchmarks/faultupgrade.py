"""A rolling upgrade while jobs are asked for: from the code before the last migration to the present one."""

import asyncio
import io
import re
import signal
import subprocess
import tarfile
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
MIXED_SECONDS = 10.0


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


async def upgrade(world: World) -> str:
    """Migrates under the older processes, then replaces each in turn; returns what was seen of them."""
    await asyncio.sleep(3)
    await asyncio.to_thread(world.run, "migrate")
    before = await _accepted(world)
    await asyncio.sleep(MIXED_SECONDS)
    accepted = await _accepted(world) - before
    for name in NAMES:
        world.extra.pop(name)
        await asyncio.to_thread(world.kill, name, signal.SIGTERM)
        world.start(name)
        await asyncio.sleep(5)
    return f"older pods took {accepted} jobs on the new schema"


async def _accepted(world: World) -> int:
    connection = await asyncpg.connect(world.database)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM optimization_jobs"))
    finally:
        await connection.close()
