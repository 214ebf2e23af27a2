"""`perfopt doctor`: what is wrong, what to do, and the exit status."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from perfopt_api.commands.doctor import doctor
from perfopt_api.doctor import NEEDED, USEFUL, clock, missing_metrics

NOW = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.fixture
def config_file(tmp_path):
    samples = tmp_path / "samples.csv"
    rows = (f"vm-1,{(NOW - timedelta(minutes=5 * step)).isoformat()},cpu_cores,0.5" for step in range(3))
    samples.write_text("\n".join(["series_id,timestamp,metric,value", *rows]) + "\n")
    config = tmp_path / "perfopt.yaml"
    config.write_text(f"sources: {{files: {{type: files, paths: {samples}}}}}\n")
    return config


def examined(*arguments, **settings):
    environment = {f"PERFOPT_SERVICE__{name.upper()}": value for name, value in settings.items()}
    return CliRunner().invoke(doctor, arguments, env=environment)


def by_check(result):
    found = {}
    for each in json.loads(result.stdout):
        found.setdefault(each["check"], []).append(each)
    return found


def test_an_installation_that_works_exits_with_0(config_file, database_url, nats_url):
    done = examined(
        "--config", str(config_file), "--format", "json", database_url=database_url, nats_url=nats_url
    )
    found = by_check(done)
    assert done.exit_code == 0
    assert [each["status"] for each in found["postgresql"]] == ["ok", "ok"]
    assert [each["status"] for each in found["nats"]] == ["warning"]  # no worker has made the streams yet
    assert found["plugins"][0]["status"] == "ok"
    assert "1 workloads" in found["source files"][0]["message"]


def test_what_is_wrong_is_named_with_a_remedy_and_ends_no_other_check(empty_database_url, nats_url):
    done = examined(database_url=empty_database_url, nats_url=nats_url)
    assert done.exit_code == 1
    assert "failed   postgresql: " in done.stdout
    assert "perfopt migrate" in done.stdout
    assert "failed   sources: No metric source is configured" in done.stdout
    assert "warning  nats:" in done.stdout
    assert "Traceback" not in done.output


def test_servers_that_are_away_are_named(config_file):
    away = {"database_url": "postgresql://perfopt@127.0.0.1:1/perfopt", "nats_url": "nats://127.0.0.1:1"}
    done = examined("--config", str(config_file), "--format", "json", **away)
    found = by_check(done)
    assert done.exit_code == 1
    assert {name for name, each in found.items() if each[0]["status"] == "failed"} == {"postgresql", "nats"}
    assert all(found[name][0]["remedy"] for name in ("postgresql", "nats"))


@pytest.mark.parametrize(
    ("seconds", "status"), [(0, "ok"), (5, "ok"), (-5, "ok"), (6, "failed"), (-6, "failed")]
)
def test_clocks_may_differ_by_five_seconds(seconds, status):
    assert clock(NOW + timedelta(seconds=seconds), NOW).status == status


def test_a_metric_without_which_nothing_is_sized_fails_and_others_warn():
    assert [each.status for each in missing_metrics({*NEEDED, *USEFUL})] == ["ok"]
    (failed,) = missing_metrics({*NEEDED[1:], *USEFUL})
    assert (failed.status, NEEDED[0] in failed.message) == ("failed", True)
    (warning,) = missing_metrics({*NEEDED, *USEFUL[1:]})
    assert (warning.status, USEFUL[0] in warning.message) == ("warning", True)
    assert [each.status for each in missing_metrics(())] == ["failed", "warning"]


def test_a_program_that_commits_need_and_that_is_missing_is_a_failure(config_file, monkeypatch, tmp_path):
    (tmp_path / "git").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    repository = {"url": "https://git.example/deploy.git", "pull_request": ["gh", "pr"]}
    text = config_file.read_text() + f"git: {{repositories: {{deploy: {json.dumps(repository)}}}}}\n"
    config_file.write_text(text)
    (found,) = by_check(examined("--config", str(config_file), "--format", "json"))["git deploy"]
    assert (found["status"], found["message"]) == ("failed", "gh cannot be run here.")
    (tmp_path / "gh").touch(0o755)
    (found,) = by_check(examined("--config", str(config_file), "--format", "json"))["git deploy"]
    assert (found["status"], found["message"]) == ("ok", "git, gh can be run.")
