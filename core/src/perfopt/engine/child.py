"""A process of our own that may hang, crash or eat memory without harm to this one.

Not `multiprocessing`: its spawned children import the caller's `__main__` again, which a library
can't ask of a script or a notebook. Requests go down the child's stdin, answers come up its stdout;
the child hands stdout on to stderr, so that a print in a plugin spoils neither answers nor output.
"""

import json
import os
import signal
import subprocess
import sys
import time
import weakref
from contextlib import suppress
from multiprocessing.connection import Connection

import psutil

from perfopt.engine.environment import child_environment
from perfopt.engine.importing import PausedClock

TICK_SECONDS = 0.02  # how often memory is looked at: a process can gain some 100 MB in that time
MAX_ANSWER_BYTES = 64 * 2**20
_BOOT = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from importlib import import_module;"
    " module, name = sys.argv[2].split(':'); getattr(import_module(module), name)()"
)
# One thread each: the processes are the parallelism. A fixed hash seed: the order of a set in a
# strategy must not depend on which process ran it.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
}


class ChildError(Exception):
    """The child gave no answer and is gone; the message says why, to be read after its name."""


class ChildTimedOutError(ChildError):
    """It was killed because its time was over."""


class ChildCrashedError(ChildError):
    """It ended by itself."""


class ChildOverMemoryError(ChildError):
    """It was killed because it held too much memory."""


class ChildProcess:
    """One child. Not thread-safe: one owner at a time.

    Args:
        target: "module:function" to run in the child, without arguments.
    """

    def __init__(self, target: str) -> None:
        path = [entry or os.getcwd() for entry in sys.path]
        self._process = subprocess.Popen(  # noqa: S603  our own interpreter
            [sys.executable, "-P", "-c", _BOOT, json.dumps(path), target],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=child_environment() | _ENVIRONMENT,
            start_new_session=True,  # Ctrl-C is for the parent, and the group can be killed as a whole
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests = Connection(os.dup(self._process.stdin.fileno()), readable=False)
        self._answers = Connection(os.dup(self._process.stdout.fileno()), writable=False)
        self._process.stdin.close()
        self._process.stdout.close()
        self.kill = weakref.finalize(self, _reap, self._process, self._requests, self._answers)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Ends the process from another thread than its owner's, who finds it crashed and cleans up."""
        _signal(self._process)

    def send(self, request: bytes) -> None:
        """Sends a request; raises ChildCrashedError where the child is gone."""
        try:
            self._requests.send_bytes(request)
        except OSError as error:
            raise self._epitaph() from error

    def receive(self, timeout_seconds: float, memory_limit_bytes: int | None = None) -> bytes:
        """Waits for an answer; first imports do not count. The child is killed before an error is raised.

        Raises:
            ChildTimedOutError: no answer in time.
            ChildOverMemoryError: its resident memory went over the limit.
            ChildCrashedError: it ended.
        """
        clock = PausedClock(time.monotonic() + timeout_seconds, time.monotonic)
        while True:
            remaining = clock.remaining
            if self._answers.poll(max(min(remaining, TICK_SECONDS), 0)):
                answer = self._read()
                if not clock.notice(answer):
                    return answer
            elif remaining <= 0:
                self.kill()
                raise ChildTimedOutError(f"took longer than {timeout_seconds:g} s and was stopped")
            if memory_limit_bytes is not None:
                self._check_memory(memory_limit_bytes)

    def _read(self) -> bytes:
        try:
            return self._answers.recv_bytes(MAX_ANSWER_BYTES)
        except (EOFError, OSError) as error:
            raise self._epitaph() from error

    def _check_memory(self, limit: int) -> None:
        try:
            resident = psutil.Process(self.pid).memory_info().rss
        except psutil.Error:
            return  # it has just ended: the next read says how
        if resident > limit:
            self.kill()
            held, allowed = f"{resident / 2**20:.0f} MiB", f"{limit / 2**20:.0f} MiB"
            raise ChildOverMemoryError(f"used {held} of memory where {allowed} are allowed and was stopped")

    def _epitaph(self) -> ChildCrashedError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1)  # its pipe closes shortly before it can be waited for
        code = self._process.poll()
        self.kill()
        if code is None:
            return ChildCrashedError("closed its connection to the engine and was stopped")
        if code >= 0:
            return ChildCrashedError(f"ended its process with exit code {code}")
        return ChildCrashedError(f"ended its process by signal {-code} ({signal.strsignal(-code)})")


def _reap(process: "subprocess.Popen[bytes]", *connections: Connection) -> None:
    _signal(process)
    process.wait()
    for connection in connections:
        connection.close()


def _signal(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
