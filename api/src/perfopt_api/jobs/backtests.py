"""Runs the backtests that were started from the dashboard, one at a time in a worker."""

import asyncio
import contextlib
import pickle
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import msgspec
import structlog

from perfopt.config import Config
from perfopt.engine.environment import child_environment
from perfopt_api.jobs.backtestchild import ERROR, REPORT, RESULT, BacktestTask
from perfopt_api.store.backtests import BacktestRun, PostgresBacktests
from perfopt_api.store.port import JobError
from perfopt_api.supervision import BackgroundTask

_LONGEST_LINE = 500
_log = structlog.get_logger(__name__)


class BacktestRunner(BackgroundTask):
    """Takes one run after the other.

    Args:
        store: the runs.
        config: names the sources and the settings of the engine.
        lease_seconds: how long a run is held without being renewed.
        pause_seconds: from one look for runs to the next.
    """

    name = "backtests"

    def __init__(
        self,
        store: PostgresBacktests,
        config: Config,
        *,
        lease_seconds: float = 15.0,
        pause_seconds: float = 2.0,
    ) -> None:
        self._store = store
        self._config = config
        self._lease = timedelta(seconds=lease_seconds)
        self.pause_seconds = pause_seconds

    async def round(self) -> None:
        """Runs what waits, until nothing does."""
        while True:
            owner = uuid4().hex
            run = await self._store.claim(owner, self._lease)
            if run is None:
                return
            _log.info("backtest_started", run_id=run.run_id)
            await self._run(run, owner)

    async def _run(self, run: BacktestRun, owner: str) -> None:
        with tempfile.TemporaryDirectory(prefix="perfopt-backtest-") as folder:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "perfopt_api.jobs.backtestchild",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                env=child_environment(),  # plugins run in it; the settings come by its input
            )
            try:
                held = await self._followed(
                    run, owner, child, BacktestTask(run.request, self._config, folder)
                )
                if held:
                    await self._stored(run, owner, Path(folder), child.returncode)
            except asyncio.CancelledError:
                await asyncio.shield(self._store.release(run.run_id, owner))
                raise
            finally:
                await _killed(child)

    async def _followed(
        self, run: BacktestRun, owner: str, child: asyncio.subprocess.Process, task: BacktestTask
    ) -> bool:
        """Waits for the process and keeps the lease; False where the run is no longer ours."""
        assert child.stdin is not None
        child.stdin.write(pickle.dumps(task))
        child.stdin.close()
        lines = _LastLine(child)
        reading = asyncio.create_task(lines.read())
        try:
            while True:
                done, _ = await asyncio.wait({reading}, timeout=self._lease.total_seconds() / 3)
                if not await self._store.renew(run.run_id, owner, self._lease, lines.last):
                    return False
                if done:
                    await child.wait()
                    return True
        finally:
            reading.cancel()

    async def _stored(self, run: BacktestRun, owner: str, folder: Path, status: int | None) -> None:
        if status == 0 and not (folder / ERROR).exists():
            result = msgspec.json.decode((folder / RESULT).read_bytes())
            await self._store.finish(run.run_id, owner, result, (folder / REPORT).read_text("utf-8"))
            return
        error = JobError(
            code="process_ended", message=f"The process of the backtest ended with status {status}."
        )
        if (folder / ERROR).exists():
            error = msgspec.json.decode((folder / ERROR).read_bytes(), type=JobError)
        await self._store.fail(run.run_id, owner, error)


class _LastLine:
    """The last line that a process wrote to its standard error."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        self.last = ""

    async def read(self) -> None:
        """Reads until the process closes it."""
        stream = self._child.stderr
        assert stream is not None
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # longer than the buffer
                continue
            if not line:
                return
            text = line.decode(errors="replace").strip()
            self.last = text[:_LONGEST_LINE] or self.last


async def _killed(child: asyncio.subprocess.Process) -> None:
    """Ends a process with all that it started."""
    import os
    import signal

    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    await child.wait()
