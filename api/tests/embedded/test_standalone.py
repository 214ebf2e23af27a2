"""The embedded service leaves in time, whatever it works on and whatever hangs."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from perfopt_api import standalone
from perfopt_api.embedded import temporary_root
from perfopt_api.shutdown import EXIT_SECONDS

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


@pytest.fixture
def root():
    with temporary_root() as directory:
        yield directory


@pytest.mark.timeout(180)
def test_a_server_that_hangs_does_not_hold_the_service_and_is_ended_after_it(root):
    perfopt = Path(sys.executable).with_name("perfopt")
    command = [perfopt, "serve", "--embedded", "--port", "0", "--data-dir", root]
    service = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    next(line for line in service.stdout if "Data " in line)
    children = psutil.Process(service.pid).children()
    servers = [one for one in children if {"postgres", "nats-server"} & set(one.name().split())]
    hanging = next(one for one in servers if one.name() == "nats-server")
    hanging.suspend()
    service.send_signal(signal.SIGTERM)
    service.communicate(timeout=EXIT_SECONDS + 5)
    _, left = psutil.wait_procs(servers, timeout=40)
    assert [one for one in left if one.status() != psutil.STATUS_ZOMBIE] == []
