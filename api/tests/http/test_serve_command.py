"""`perfopt serve` as a user runs it: what it says, what it starts, and that it leaves nothing behind."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import pytest
import yaml

API = "/api/v1/optimization"
HEAVY = ("pyarrow", "pandas", "scipy", "sklearn", "tensorflow", "statsmodels", "perfopt_resource")


def command(*arguments):
    return [sys.executable, "-c", "from perfopt.cli.main import main; main()", *arguments]


def environment(**settings):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PERFOPT_")}
    return clean | {f"PERFOPT_SERVICE__{name.upper()}": str(value) for name, value in settings.items()}


def run(*arguments, **settings):
    return subprocess.run(
        command("serve", *arguments), env=environment(**settings), capture_output=True, text=True, timeout=60
    )


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--set", "tuning.knob_catalogue=x"), "needs --embedded: give it to `perfopt worker`"),
        (("--set", "engine.processes=2"), "needs --embedded: give it to `perfopt worker`"),
        (("--data-dir", "x"), "--data-dir has no effect without --embedded."),
        (("--set", "service.max_waiters=no"), "service.max_waiters: Expected integer"),
        (
            ("--embedded", "--set", "tunning.x=1"),
            "There is no plugin 'tunning', so it has no settings. (--set)",
        ),
    ],
)
def test_a_setting_of_a_plugin_is_checked_before_anything_starts(options, problem):
    done = run(*options)
    assert done.returncode == 2
    assert problem in done.stderr


def test_an_unreachable_database_is_one_sentence_and_exit_code_1():
    url = f"postgresql://perfopt:secret-word@127.0.0.1:{free_port()}/perfopt"
    done = run(database_url=url, startup_seconds=0.3, port=0)
    assert done.returncode == 1
    assert re.search(r"Error: PostgreSQL at 127\.0\.0\.1:\d+/perfopt is not reachable", done.stderr)
    assert "database_url" in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret-word" not in done.stderr + done.stdout


def test_an_unreachable_nats_is_one_sentence_and_exit_code_1(database_url):
    done = run(
        database_url=database_url, nats_url=f"nats://127.0.0.1:{free_port()}", startup_seconds=0.5, port=0
    )
    assert done.returncode == 1
    assert "Error: NATS at " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_said():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "cannot listen on 127.0.0.1:" in done.stderr
    assert "--port" in done.stderr


def test_a_wrong_setting_is_said():
    done = run(port="high")
    assert done.returncode == 2
    assert "service.port" in done.stderr


def test_the_api_imports_nothing_heavy():
    code = f"import sys, perfopt_api.standalone; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def eventually(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)  # a process is watched from outside: there is nothing to wait on
    raise AssertionError(f"{condition.__name__} did not come true within {seconds} s")


class Standalone:
    """`perfopt serve --embedded` in its own directory."""

    def __init__(self, directory, port):
        self.url = f"http://127.0.0.1:{port}"
        arguments = ("serve", "--embedded", "--port", str(port), "--data-dir", str(directory / "data"))
        self.output = directory / "out.txt"
        self.log = directory / "err.txt"
        with self.output.open("w") as out, self.log.open("w") as err:
            self.process = subprocess.Popen(
                command(*arguments), env=environment(), stdout=out, stderr=err, start_new_session=True
            )
        self.main = psutil.Process(self.process.pid)

    def up(self):
        assert self.process.poll() is None, self.log.read_text()
        return "Metric sources" in self.output.read_text()

    def worker(self):
        for child in self.main.children():
            with contextlib.suppress(psutil.Error):  # it may end while it is looked at
                if "run_worker_child" in " ".join(child.cmdline()):
                    return child
        return None

    def server(self, name):
        for child in self.main.children():
            with contextlib.suppress(psutil.Error):
                if child.name() == name and child.status() != psutil.STATUS_ZOMBIE:
                    return child
        return None

    def ready(self):
        return httpx.get(f"{self.url}/health/ready", timeout=10).status_code == 200

    def analysed(self):
        body = {"service_name": "bitbrains-rnd/vm328", "optimization_types": ["RESOURCE_OPTIMIZATION"]}
        response = httpx.post(
            f"{self.url}/api/v1/optimization/analyze", json=body, headers={"Prefer": "wait=60"}, timeout=70
        )
        return response.json()["status"]


@pytest.fixture
def standalone(server_root):
    directory = server_root / f"serve-{uuid4().hex}"  # PostgreSQL's own user reaches it
    directory.mkdir()
    started = Standalone(directory, free_port())
    family = []
    try:
        eventually(started.up, 60)
        yield started
    finally:
        if started.process.poll() is None:
            family = [started.main, *started.main.children(recursive=True)]
        for process in family:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        started.process.wait(30)


def assert_no_password_is_shown(shown):
    credentials = Path(re.search(r"Credentials +(\S+),", shown)[1])
    assert credentials.stat().st_mode & 0o777 == 0o600
    addresses = yaml.safe_load(credentials.read_text())["service"]
    for name in ("database_url", "nats_url"):
        place, login = addresses[name].rpartition("@")[::2][::-1]
        assert place in shown
        assert login.rpartition(":")[2] not in shown


@pytest.mark.timeout(240)
def test_embedded_serves_keeps_its_worker_and_leaves_nothing_running(standalone):
    shown = standalone.output.read_text()
    for title in ("API", "Documentation", "PostgreSQL", "NATS", "Credentials", "Data"):
        assert title in shown
    assert_no_password_is_shown(shown)
    assert standalone.analysed() == "RECOMMENDATIONS_READY"
    assert standalone.main.memory_info().rss < 200 * 2**20

    first = standalone.worker()
    first.send_signal(signal.SIGKILL)
    eventually(lambda: (found := standalone.worker()) is not None and found.pid != first.pid)
    assert standalone.analysed() == "RECOMMENDATIONS_READY"

    family = standalone.main.children(recursive=True)
    standalone.process.send_signal(signal.SIGTERM)
    assert standalone.process.wait(60) == 0
    assert [process for process in family if process.is_running()] == []
    assert "Traceback" not in standalone.log.read_text()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", ["postgres", "nats-server"])
def test_a_server_that_is_killed_is_started_again_and_nothing_is_lost(standalone, name):
    assert standalone.analysed() == "RECOMMENDATIONS_READY"
    killed = standalone.server(name)
    killed.send_signal(signal.SIGKILL)
    eventually(lambda: standalone.server(name) not in (None, killed))
    eventually(standalone.ready)
    assert standalone.analysed() == "RECOMMENDATIONS_READY"
    jobs = httpx.get(f"{standalone.url}/api/v1/optimization/jobs", timeout=10).json()
    assert len(jobs) == 2
    standalone.process.send_signal(signal.SIGTERM)
    assert standalone.process.wait(60) == 0
    assert "Traceback" not in standalone.log.read_text()


@pytest.mark.timeout(240)
def test_a_killed_one_leaves_nothing_running_either(standalone):
    family = standalone.main.children(recursive=True)
    assert len(family) > 3
    standalone.process.send_signal(signal.SIGKILL)
    eventually(lambda: not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE])


def test_a_stop_is_heard_while_the_database_is_still_waited_for():
    settings = environment(
        database_url=f"postgresql://x@127.0.0.1:{free_port()}/x", startup_seconds=60, port=0
    )
    with subprocess.Popen(command("serve"), env=settings, stderr=subprocess.PIPE, text=True) as waiting:
        assert "api_without_authentication" in waiting.stderr.readline()  # then it opens its connections
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(20) == 0


def ask_and_wait(port, number):
    body, headers = {"service_name": f"vm-{number}"}, {"Prefer": "wait=60"}
    return httpx.post(
        f"http://127.0.0.1:{port}{API}/analyze", json=body, headers=headers, timeout=70
    ).status_code


def test_migrate_makes_an_empty_database_ready_and_a_stop_ends_waits(
    empty_database_url, nats_server, tmp_path
):
    port, config = free_port(), tmp_path / "perfopt.yaml"
    config.write_text("sources: {files: {type: files, paths: samples.csv}}\n")
    settings = environment(database_url=empty_database_url, nats_url=nats_server.url, port=port)
    with subprocess.Popen(
        command("serve", "--migrate", "--config", str(config)),
        env=settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as serving:
        assert serving.stdout.readline() == f"The API listens on http://127.0.0.1:{port}.\n"
        assert httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200
        with ThreadPoolExecutor() as pool, contextlib.closing(socket.create_connection(("127.0.0.1", port))):
            waiting = [pool.submit(ask_and_wait, port, number) for number in range(3)]
            eventually(lambda: len(httpx.get(f"http://127.0.0.1:{port}{API}/jobs").json()) == 3)
            began = time.monotonic()
            serving.send_signal(signal.SIGTERM)
            assert [answer.result() for answer in waiting] == [202, 202, 202]
            assert serving.wait(20) == 0
        assert time.monotonic() - began < 10
