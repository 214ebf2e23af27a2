"""Installs the service with its plugins into a new virtual environment, by the hashes of the lock.

    python image/install_service.py /opt/perfopt

Containerfile calls it, and so does the test of what an image holds. Only the standard library is needed.
"""

import os
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Collection
from pathlib import Path

ROOT = Path(__file__).parents[1]
DISTRIBUTIONS = (
    "core",
    "plugins/resource",
    "plugins/cost",
    "plugins/scaling",
    "plugins/tuning",
    "plugins/latency",
    "api",
)
BUILD = {"hatchling", "packaging", "pathspec", "pluggy", "trove-classifiers"}


def service_packages() -> set[str]:
    """Returns the names of what the service needs at run time; the embedded servers are not among them."""
    return set((ROOT / "image/service-packages.txt").read_text().split())


def locked(names: Collection[str]) -> str:
    """Returns the entries of the lock, with their hashes, that have these names."""
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text().strip())
    found = {re.split(r"[=\s]", entry, maxsplit=1)[0]: entry for entry in entries}
    missing = set(names) - set(found)
    if missing:
        raise SystemExit(f"requirements.lock lacks {', '.join(sorted(missing))}.")
    return "".join(f"{found[name]}\n" for name in sorted(names))


def install(folder: Path) -> None:
    """Makes the environment; what builds the wheels stays in a temporary one."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        builder = _environment(work / "build", BUILD)
        for dist in DISTRIBUTIONS:
            options = ("--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", work / "wheels")
            _pip(builder, "wheel", *options, ROOT / dist)
        service = _environment(folder, service_packages())
        _pip(
            service, "install", "--quiet", "--no-deps", "--no-index", *sorted((work / "wheels").glob("*.whl"))
        )
        _pip(service, "check")


def _environment(folder: Path, names: Collection[str]) -> Path:
    venv.create(folder, with_pip=True)
    requirements = folder / "requirements.txt"
    requirements.write_text(locked(names))
    _pip(folder, "install", "--quiet", "--require-hashes", "--no-deps", "-r", requirements)
    return folder


def _pip(environment: Path, *arguments: object) -> None:
    command = [environment / "bin/python", "-m", "pip", "--disable-pip-version-check", *arguments]
    subprocess.run([str(part) for part in command], check=True, env={**os.environ, "PYTHONPATH": ""})


if __name__ == "__main__":
    install(Path(sys.argv[1]))
