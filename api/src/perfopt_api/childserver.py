"""A server program as a child process that ends with its owner, however the owner ends."""

# ruff: noqa: S603  every command here is made of our own parts, none of it is given from outside

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from perfopt.errors import UnavailableError

SERVER_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
"""What servers and their guards are given: variables of ours may hold credentials."""
_START_SECONDS = 30.0
_STOP_SECONDS = 15.0
_PORT_TRIES = 5
_GUARD = """trap '' INT TERM HUP
read -r _
kill -INT "$1" 2>/dev/null
n=0
while [ $n -lt 300 ] && kill -0 "$1" 2>/dev/null; do
  n=$((n+1))
  [ $n -ne 100 ] || kill -QUIT "$1" 2>/dev/null
  [ $n -ne 150 ] || kill -KILL "$1" 2>/dev/null
  sleep 0.1
done
[ -n "$2" ] || exit 0
rm -rf -- "$2"; rmdir -- "$(dirname -- "$2")" 2>/dev/null
exit 0"""


class ChildServer:
    """A child process with a guard. `start` after `stop` brings it back on the same port and data."""

    title: str

    def __init__(self, root: Path, *, durable: bool = True, ephemeral: bool = False) -> None:
        self.root = root
        self.durable = durable
        self.port = 0
        self._ephemeral = ephemeral
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None, "the server was started"
        return self._process.pid

    def start(self) -> None:
        """Starts the server and returns when it takes connections.

        Raises:
            UnavailableError: it did not start; the message holds the end of its log.
        """
        self._prepare()
        fixed = self.port
        for _ in range(1 if fixed else _PORT_TRIES):
            self.port = fixed or free_port()
            if self._launch():
                return
        tail = self._log.read_text(errors="replace")[-800:].strip()
        raise UnavailableError(f"The embedded {self.title} did not start: {tail}")

    def revive(self) -> bool:
        """Starts the server again where it ended on its own; returns whether that was so.

        Raises:
            UnavailableError: it did not start.
        """
        if self._process is not None and self._process.poll() is None:
            return False
        self.stop()
        self.start()
        return True

    def stop(self) -> None:
        """Stops the server and waits until it is gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)  # PostgreSQL: at once, with its children
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_STOP_SECONDS)
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    @property
    def _log(self) -> Path:
        return self.root / "server.log"

    def _launch(self) -> bool:
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C in a terminal reaches the owner only, which then stops us in order.
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._popen_options(),
            )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", str(self.pid), str(self.root) if self._ephemeral else ""],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=SERVER_ENVIRONMENT,
        )
        process = self._process
        if _until(lambda: self._ready() or process.poll() is not None) and process.poll() is None:
            return True
        self.stop()
        return False

    def _popen_options(self) -> dict[str, Any]:
        return {"env": SERVER_ENVIRONMENT}

    def _prepare(self) -> None:
        raise NotImplementedError

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _ready(self) -> bool:
        raise NotImplementedError


def free_port() -> int:
    """Returns a loopback port that nobody listened on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False
