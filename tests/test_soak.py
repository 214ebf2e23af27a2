"""A short `make soak`: the service is loaded, and its worker and servers are killed and come back."""

import subprocess
import sys

import pytest


@pytest.mark.timeout(300)  # servers that are killed and come back
def test_a_short_soak_sees_no_error_but_429(pytestconfig):
    command = [sys.executable, str(pytestconfig.rootpath / "benchmarks/soak.py")]
    options = ["--seconds", "5", "--clients", "4", "--idle", "20"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "/health/live" in done.stdout
