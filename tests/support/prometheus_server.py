"""A real Prometheus on a free port, loaded with samples of the past. For tests and benchmarks.

    exposition = Exposition(directory / "samples.om")
    exposition.add("up", {"job": "api"}, times_seconds, values)
    with prometheus_server(exposition, directory) as url: ...

Needs Debian's `prometheus` and `promtool`.
"""

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_DEADLINE_SECONDS = 120.0
_LISTENING = re.compile(r'msg="Listening on" address=(\S+)')
_READY = "Server is ready to receive web requests"


def prometheus_is_installed() -> bool:
    """Returns whether both programs are there."""
    return shutil.which("prometheus") is not None and shutil.which("promtool") is not None


class Exposition:
    """Samples in the OpenMetrics text format, written to a file as they come, as promtool backfills them.

    Attributes:
        path: of the file.
        samples: how many were written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.samples = 0
        self._file = path.open("w", encoding="utf-8")
        self._times: Sequence[float] = ()
        self._stamps: list[str] = []

    def add(
        self, name: str, labels: Mapping[str, str], times: Sequence[float], values: Sequence[float]
    ) -> None:
        """Adds one series: times in seconds since the epoch, increasing."""
        inside = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())
        series = f"{name}{{{inside}}}"
        if times != self._times:  # most series of a pod have the same, and writing them out takes long
            self._times, self._stamps = times, [f" {time:.3f}\n" for time in times]
        self._file.writelines(
            f"{series} {value!r}{stamp}" for value, stamp in zip(values, self._stamps, strict=True)
        )
        self.samples += len(times)

    def close(self) -> None:
        """Ends the file."""
        if not self._file.closed:
            self._file.write("# EOF\n")
            self._file.close()


def backfill(exposition: Exposition, directory: Path) -> Path:
    """Turns the samples into blocks; returns the data directory of a Prometheus that holds them.

    One block, as long as may be: promtool reads the whole file again for each, and with the two hours that
    are the default minutes go by.
    """
    exposition.close()
    data = directory / "data"
    data.mkdir(exist_ok=True)
    command = [
        "promtool",
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        "--quiet",
        "--max-block-duration=40000h",
    ]
    done = subprocess.run(
        [*command, str(exposition.path), str(data)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"promtool refused the samples: {done.stderr[-2000:]}")
    exposition.path.unlink()
    return data


@contextmanager
def prometheus_server(exposition: Exposition, directory: Path, *flags: str) -> Iterator[str]:
    """Backfills a Prometheus, starts it, and gives its URL; stops it at the end.

    Args:
        exposition: the samples it is to hold.
        directory: a directory of ours, for blocks and configuration.
        flags: further command-line flags, for example a lower limit.
    """
    with running_prometheus(backfill(exposition, directory), directory, *flags) as (url, _):
        yield url


@contextmanager
def running_prometheus(
    data: Path, directory: Path, *flags: str, scrape: str = "global: {}\n"
) -> Iterator[tuple[str, int]]:
    """Starts a Prometheus on blocks and gives its URL and process id; stops it at the end.

    Args:
        data: a data directory, as backfill() makes it.
        directory: for its configuration.
        flags: further command-line flags.
        scrape: the configuration.
    """
    config = directory / "prometheus.yml"
    config.write_text(scrape, encoding="utf-8")
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={data}",
            "--storage.tsdb.retention.time=100y",
            "--web.listen-address=127.0.0.1:0",
            *flags,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    alarm = threading.Timer(_DEADLINE_SECONDS, process.kill)
    alarm.start()
    try:
        address = _wait_until_ready(process)
        alarm.cancel()
        drain = threading.Thread(target=_drain, args=(process,), daemon=True)
        drain.start()
        yield f"http://{address}", process.pid
    finally:
        alarm.cancel()
        process.terminate()
        process.wait(timeout=30)
        if process.stderr is not None:
            process.stderr.close()


def _wait_until_ready(process: subprocess.Popen[str]) -> str:
    """Reads the log until the server serves; its end means that it died, or the alarm killed it."""
    address, ready, log = "", False, []
    for line in process.stderr or ():
        log.append(line)
        if found := _LISTENING.search(line):
            address = found[1].strip('"')
        ready = ready or _READY in line  # it may be said before the address is
        if ready and address:
            return address
    raise RuntimeError(f"prometheus did not start: {''.join(log)[-2000:]}")


def _drain(process: subprocess.Popen[str]) -> None:
    try:
        for _ in process.stderr or ():
            continue
    except ValueError:  # closed while we read
        return


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
