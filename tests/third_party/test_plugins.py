"""Plugins that share no code with ours, from their own wheels in a clean environment."""

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from config_file import write_config

ROOT = Path(__file__).parents[2]
PLUGINS = [Path(__file__).parent / name for name in ("pool-sizer", "peak-replicas")]
CONTRACT = """
import json
from perfopt.testing import check_forecaster, check_strategy
from peak_replicas.strategy import PeakReplicas
from pool_sizer.forecaster import LastWeek
from pool_sizer.strategy import PoolSizer
found = [violation for one in (PoolSizer(), PeakReplicas()) for violation in check_strategy(one)]
print(json.dumps([str(one) for one in [*found, *check_forecaster(LastWeek())]]))
"""


def attempt(*command: object) -> subprocess.CompletedProcess[str]:
    inherited = {
        k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "PERFOPT"))
    }
    return subprocess.run(
        [str(p) for p in command], capture_output=True, text=True, env=inherited, timeout=300
    )


def run(*command: object) -> str:
    done = attempt(*command)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def constraints(folder: Path) -> Path:
    """Writes the lock's versions without hashes: the plugin meets what perfopt was tested with."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    path = folder / "constraints.txt"
    path.write_text("\n".join(line.rstrip(" \\") for line in lines if "==" in line and line[0] != " ") + "\n")
    return path


def install(environment: Path, pins: Path, *wheels: Path) -> None:
    """Installs wheels and what they ask for into a new environment, by uv where it is there: it is faster."""
    python = environment / "bin/python"
    uv = next((p for p in (ROOT / ".tools/uv", ROOT / ".tools/uv/bin/uv") if p.is_file()), shutil.which("uv"))
    if uv is not None:
        run(uv, "venv", "-q", "--python", sys.executable, environment)
        run(uv, "pip", "install", "-q", "--python", python, "-c", pins, *wheels)
    else:
        run(sys.executable, "-m", "venv", environment)
        run(python, "-m", "pip", "install", "-q", "-c", pins, *wheels)


@pytest.fixture(scope="module")
def commands(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("third-party")
    for project in (ROOT / "core", *PLUGINS):
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, project)
    install(folder / "venv", constraints(folder), *folder.glob("*.whl"))
    return folder / "venv/bin"


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> Path:
    """Two weeks of a service with 40 requests a second of 250 ms each: ten in flight."""
    path = tmp_path_factory.mktemp("samples") / "samples.csv"
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rows = ["series_id,timestamp,metric,value"]
    for step in range(14 * 288):
        at = (start + timedelta(minutes=5 * step)).isoformat()
        rows.append(f"checkout,{at},requests_per_second,40")
        rows.append(f"checkout,{at},latency_p99_ms,250")
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def weekly(tmp_path_factory) -> Path:
    """Four weeks of a service whose requests go by the weekday and the hour."""
    path = tmp_path_factory.mktemp("weekly") / "samples.csv"
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rows = ["series_id,timestamp,metric,value"]
    for step in range(28 * 288):
        at = start + timedelta(minutes=5 * step)
        rate = 10 + 5 * at.weekday() + at.hour
        rows.append(f"checkout,{at.isoformat()},requests_per_second,{rate}")
        rows.append(f"checkout,{at.isoformat()},latency_p99_ms,250")
    path.write_text("\n".join(rows) + "\n")
    return path


def test_it_is_listed_with_its_version_and_type(commands):
    plugins = json.loads(run(commands / "perfopt", "plugin", "list", "--format", "json"))
    plugin = next(one for one in plugins if one["name"] == "pool-sizer")
    assert (plugin["name"], plugin["version"], plugin["status"]) == ("pool-sizer", "0.3.0", "loaded")
    assert plugin["types"] == ["PERFORMANCE_TUNING"]
    assert plugin["rule_packs"] == ["pool-sizer"]
    assert plugin["forecasters"] == ["last-week"]
    assert [(one["name"], one["default"]) for one in plugin["settings"]] == [("headroom", 1.25)]


def test_its_recommendation_appears(commands, samples):
    output = run(
        commands / "perfopt", "analyze", "--source", samples, "--service", "checkout", "--format", "ndjson"
    )
    lines = [json.loads(line) for line in output.splitlines()]
    (made,) = [line for line in lines if "recommendation_id" in line]
    assert made["service_name"] == "checkout"
    assert made["optimization_type"] == "PERFORMANCE_TUNING"
    assert made["recommended_state"]["knobs"] == {"connection_pool_size": 13}
    assert made["description"] == "Hold 13 connections in the pool of checkout."
    assert made["plugin"] == "pool-sizer/littles-law"
    assert made["rules_fired"] == ["restart_for_pools"]
    assert made["requires_approval"] is True
    assert made["annotations"] == {"pool-sizer/source": "Little 1961"}
    assert [(rule["pack"], rule["action"]) for rule in made["rules"]] == [
        ("pool-sizer", "require_approval"),
        ("pool-sizer", "annotate"),
    ]
    declined = {line["optimization_type"]: line["declined"]["code"] for line in lines if "declined" in line}
    assert declined["RESOURCE_OPTIMIZATION"] == "no_strategy"


def test_they_pass_the_contract_suite(commands):
    assert json.loads(run(commands / "python", "-c", CONTRACT)) == []


@pytest.fixture(scope="module")
def scaled_service(tmp_path_factory) -> Path:
    """Three weeks of four replicas of one core that need between one and three, as a source of files."""
    folder = tmp_path_factory.mktemp("scaled")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rows = ["series_id,timestamp,metric,value"]
    for step in range(21 * 288):
        at = (start + timedelta(minutes=5 * step)).isoformat()
        busy = 96 <= step % 288 < 240
        rows.append(f"checkout,{at},cpu_cores,{0.7 if busy else 0.2}")
    (folder / "samples.csv").write_text("\n".join(rows) + "\n")
    services = "services: {checkout: {requests: {cpu: '1', memory: 1Gi}, replicas: 4}}\n"
    (folder / "services.yaml").write_text(services)
    return folder


def test_a_strategy_of_scaling_stands_in_the_table_of_the_backtest(commands, scaled_service):
    source = ("--source", scaled_service / "samples.csv", "--services", scaled_service / "services.yaml")
    output = run(commands / "perfopt", "backtest", "--types", "scaling", "--all", *source, "--format", "json")
    policies = {one["policy"]: one for one in json.loads(output)["policies"]}
    assert {"peak-replicas/peak", "live", "hpa-70", "current"} <= policies.keys()
    peak, kept = policies["peak-replicas/peak"], policies["current"]
    assert (peak["optimization_type"], peak["baseline"]) == ("SCALING_OPTIMIZATION", False)
    assert peak["all"]["scored"] == peak["made"] == 2
    # 2.8 cores at busy times: three replicas of a core where four run and 12/24 of the time one would do
    assert (peak["all"]["accuracy"], kept["all"]["accuracy"]) == (1, 1)
    assert peak["all"]["realised_saving"] == pytest.approx((4 - 3) / (4 - (3 + 1) / 2), abs=1e-6)
    assert kept["all"]["realised_saving"] == 0
    assert "peak-replicas" in run(commands / "perfopt", "backtest", "--types", "all", "--all", *source)


@pytest.mark.parametrize(
    ("settings", "used"),
    [
        ("", {"fleet"}),
        ("  forecasters: [last-week]\n", {"last-week"}),
        ("  forecasters: [seasonal, last-week]\n  forecast_weighting: rolling_origins\n", {"last-week"}),
    ],
    ids=["default", "chosen", "weighted"],
)
def test_its_forecaster_reaches_a_strategy_where_the_user_wants_it(
    commands, weekly, tmp_path, settings, used
):
    config = write_config(tmp_path, f"engine:\n  processes: 1\n{settings}")
    options = ("--source", weekly, "--service", "checkout", "--format", "ndjson", "--config", config)
    lines = [
        json.loads(line)
        for line in run(commands / "perfopt", "analyze", "--period", "28d", *options).splitlines()
    ]
    (made,) = [line for line in lines if "recommendation_id" in line]
    (reason,) = [reason for reason in made["reasons"] if reason["code"] == "littles_law"]
    assert used <= reason["data"]["forecasters"].keys()


def test_a_forecaster_that_is_not_installed_is_named_with_those_that_are(commands, samples, tmp_path):
    config = write_config(tmp_path, "engine:\n  forecasters: [next-year]\n")
    command = [commands / "perfopt", "analyze", "--all", "--source", samples, "--config", config]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "next-year" in done.stderr
    assert "last-week" in done.stderr


@pytest.fixture
def analyse(commands, samples, tmp_path):
    """Analyses with a configuration file; returns what the command printed."""

    def analyse(text: str = "", *options: str) -> subprocess.CompletedProcess[str]:
        config = write_config(tmp_path, text)
        arguments = ("--source", samples, "--service", "checkout", "--format", "json")
        return attempt(commands / "perfopt", "analyze", *arguments, "--config", config, *options)

    return analyse


@pytest.mark.parametrize(
    ("text", "options", "size"),
    [
        ("plugins:\n  pool-sizer:\n    headroom: 2\n", (), 20),
        ("plugins:\n  pool-sizer:\n    headroom: 2\n", ("--set", "pool-sizer.headroom=3"), 30),
    ],
)
def test_its_setting_is_read_from_the_file_and_before_it_from_the_command_line(analyse, text, options, size):
    (result,) = json.loads(analyse(text, *options).stdout)["results"]
    (made,) = result["recommendations"]
    assert made["recommended_state"]["knobs"] == {"connection_pool_size": size}


@pytest.mark.parametrize(
    ("text", "options", "problem"),
    [
        (
            "plugins:\n  pool-sizer:\n    headroom: lots\n",
            (),
            "plugins.pool-sizer.headroom: Expected number, at least 1, got text. (FILE:3)",
        ),
        (
            "plugins:\n  pool-sizer:\n    room: 2\n",
            (),
            "plugins.pool-sizer.room: The plugin 'pool-sizer' has no setting 'room'. (FILE:3) It has:",
        ),
        (
            "",
            ("--set", "pool-sizer.headroom=0.5"),
            "plugins.pool-sizer.headroom: Expected number, at least 1. (--set)",
        ),
        (
            "",
            ("--set", "headroom=2"),
            "--set: 'headroom=2' is not a setting. Write plugin.key=value or section.key=value.",
        ),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(analyse, tmp_path, text, options, problem):
    done = analyse(text, *options)
    assert done.returncode == 2
    (line,) = done.stderr.replace(str(tmp_path / "perfopt.yaml"), "FILE").splitlines()
    assert line.startswith(f"Error: {problem}")


def test_its_old_name_is_read_with_a_warning(analyse):
    (result,) = json.loads(analyse("plugins:\n  pool-sizer:\n    spare: 2\n").stdout)["results"]
    assert result["recommendations"][0]["recommended_state"]["knobs"] == {"connection_pool_size": 20}
    (warning,) = [one["message"] for one in result["warnings"] if one["code"] == "deprecated_setting"]
    assert "plugins.pool-sizer.spare" in warning
    assert "rename it to plugins.pool-sizer.headroom" in warning


def test_config_show_prints_its_setting_and_where_it_is_set(commands):
    shown = run(commands / "perfopt", "config", "show", "--set", "pool-sizer.headroom=2")
    assert "  pool-sizer:\n    headroom: 2.0  # --set\n" in shown
    assert "    headroom: 1.25  # default\n" in run(commands / "perfopt", "config", "show")
