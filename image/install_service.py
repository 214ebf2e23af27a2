"""Installs the service with its plugins into a new virtual environment, by the hashes of the lock.

    python image/install_service.py /opt/perfopt
    python image/install_service.py --layers /opt/perfopt

Containerfile calls the first, and so does the test of what an image holds. The second prints the layers of
the image, with the size of what is installed. Only the standard library is needed.
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
    by_name = {re.split(r"[=\s]", entry, maxsplit=1)[0]: entry for entry in entries}
    missing = set(names) - set(by_name)
    if missing:
        raise SystemExit(f"requirements.lock lacks {', '.join(sorted(missing))}.")
    return "".join(f"{by_name[name]}\n" for name in sorted(names))


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


def layers(folder: Path, largest: int = 8) -> str:
    """Returns the layers of the final image, and what is in that of the service.

    Args:
        folder: where the service is installed.
        largest: so many packages are named.
    """
    text = (ROOT / "Containerfile").read_text().replace("\\\n", " ")
    final = [line for line in text.rpartition("\nFROM ")[2].splitlines() if line.startswith(("RUN", "COPY"))]
    rows = [f"{number} {' '.join(line.split())}" for number, line in enumerate(final, start=1)]
    (packages,) = folder.glob("lib/python*/site-packages")
    sizes = sorted(((_bytes(entry), entry.name) for entry in packages.iterdir()), reverse=True)[:largest]
    shown = (f"  {size / 2**20:6.0f} MiB  {name}" for size, name in sizes)
    return "\n".join([*rows, f"{folder}: {_bytes(folder) / 2**20:.0f} MiB, of which", *shown])


def _bytes(path: Path) -> int:
    """Returns the disk space of a file or folder, without what links point to."""
    paths = [path, *path.rglob("*")] if path.is_dir() else [path]
    return sum(one.lstat().st_blocks * 512 for one in paths)


if __name__ == "__main__":
    if sys.argv[1] == "--layers":
        sys.stdout.write(f"{layers(Path(sys.argv[2]))}\n")
    else:
        install(Path(sys.argv[1]))
