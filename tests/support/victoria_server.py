"""A real VictoriaMetrics on a free port, loaded with samples of the past. Needs Debian's package of it."""

import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_server import Exposition

_DEADLINE_SECONDS = 60.0
_LINES = 200_000


def victoria_is_installed() -> bool:
    """Returns whether the program is there."""
    return shutil.which("victoria-metrics") is not None


@contextmanager
def victoria_server(exposition: Exposition, directory: Path, *flags: str) -> Iterator[str]:
    """Starts a VictoriaMetrics, loads the samples, and gives its URL; stops it at the end.

    Args:
        exposition: the samples it is to hold.
        directory: a directory of ours.
        flags: further command-line flags, for example a lower limit.
    """
    exposition.close()
    url = f"http://127.0.0.1:{_free_port()}"
    process = subprocess.Popen(
        [
            "victoria-metrics",
            f"-storageDataPath={directory / 'victoria'}",
            "-retentionPeriod=100y",
            f"-httpListenAddr={url.removeprefix('http://')}",
            "-memory.allowedBytes=256MB",
            *flags,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until(lambda: _get(f"{url}/health") is not None, process)
        for body in _bodies(exposition.path):
            request = urllib.request.Request(f"{url}/api/v1/import/prometheus", data=body)
            urllib.request.urlopen(request, timeout=60).close()
        _get(f"{url}/internal/force_flush")
        _wait_until(
            lambda: b'"kube_pod_owner"' in (_get(f"{url}/api/v1/label/__name__/values") or b""), process
        )
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


def _bodies(path: Path) -> Iterator[bytes]:
    """Gives the samples in Prometheus' text format, which has milliseconds where OpenMetrics has seconds."""
    lines = []
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.startswith("#"):
                continue
            sample, _, stamp = line.rstrip("\n").rpartition(" ")
            lines.append(f"{sample} {round(float(stamp) * 1000)}\n")
            if len(lines) == _LINES:
                yield "".join(lines).encode()
                lines = []
    yield "".join(lines).encode()


def _get(url: str) -> bytes | None:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            content: bytes = answer.read()
            return content
    except (urllib.error.URLError, ConnectionError):
        return None


def _wait_until(holds: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _DEADLINE_SECONDS
    while not holds():
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError("victoria-metrics did not start, or does not show the samples")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port
