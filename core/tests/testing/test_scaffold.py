"""A new package is built, installed, and passes its own tests, mypy and the contract suite."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from perfopt.domain.enums import OptimizationType
from perfopt.testing.scaffold import write_package


def call(folder: Path, installed: Path, command: str, *arguments: str | Path) -> str:
    """Runs a command of this environment where the package's wheel is on the path."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PERFOPT", "PYTEST"))
    }
    done = subprocess.run(
        [Path(sys.executable).with_name(command), *map(str, arguments)],
        cwd=folder,
        env=inherited | {"PYTHONPATH": str(installed), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, f"{command} {arguments}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


@pytest.fixture(scope="module")
def mypy_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", OptimizationType)
def test_a_new_package_passes_its_tests_mypy_and_the_contract(
    kind: OptimizationType, tmp_path: Path, mypy_cache: Path
) -> None:
    write_package("my-plugin", kind, tmp_path)
    folder, installed = tmp_path / "my-plugin", tmp_path / "installed"
    call(folder, installed, "python", "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(installed)

    assert " passed" in call(folder, installed, "pytest", "-q", "-p", "no:asyncio")
    assert "no issues found" in call(folder, installed, "mypy", "--cache-dir", mypy_cache)
    call(folder, installed, "ruff", "check", "--no-cache", ".")
    checked = call(folder, installed, "perfopt", "plugin", "check", "my-plugin")
    assert checked.startswith("my-plugin/my-plugin\n")
    assert "my-plugin\n  pass  settings " in checked
    assert checked.endswith("11 passed, 0 failed.\n")
    shown = call(folder, installed, "perfopt", "plugin", "run", "my-plugin", "--source", "samples.csv")
    assert shown.startswith(f"my-plugin  my-plugin/my-plugin  {kind.value}\n")
    listed = call(folder, installed, "perfopt", "plugin", "list")
    assert [line.split()[:3] for line in listed.splitlines() if "my-plugin" in line] == [
        ["my-plugin", "0.1.0", "loaded"]
    ]
