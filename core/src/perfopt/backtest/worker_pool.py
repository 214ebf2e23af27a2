"""Worker processes for the baselines, started when first needed."""

import threading
from typing import Self

from perfopt.backtest.worker import WORKER, WorkerTask, encode_task
from perfopt.engine.child import ChildError, ChildProcess
from perfopt.errors import PerfoptError

# All of it is our own code and takes some 10 ms an origin: longer than this is a fault of the machine.
DEADLINE_SECONDS = 600.0


class BaselineError(PerfoptError):
    """A worker process of a backtest ended or hung: a fault of perfopt or of the machine."""

    code = "baseline_failed"


class BaselinePool:
    """Worker processes; as many as tasks are run at once. Thread-safe; use it as a context."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[ChildProcess] = []

    def evaluate(self, task: WorkerTask) -> bytes:
        """Returns the encoded answer to a task on one service; blocks.

        Raises:
            BaselineError: the process ended or hung.
        """
        with self._lock:
            child = self._idle.pop() if self._idle else None
        child = child if child is not None else ChildProcess(WORKER)
        try:
            child.send(encode_task(task))
            answer = child.receive(DEADLINE_SECONDS)
        except ChildError as error:
            raise BaselineError(
                f"The process that evaluated the baselines on {task.service} {error}."
            ) from error
        with self._lock:
            self._idle.append(child)
        return answer

    def close(self) -> None:
        """Ends the processes."""
        with self._lock:
            for child in self._idle:
                child.kill()
            self._idle.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
