"""The commands that change a cluster, against the API."""

import asyncio
import json

import msgspec
import pytest
from click.testing import CliRunner
from in_process import InProcess
from litestar.testing import TestClient

from perfopt.cli.main import cli
from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt_api.client import ServiceClient
from perfopt_api.commands import service
from perfopt_api.settings import ApiKey, ServiceSettings
from perfopt_api.store.port import JobError

ID = "opt_20261123_001"
TOKENS = {"ann": "a" * 32, "bob": "b" * 32}


@pytest.fixture
def settings():
    return ServiceSettings(api_keys={name: ApiKey(token=token) for name, token in TOKENS.items()})


@pytest.fixture
def run(world, monkeypatch):
    """Runs a command as somebody; gives its status and output."""
    monkeypatch.setattr(world.ports, "executor", True)
    with TestClient(world.app, raise_server_exceptions=False) as api:
        monkeypatch.setattr(
            service,
            "ServiceClient",
            lambda server, token: ServiceClient(server, token, transport=InProcess(api)),
        )

        def command(*words, who="ann", stdin=None):
            result = CliRunner().invoke(cli, words, env={"PERFOPT_TOKEN": TOKENS.get(who, who)}, input=stdin)
            lines = result.output.splitlines(keepends=True)
            return result.exit_code, "".join(line for line in lines if "request_id=" not in line)

        yield command


@pytest.fixture
def job(run, world, make_recommendation):
    world.store.add(make_recommendation())
    status, output = run("apply", ID, "--reason", "cheaper")
    assert status == 0
    return output.split()[0]


def test_apply_makes_a_job_and_prints_it(job, world):
    [new] = world.applies.created
    assert (new.requester, new.reason) == ("ann", "cheaper")
    assert job


def test_a_dry_run_shows_the_changes_and_makes_no_job(run, world, make_recommendation):
    world.store.add(make_recommendation())
    status, output = run("apply", ID, "--mode", "dry_run")
    assert status == 0
    assert "cpu_request" in output
    assert world.applies.created == []


def test_an_export_is_written_into_a_directory(run, world, make_recommendation, tmp_path):
    world.store.add(make_recommendation())
    status, output = run("apply", ID, "--mode", "export", "-o", str(tmp_path / "out"))
    assert status == 0
    paths = list((tmp_path / "out").iterdir())
    assert all(path.name in output for path in paths)
    assert "kubectl patch" in output
    assert any("cpu:" in path.read_text(encoding="utf-8") for path in paths)


def test_jobs_are_listed_and_filtered(run, job):
    assert job in run("jobs", "--status", "APPLYING")[1]
    assert job not in run("jobs", "--status", "APPLIED")[1]
    [shown] = json.loads(run("jobs", "--status", "APPLYING", "--format", "json")[1])
    assert shown["job_id"] == job


@pytest.mark.parametrize("command", ["rollback", "cancel"])
def test_a_job_is_taken_back_or_stopped(run, job, world, command):
    status, output = run(command, job, "--reason", "too slow")
    assert status == 0
    assert output.startswith(job)


def test_another_approves(run, job, world):
    status, output = run("approve", job, who="bob")
    assert status == 0
    assert output.startswith(job)


def test_a_freeze_is_set_and_lifted(run):
    assert run("freeze", "trading", "--reason", "release") == (0, "Frozen: trading (release)\n")
    assert run("unfreeze", "trading") == (0, "Still frozen: nothing\n")


def test_restore_asks_first(run):
    status, _ = run("restore", "trading", stdin="n\n")
    assert status == 1
    assert run("restore", "trading", "--yes") == (0, "Nothing is applied in trading.\n")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("apply", "opt_20261123_999"), 2, "opt_20261123_999"),
        (("rollback", "no-such-job"), 2, "job_id"),
        (("watch", "no-such-job"), 2, "There is no job 'no-such-job'"),
        (("freeze", "a b"), 2, "scope"),
        (("apply", ID, "--mode", "dry_run", "--wait"), 2, "--wait goes with"),
        (("apply", ID, "-o", "x"), 2, "--output goes with --mode export"),
        (("jobs", "--server", "localhost:8080"), 2, "is no address of a service"),
        (("jobs", "--token-file", "/nowhere"), 2, "/nowhere cannot be read"),
    ],
)
def test_wrong_input_is_one_line_that_names_it(run, words, status, message):
    code, output = run(*words)
    assert (code, message in output) == (status, True), output
    assert "Traceback" not in output


def test_the_end_of_a_change_says_why_and_what_can_be_done(run, world, job):
    why = JobError(code="denied_by_policy", message="policy.ranges: Too small.", remedy="Change the range.")
    ended = msgspec.structs.replace(world.store.jobs[job], status=OptimizationStatus.FAILED, error=why)
    world.store.jobs[job] = ended
    status, output = run("watch", job)
    assert status == 1
    assert "FAILED" in output
    assert "policy.ranges: Too small. Change the range." in output


@pytest.mark.parametrize(
    ("ended", "expected"),
    [("APPLIED", 0), ("RECOMMENDATIONS_READY", 0), ("ROLLED_BACK", 1), ("FAILED", 1)],
)
@pytest.mark.parametrize("form", ["table", "ndjson"])
def test_the_status_of_watch_says_whether_the_job_succeeded(run, world, job, ended, expected, form):
    shown = world.store.jobs[job]
    world.store.jobs[job] = msgspec.structs.replace(shown, status=OptimizationStatus(ended))
    status, output = run("watch", job, "--format", form)
    assert status == expected
    assert ended in output or form == "ndjson"


def test_an_analysis_is_watched_until_it_is_done(run, world, monkeypatch):
    request = PerformanceAnalysisRequest(service_name="web")
    analysis = asyncio.run(world.store.create_job(request)).job
    looks = []

    def ends(seconds):
        looks.append(seconds)
        shown = world.store.jobs[analysis.job_id]
        world.store.jobs[analysis.job_id] = msgspec.structs.replace(
            shown, status=OptimizationStatus.RECOMMENDATIONS_READY
        )

    monkeypatch.setattr("perfopt_api.commands.changes.time.sleep", ends)
    status, output = run("watch", analysis.job_id)
    assert (status, len(looks)) == (0, 1)
    assert output.startswith(f"{analysis.job_id}  RECOMMENDATIONS_READY")


def test_a_wrong_token_names_the_variable(run):
    status, output = run("jobs", who="x" * 32)
    assert status == 2
    assert "PERFOPT_TOKEN" in output


def test_a_service_that_is_away_is_said_with_its_address():
    result = CliRunner().invoke(cli, ["jobs", "--server", "http://127.0.0.1:1"])
    assert result.exit_code == 1
    assert "http://127.0.0.1:1 does not answer" in result.output
    assert "PERFOPT_SERVER" in result.output
