"""Every command and code block of the documentation is run; what it shows must appear in the output."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from config_file import write_config

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
SCRIPT = re.compile(r"python ((?:benchmarks|tests)/[\w/]+\.py)")
SAVED_AS = re.compile(r"# (\w+\.(?:yaml|py))\n")
SERVICE = "http://127.0.0.1:8080"
DATABASE = "postgresql://perfopt@localhost:5432/perfopt"


@dataclass(frozen=True)
class Block:
    document: Path
    language: str
    text: str

    @property
    def label(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.text.splitlines()[0][:60]}"


SECONDS = 380  # training a model takes a minute where nothing else runs


def blocks(*languages: str) -> list[Block]:
    return [
        Block(document, language, text)
        for document in DOCUMENTS
        for language, text in FENCE.findall(document.read_text(encoding="utf-8"))
        if language in languages
    ]


def commands(block: Block) -> list[tuple[str, list[str]]]:
    """Returns each command with the lines it is said to print. Those of make are what CI itself calls."""
    found: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.strip():
            found[-1][1].append(line.strip())
    return [(command, shown) for command, shown in found if not command.startswith("make ")]


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    left_out = ("PERFOPT", "COLUMNS")  # pytest-xdist sets a width
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)} | {
        "PATH": path
    }


@contextmanager
def running_service(folder: Path) -> Iterator[dict[str, str]]:
    command = [Path(sys.executable).parent / "perfopt", "serve", "--embedded", "--port", "0"]
    process = subprocess.Popen(
        [*map(str, command), "--data-dir", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        lines = iter(process.stdout.readline, "")
        address = next(found[1] for line in lines if (found := re.search(r"(http://\S+?)/api/", line)))
        servers = yaml.safe_load((folder / "servers.yaml").read_text(encoding="utf-8"))
        yield {SERVICE: address, DATABASE: servers["service"]["database_url"]}
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


@pytest.fixture(scope="session")
def service() -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # PostgreSQL does not run as root, so another user must get in
        with running_service(Path(folder) / "data") as addresses:
            yield addresses


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from sample_cluster import sample_cluster

    with sample_cluster(tmp_path_factory.mktemp("prometheus")) as address:
        yield address


def real(text: str, addresses: dict[str, str]) -> str:
    for documented, address in addresses.items():
        text = text.replace(documented, address)
    return text


def workplace(document: Path, folder: Path, addresses: dict[str, str]) -> Path:
    """Makes a folder that looks like the clone, with the files that the document says to save."""
    for entry in ("api", "core", "plugins", "benchmarks", ".venv", "docs"):
        if (ROOT / entry).exists():
            (folder / entry).symlink_to(ROOT / entry)
    for language, text in FENCE.findall(document.read_text(encoding="utf-8")):
        name = SAVED_AS.match(text)
        if language in ("yaml", "python") and name:
            (folder / name[1]).write_text(real(text, addresses), encoding="utf-8")
    return folder


def check(block: Block, folder: Path, addresses: dict[str, str]) -> None:
    for command, shown in commands(block):
        command = real(command, addresses)
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        at = 0
        for line in shown:
            at = done.stdout.find(line, at)
            assert at >= 0, f"{command}\ndoes not print: {line}\n{done.stdout[:3000]}"


CONSOLE = blocks("console")
SLOW = pytest.mark.timeout(SECONDS + 20)
NEEDS_PROMETHEUS = [block for block in CONSOLE if "prometheus:9090" in block.text]
NEEDS_SERVICE = [block for block in CONSOLE if SERVICE in block.text or "$ perfopt model " in block.text]
PLAIN = [block for block in CONSOLE if block not in NEEDS_PROMETHEUS and block not in NEEDS_SERVICE]


@SLOW
@pytest.mark.parametrize("block", PLAIN, ids=lambda block: block.label)
def test_commands_do_what_the_page_shows(block, tmp_path):
    check(block, workplace(block.document, tmp_path, {}), {})


@SLOW
@pytest.mark.parametrize(
    "document",
    dict.fromkeys(block.document for block in NEEDS_SERVICE),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_commands_against_the_service_do_what_the_page_shows(document, tmp_path, service):
    """A page as a whole, from top to bottom: what it shows of a service rests on what it did before."""
    folder = workplace(document, tmp_path, service)
    for block in NEEDS_SERVICE:
        if block.document == document:
            check(block, folder, service)


@pytest.mark.prometheus
@SLOW
@pytest.mark.parametrize("block", NEEDS_PROMETHEUS, ids=lambda block: block.label)
def test_commands_against_a_prometheus_do_what_the_page_shows(block, tmp_path, prometheus):
    addresses = {"http://prometheus:9090": prometheus}
    check(block, workplace(block.document, tmp_path, addresses), addresses)


@pytest.mark.parametrize(
    "block", [b for b in blocks("python") if not SAVED_AS.match(b.text)], ids=lambda block: block.label
)
def test_python_runs(block, tmp_path):
    script = tmp_path / "block.py"
    script.write_text(block.text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "block", [b for b in blocks("yaml") if b.text.startswith("# perfopt.yaml")], ids=lambda block: block.label
)
def test_configuration_files_are_accepted(block, tmp_path):
    path = write_config(tmp_path, block.text)
    done = subprocess.run(
        [Path(sys.executable).parent / "perfopt", "config", "show", "--config", path, "--format", "yaml"],
        env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(block.text)) <= set(yaml.safe_load(done.stdout))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    broken = [
        link
        for link in LINK.findall(document.read_text(encoding="utf-8"))
        if not (document.parent / link).exists()
    ]
    assert not broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_named_are_there(document):
    named = SCRIPT.findall(document.read_text(encoding="utf-8"))
    assert [script for script in named if not (ROOT / script).exists()] == []
