"""A stop ends the process in time, whatever still runs in it."""

import signal
import subprocess
import sys
import time

import pytest

SCRIPT = """
import asyncio, time
from perfopt_api.shutdown import stop_on_signals

async def run():
    stop = stop_on_signals(exit_within=0.5)
    print("ready", flush=True)
    await stop.wait()
    {work}

asyncio.run(run())
"""


@pytest.mark.parametrize(
    "work", ["time.sleep(60)", "await asyncio.to_thread(time.sleep, 60)", "await asyncio.Event().wait()"]
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_work_that_does_not_end_is_not_waited_for(work, number):
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(work=work)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(20) == 0
        assert time.monotonic() - began < 10
        assert "stopped_with_work_left" in process.stdout.read() + process.stderr.read()
