"""Makes what a release consists of, in a folder: wheels, chart, SBOM, licences, changes, signed checksums.

    python image/release.py dist [--sign KEY]

`make release` calls it. KEY is an SSH key: who has its public half verifies by `ssh-keygen -Y verify`.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

from install_service import DISTRIBUTIONS, ROOT, service_packages

CHART = ROOT / "charts/perfopt"
NAMESPACE = "perfopt-release"
"""What a signature is made for; it holds for nothing else that the key signs."""
_LICENCES = {"protobuf": "BSD-3-Clause", "rich-click": "MIT"}
"""Of packages whose metadata states none, as their projects do."""
_VERSION = re.compile(r'^version = "(.+)"$', re.M)


def version() -> str:
    """Returns the version of the service."""
    match = _VERSION.search((ROOT / "api/pyproject.toml").read_text())
    if match is None:
        raise SystemExit("api/pyproject.toml states no version.")
    return match[1]


def build_wheels(folder: Path) -> list[Path]:
    """Builds a wheel of each distribution; the same commit gives the same bytes."""
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(_commit_time())}
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    for dist in DISTRIBUTIONS:
        done = subprocess.run([*build, str(ROOT / dist)], capture_output=True, text=True, env=environment)
        if done.returncode:
            raise SystemExit(f"The wheel of {dist} cannot be built:\n{done.stdout}{done.stderr}")
    return sorted(folder.glob("*.whl"))


def _commit_time() -> int:
    done = subprocess.run(
        ["git", "log", "-1", "--format=%ct"],  # noqa: S607  git of the path
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    return int(done.stdout.strip() or 315532800)  # outside a clone: the earliest that wheels can state


def pack_chart(folder: Path) -> Path:
    """Writes the chart as Helm installs it."""
    path = folder / f"perfopt-chart-{version()}.tgz"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for file in sorted(CHART.rglob("*")):
            if file.is_file() and "ci" not in file.relative_to(CHART).parts:
                entry = tarfile.TarInfo(f"perfopt/{file.relative_to(CHART)}")
                entry.size, entry.mtime, entry.mode = file.stat().st_size, _commit_time(), 0o644
                archive.addfile(entry, io.BytesIO(file.read_bytes()))
    path.write_bytes(gzip.compress(packed.getvalue(), mtime=0))
    return path


def bill_of_materials() -> dict[str, Any]:
    """Returns the CycloneDX document of what an image holds, by the metadata of what is installed here."""
    program = Path(sys.executable).parent / "cyclonedx-py"
    command = [program, "environment", "--output-reproducible", "--of", "JSON", sys.executable]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    document: dict[str, Any] = json.loads(done.stdout)
    packages = service_packages() | {_name(dist) for dist in DISTRIBUTIONS}
    shipped = [each for each in document["components"] if each["name"].lower().replace("_", "-") in packages]
    known = {each["bom-ref"] for each in shipped}
    document["components"] = shipped
    document["dependencies"] = [
        each | {"dependsOn": [one for one in each.get("dependsOn", []) if one in known]}
        for each in document["dependencies"]
        if each["ref"] in known
    ]
    document["metadata"]["component"] = {"type": "application", "name": "perfopt", "version": version()}
    return document


def _name(dist: str) -> str:
    return {"core": "perfopt", "api": "perfopt-api"}.get(dist, f"perfopt-{Path(dist).name}")


def licences(document: dict[str, Any]) -> str:
    """Returns a table of packages, versions and licences."""
    rows = [
        f"| {each['name']} | {each['version']} | {', '.join(_licences_of(each)) or 'not stated'} |"
        for each in sorted(document["components"], key=lambda each: str(each["name"]).lower())
    ]
    head = ["# Licences of what an image holds", "", "| package | version | licence |", "|---|---|---|"]
    return "\n".join([*head, *rows, ""])


def _licences_of(component: dict[str, Any]) -> list[str]:
    found = []
    for entry in component.get("licenses", []):
        one = entry.get("license", {})
        found.append(entry.get("expression") or one.get("id") or one.get("name") or "")
    known = _LICENCES.get(component["name"].lower())
    return sorted({name.splitlines()[0][:60] for name in found if name}) or ([known] if known else [])


def changes() -> str:
    """Returns the newest section of the changelog."""
    sections = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    return f"## {sections[1].rstrip()}\n"


def write_checksums(folder: Path) -> Path:
    """Writes SHA256SUMS of every file of the folder, as `sha256sum -c` reads it."""
    path = folder / "SHA256SUMS"
    files = sorted(file for file in folder.iterdir() if not file.name.startswith(path.name))
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    path.write_text("".join(lines))
    return path


def sign(checksums: Path, key: Path) -> None:
    """Writes a signature of the checksums beside them."""
    command = ["ssh-keygen", "-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(checksums)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"The checksums cannot be signed with {key}: {done.stderr.strip()}")


def release(folder: Path, key: Path | None) -> None:
    """Makes everything."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty: name another folder, or remove what is in it.")
    build_wheels(folder)
    pack_chart(folder)
    document = bill_of_materials()
    (folder / "sbom.cdx.json").write_text(json.dumps(document, indent=1))
    (folder / "LICENCES.md").write_text(licences(document))
    (folder / "CHANGES.md").write_text(changes())
    checksums = write_checksums(folder)
    if key is not None:
        sign(checksums, key)


def main() -> None:
    """Makes a release in the folder that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sign", type=Path, metavar="KEY", help="SSH key that signs the checksums")
    given = parser.parse_args()
    release(given.folder, given.sign)
    print(f"perfopt {version()} is in {given.folder}:")  # noqa: T201  a command
    for file in sorted(given.folder.iterdir()):
        print(f"  {file.name}  {file.stat().st_size // 1024 + 1} KiB")  # noqa: T201  a command
    if given.sign is None:
        print("The checksums are not signed: SIGN=<SSH key> signs them.")  # noqa: T201  a command


if __name__ == "__main__":
    main()
