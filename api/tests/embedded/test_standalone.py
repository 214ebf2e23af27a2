"""The worker of the embedded service leaves in time, whatever it works on."""

import asyncio
import os
import time

from perfopt_api import standalone

STUBBORN = (
    "import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    " pathlib.Path(sys.argv[2]).write_text(str(__import__('os').getpid())); time.sleep(600)"
)


async def test_a_worker_that_does_not_end_is_ended_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr(standalone, "_CHILD", STUBBORN)
    assert standalone._STOP_SECONDS <= 8  # PostgreSQL and NATS end after it, all within ten seconds
    monkeypatch.setattr(standalone, "_STOP_SECONDS", 0.5)
    stop, started = asyncio.Event(), tmp_path / "pid"
    keeping = asyncio.create_task(standalone.keep_worker(started, stop))
    async with asyncio.timeout(20):
        while not (started.exists() and started.read_text()):
            await asyncio.sleep(0.05)
        began = time.monotonic()
        stop.set()
        await keeping
    assert time.monotonic() - began >= 0.5
    pid = int(started.read_text())
    assert not os.path.exists(f"/proc/{pid}")
