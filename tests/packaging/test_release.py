"""`make release`: what is in the folder, that it installs from there, and that the signature holds."""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import install_service
import pytest
import release

pytestmark = pytest.mark.timeout(600)  # seven wheels are built
NAMES = {"perfopt", "perfopt-api"} | {
    f"perfopt-{name}" for name in ("cost", "latency", "resource", "scaling", "tuning")
}


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    path = tmp_path_factory.mktemp("key") / "release"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory, key):
    made = tmp_path_factory.mktemp("release") / "dist"
    release.release(made, key)
    return made


def test_a_folder_of_wheels_installs_without_a_registry(folder, tmp_path):
    assert len(list(folder.glob("*.whl"))) == len(NAMES)
    target = tmp_path / "installed"
    options = ["--no-index", "--no-deps", "--quiet", "--find-links", folder, "--target", target]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *sorted(NAMES)], check=True)
    assert (target / "perfopt_api/migrations").is_dir()
    assert (target / "perfopt_resource").is_dir()


def test_the_bill_of_materials_is_what_an_image_holds(folder):
    document = json.loads((folder / "sbom.cdx.json").read_text())
    assert document["bomFormat"] == "CycloneDX"
    names = {each["name"].lower().replace("_", "-") for each in document["components"]}
    assert names == install_service.service_packages() | NAMES
    refs = {each["bom-ref"] for each in document["components"]}
    assert all(set(each["dependsOn"]) <= refs for each in document["dependencies"])


def test_every_package_states_its_licence(folder):
    text = (folder / "LICENCES.md").read_text()
    assert "| litestar |" in text
    assert [line for line in text.splitlines() if "not stated" in line] == []


def test_the_chart_is_packed_without_its_tests(folder):
    [path] = folder.glob("perfopt-chart-*.tgz")
    with tarfile.open(path) as archive:
        names = archive.getnames()
    assert {"perfopt/Chart.yaml", "perfopt/values.yaml", "perfopt/templates/api.yaml"} <= set(names)
    assert not [name for name in names if "/ci/" in name]


def test_checksums_cover_every_file_and_are_signed(folder, key):
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    listed = dict(reversed(line.split("  ")) for line in lines)
    assert listed.keys() == {path.name for path in folder.iterdir() if not path.name.startswith("SHA256SUMS")}
    for name, digest in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert is_signed(folder, key)


def test_altered_checksums_are_not_signed(folder, key, tmp_path):
    altered = tmp_path / "dist"
    shutil.copytree(folder, altered)
    with (altered / "SHA256SUMS").open("a") as file:
        file.write("0" * 64 + "  other.whl\n")
    assert not is_signed(altered, key)


def is_signed(folder: Path, key: Path) -> bool:
    allowed = key.with_name("allowed_signers")
    allowed.write_text(f"release@example.com {key.with_suffix('.pub').read_text()}")
    command = ["ssh-keygen", "-Y", "verify", "-f", allowed, "-I", "release@example.com"]
    signature = folder / "SHA256SUMS.sig"
    done = subprocess.run(
        [*map(str, command), "-n", release.NAMESPACE, "-s", str(signature)],
        input=(folder / "SHA256SUMS").read_bytes(),
        capture_output=True,
    )
    return done.returncode == 0


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(SystemExit, match="not empty"):
        release.release(tmp_path, None)


def test_the_changes_are_the_newest_section():
    text = release.changes()
    assert text.startswith("## ")
    assert text.count("\n## ") == 0
