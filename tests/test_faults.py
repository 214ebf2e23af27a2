"""The short form of `make faults`: real processes and servers, some of them killed."""

import os
import signal
import subprocess
import sys

import pytest


@pytest.mark.prometheus
@pytest.mark.timeout(400)  # real servers and processes that are killed and come back
def test_no_job_and_no_event_is_lost_or_doubled(pytestconfig):
    command = [sys.executable, str(pytestconfig.rootpath / "benchmarks/faults.py"), "--short"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=380)
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ") and "| 6 |" in line]
    assert len(rows) == 3, done.stdout + done.stderr
    assert done.returncode == 0, done.stdout


WAITING = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from faultworld import ended_by_signals, small_disk
with ended_by_signals(), small_disk(Path(sys.argv[2])):
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_stop_unmounts_the_small_disk(pytestconfig, tmp_path):
    disk = tmp_path / "disk"
    command = [sys.executable, "-c", WAITING, str(pytestconfig.rootpath / "benchmarks"), str(disk)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM
    assert not os.path.ismount(disk)
