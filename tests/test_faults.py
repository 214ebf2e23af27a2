"""The short form of `make faults`: real processes and servers, some of them killed."""

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
