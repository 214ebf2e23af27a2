"""An executor on processes of this machine, started when first needed."""

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from perfopt.engine.child import ChildCrashedError, ChildError, ChildProcess
from perfopt.errors import PerfoptError

WORKER = "perfopt.batch.worker:main"
DEADLINE_SECONDS = 3600.0
"""Longest time of one task: what takes longer hangs."""
MAX_ATTEMPTS = 3


class BatchProcessError(PerfoptError):
    """A process of batch work ended again and again, or hung: a fault of perfopt or of the machine."""

    code = "batch_process_failed"


class ProcessExecutor(Executor):
    """Runs each task in one of several child processes; a task whose process ends is run again by another.

    Unlike `ProcessPoolExecutor` it does not import the caller's `__main__`, which a library can't ask of a
    script or a notebook, and it survives the end of a process.

    Args:
        processes: how many tasks run at once.
        deadline_seconds: time for one task; the process over it is killed, and the task fails.
    """

    def __init__(self, processes: int, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="batch")
        self._deadline = deadline_seconds
        self._lock = threading.Lock()
        self._idle: list[ChildProcess] = []
        self._busy: set[ChildProcess] = set()
        self._closed = False

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedules a call; the function and its arguments are pickled when it begins.

        The future raises what the function raised, or BatchProcessError.
        """
        return self._threads.submit(self._run, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the processes; without waiting, tasks that run end with them."""
        if not wait:
            with self._lock:
                self._closed = True
                for child in self._busy:
                    child.stop()
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        with self._lock:
            for child in self._idle:
                child.kill()
            self._idle.clear()

    def _run(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        task = pickle.dumps((fn, args, kwargs), pickle.HIGHEST_PROTOCOL)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                answer = self._answered(task)
                break
            except ChildError as error:
                if self._closed or attempt == MAX_ATTEMPTS or not isinstance(error, ChildCrashedError):
                    raise BatchProcessError(
                        f"A process of batch work {error}.",
                        remedy="Give it more memory, or use fewer processes.",
                    ) from error
        succeeded, result = pickle.loads(answer)  # noqa: S301  from our own child
        if succeeded:
            return result
        raise result

    def _answered(self, task: bytes) -> bytes:
        child = self._taken()
        try:
            child.send(task)
            answer = child.receive(self._deadline)
        finally:
            with self._lock:
                self._busy.discard(child)
        with self._lock:
            self._idle.append(child)
        return answer

    def _taken(self) -> ChildProcess:
        with self._lock:
            child = self._idle.pop() if self._idle else None
        child = child if child is not None else ChildProcess(WORKER)
        with self._lock:
            self._busy.add(child)
        return child
