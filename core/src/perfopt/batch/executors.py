"""Where batch work runs, and how it is opened."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from perfopt.batch.errors import ExecutorUnavailableError
from perfopt.batch.process_executor import ProcessExecutor
from perfopt.errors import InvalidInputError

PROCESSES = "processes"
DASK = "dask://"
LOCAL_CLUSTER = "dask://local"


@dataclass(frozen=True)
class BatchExecutor:
    """An open executor.

    Attributes:
        executor: runs pure functions that can be imported.
        at_once: tasks to submit before the first result is waited for; the results do not depend on it.
    """

    executor: Executor
    at_once: int

    async def run[T](self, function: Callable[..., T], *args: Any) -> T:
        """Runs a function on the executor and waits for its result."""
        return await asyncio.wrap_future(self.executor.submit(function, *args))

    def map[T](self, function: Callable[..., T], items: Iterable[Any]) -> Iterator[T]:
        """Yields the results for items in their order; as many are submitted ahead as run at once."""
        waiting = []
        for item in items:
            waiting.append(self.executor.submit(function, item))
            if len(waiting) >= self.at_once:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


@contextmanager
def open_executor(where: str, processes: int) -> Iterator[BatchExecutor]:
    """Opens an executor and closes it at the end; tasks that run then are given up.

    Args:
        where: "processes" of this machine, "dask://host:port" of a scheduler, or "dask://local", a cluster of
            Dask workers on this machine.
        processes: of this machine; a Dask scheduler knows its own workers.

    Raises:
        InvalidInputError: `where` is none of these.
        ExecutorUnavailableError: Dask is not installed, nothing answers there, it has no worker, or workers
            of another version of perfopt.
    """
    if where == PROCESSES:
        executor = ProcessExecutor(processes)
        try:
            yield BatchExecutor(executor, processes)
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
        return
    if not where.startswith(DASK) or not where.removeprefix(DASK):
        raise InvalidInputError(
            f"{where!r} is no executor.",
            field="executor",
            remedy="Give processes, dask://local, or dask://host:port of a Dask scheduler.",
        )
    try:
        from perfopt.batch.dask_executor import open_dask
    except ImportError as error:
        raise ExecutorUnavailableError(
            f"The executor {where} needs Dask, which is not installed.",
            field="executor",
            remedy='Install it with pip install "perfopt[dask]".',
        ) from error
    address = None if where == LOCAL_CLUSTER else f"tcp://{where.removeprefix(DASK)}"
    with open_dask(address, processes) as (dask, at_once):
        yield BatchExecutor(dask, at_once)
