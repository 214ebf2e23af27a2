"""Mutates modules and lists the mutants that their tests let live; `make mutate PATHS=...` calls it.

mutmut expects one package with `src` and `tests` beside each other. So each distribution of the workspace is
shown to it as such a folder under `.mutmut`, made of links, where its copies go too.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".mutmut"
# The contract suite watches for files that a strategy opens, and mutmut opens its own.
SETTINGS = """[mutmut]
source_paths = src
only_mutate =
{modules}
also_copy = conftest.py
use_git_change_detection = false
track_dependencies = false
pytest_add_cli_args_test_selection =
{tests}
pytest_add_cli_args =
    -p
    no:cacheprovider
    --ignore-glob=*test_contract.py
    --import-mode=importlib
    --override-ini=asyncio_mode=auto
    --override-ini=asyncio_default_fixture_loop_scope=function
    --override-ini=markers=prometheus: needs Debian's prometheus and promtool
"""
KILLED = frozenset({1, 3, 24, -24, 36, 152, 255, -9, -11, 37})  # exit codes: failed, timed out or died


def main() -> None:
    """Runs mutmut on the modules named, distribution by distribution, and prints what survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path, help="modules or packages, below a src folder")
    parser.add_argument("--tests", nargs="*", type=Path, help="tests to run; else those beside the sources")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    modules = [module for path in given.paths for module in _modules(ROOT / path)]
    for distribution in dict.fromkeys(_distribution(module) for module in modules):
        own = [module for module in modules if _distribution(module) == distribution]
        tests = [ROOT / path for path in given.tests or ()] or list(_tests(distribution, own))
        folder = _prepare(distribution, own, tests)
        _mutmut(folder, "run", "--max-children", str(given.processes))
        for module in own:
            _report(folder, module.relative_to(distribution))


def _modules(path: Path) -> Iterable[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _distribution(module: Path) -> Path:
    return next(folder.parent for folder in module.parents if folder.name == "src")


def _tests(distribution: Path, modules: Iterable[Path]) -> Iterator[Path]:
    """Yields the folders of tests that mirror the packages of the modules, or all tests."""
    folders: dict[Path, None] = {}
    for module in modules:
        package = module.parent.relative_to(distribution / "src")
        mirrored = distribution / "tests" / Path(*package.parts[1:])
        folders[mirrored if mirrored.is_dir() else distribution / "tests"] = None
    yield from folders


def _prepare(distribution: Path, modules: Iterable[Path], tests: Iterable[Path]) -> Path:
    folder = WORK / distribution.relative_to(ROOT)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("src", "tests"):
        (folder / name).symlink_to(distribution / name)
    shutil.copy(ROOT / "conftest.py", folder)
    settings = SETTINGS.format(
        modules=_lines(module.relative_to(distribution) for module in modules),
        tests=_lines(path.relative_to(distribution) for path in tests),
    )
    (folder / "setup.cfg").write_text(settings, "utf-8")
    return folder


def _lines(paths: Iterable[Path]) -> str:
    return "\n".join(f"    {path}" for path in paths)


def _mutmut(folder: Path, *arguments: str) -> str:
    support = str(ROOT / "tests" / "support")
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": support},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        sys.exit(f"mutmut {arguments[0]} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def _report(folder: Path, module: Path) -> None:
    """Prints the mutants of a module that were not killed, as differences, and how many there were.

    Mutants of nothing but the wording of a text are counted apart: no user would notice.
    """
    meta = folder / "mutants" / f"{module}.meta"
    if not meta.exists():
        return
    codes: dict[str, int] = json.loads(meta.read_text("utf-8"))["exit_code_by_key"]
    alive = {name: _changed(_mutmut(folder, "show", name)) for name in codes if codes[name] not in KILLED}
    worded = {name for name, (before, after) in alive.items() if _same_but_wording(before, after)}
    for name, (before, after) in alive.items():
        if name not in worded:
            print(
                "\n".join([f"\n{name}", *(f"- {line}" for line in before), *(f"+ {line}" for line in after)])
            )
    total = len(codes) - len(worded)
    killed = len(codes) - len(alive)
    share = f" ({killed / total:.0%})" if total else ""
    print(f"\n{module}: {killed} of {total} killed{share}; {len(worded)} more change wording only")


def _changed(diff: str) -> tuple[list[str], list[str]]:
    """Returns the lines that a mutant takes out and puts in."""
    lines = [line for line in diff.splitlines() if not line.startswith(("+++", "---"))]
    before = [line[1:].strip() for line in lines if line.startswith("-")]
    return before, [line[1:].strip() for line in lines if line.startswith("+")]


def _same_but_wording(before: list[str], after: list[str]) -> bool:
    plain = [line.replace("XX", "").lower() for line in after]
    return (
        before != after and [line.lower() for line in before] == plain and any('"' in line for line in before)
    )


if __name__ == "__main__":
    main()
