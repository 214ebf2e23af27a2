"""Background tasks, each run round by round: an error costs a round, never the task."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence

import structlog

from perfopt.errors import UnavailableError
from perfopt_api.telemetry import BACKGROUND_FAILING, BACKGROUND_FAILURES

FIRST_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 60.0
MAX_OUTAGE_BACKOFF_SECONDS = 5.0
"""While a server is away: it may be back at any time, and asking is cheap."""
_log = structlog.get_logger(__name__)


class BackgroundTask(ABC):
    """Work beside the jobs, in rounds.

    Attributes:
        name: in logs, metrics and readiness.
        pause_seconds: from the end of a round to the next.
    """

    name: str
    pause_seconds: float

    async def start(self) -> None:  # noqa: B027  most have nothing to do
        """Does what must be done before the first job."""

    @abstractmethod
    async def round(self) -> None:
        """Does the work once. It may raise: it is called again after a backoff."""

    async def pause(self) -> None:
        """Waits for the next round."""
        await asyncio.sleep(self.pause_seconds)


class TaskSupervisor:
    """Keeps background tasks going, and knows which of them fail.

    Args:
        tasks: to keep.
    """

    def __init__(self, tasks: Sequence[BackgroundTask]) -> None:
        self._tasks = tuple(tasks)
        self._failing: dict[str, str] = {}

    @property
    def failing(self) -> Mapping[str, str]:
        """Tasks whose last round failed, to the reason."""
        return dict(self._failing)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Runs the tasks while the context is open, after each has started.

        Raises:
            UnavailableError: a server was away at the start.
        """
        for task in self._tasks:
            await task.start()
        running = [asyncio.create_task(self.keep(task)) for task in self._tasks]
        try:
            yield
        finally:
            for each in running:
                each.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def keep(self, task: BackgroundTask) -> None:
        """Runs one task until cancelled."""
        failures = 0
        BACKGROUND_FAILING.labels(task.name).set(0)
        while True:
            try:
                await task.round()
            except Exception as error:
                failures += 1
                self._failed(task, error, failures)
                await asyncio.sleep(_backoff(error, failures))
            else:
                if failures:
                    self._recovered(task, failures)
                failures = 0
                await task.pause()

    def _failed(self, task: BackgroundTask, error: Exception, failures: int) -> None:
        away = isinstance(error, UnavailableError)
        BACKGROUND_FAILURES.labels(task.name, "unavailable" if away else "unexpected").inc()
        BACKGROUND_FAILING.labels(task.name).set(1)
        self._failing[task.name] = error.message if isinstance(error, UnavailableError) else repr(error)
        if not away:
            _log.error("background_task_failed", task=task.name, failures=failures, exc_info=error)
        elif failures == 1:
            _log.warning("background_task_waits", task=task.name, reason=str(error))

    def _recovered(self, task: BackgroundTask, failures: int) -> None:
        BACKGROUND_FAILING.labels(task.name).set(0)
        self._failing.pop(task.name, None)
        _log.info("background_task_recovered", task=task.name, failures=failures)


def _backoff(error: Exception, failures: int) -> float:
    most = MAX_OUTAGE_BACKOFF_SECONDS if isinstance(error, UnavailableError) else MAX_BACKOFF_SECONDS
    return float(min(FIRST_BACKOFF_SECONDS * 2 ** min(failures - 1, 10), most))
