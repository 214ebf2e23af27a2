"""Mutates modules and lists the mutants that their tests let live; `make mutate PATHS=...` calls it.

mutmut expects one package with `src` and `tests` beside each other. So each distribution of the workspace is
shown to it as such a folder under `.mutmut`, made of links, where its copies go too.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".mutmut"
# The contract suite watches for files that a strategy opens, and mutmut opens its own. Tests of a page
# or of a benchmark read what is not in the copy.
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
    --ignore-glob=*_page.py
    --ignore-glob=*test_search_best.py
    --import-mode=importlib
    --override-ini=asyncio_mode=auto
    --override-ini=asyncio_default_fixture_loop_scope=function
    --override-ini=markers=prometheus: needs Debian's prometheus and promtool
"""
# mutmut makes its mutants and runs them in one command; names can only be chosen between the two.
GENERATE = """
from mutmut.__main__ import (
    copy_also_copy_files, copy_src_dir, create_mutants, set_mutant_under_test, setup_source_paths,
    store_lines_covered_by_tests,
)
from pathlib import Path

set_mutant_under_test("mutant_generation")
Path("mutants").mkdir(exist_ok=True)
copy_src_dir()
copy_also_copy_files()
setup_source_paths()
store_lines_covered_by_tests()
create_mutants(1)
"""
KILLED = frozenset({1, 3, 24, -24, 36, 152, 255, -9, -11, 37})  # exit codes: failed, timed out or died


def main() -> None:
    """Runs mutmut on the modules named, distribution by distribution, and prints what survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path, help="modules or packages, below a src folder")
    parser.add_argument("--tests", nargs="*", type=Path, help="tests to run; else those beside the sources")
    parser.add_argument("--sample", type=int, help="so many mutants, drawn at random; else all")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    modules = [module for path in given.paths for module in _modules(ROOT / path)]
    for distribution in dict.fromkeys(_distribution(module) for module in modules):
        own = [module for module in modules if _distribution(module) == distribution]
        tests = [ROOT / path for path in given.tests or ()] or list(_tests(distribution, own))
        folder = _prepare(distribution, own, tests)
        names = _sample(folder, given.sample, given.seed) if given.sample else []
        _mutmut(folder, "run", "--max-children", str(given.processes), *names)
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
    if folder.parent != WORK:  # tests lie one folder deeper there, and read samples of another distribution
        beside = folder.parent / "core"
        beside.unlink(missing_ok=True)
        beside.symlink_to(ROOT / "core")
    shutil.copy(ROOT / "conftest.py", folder)
    settings = SETTINGS.format(
        modules=_lines(module.relative_to(distribution) for module in modules),
        tests=_lines(path.relative_to(distribution) for path in tests),
    )
    (folder / "setup.cfg").write_text(settings, "utf-8")
    return folder


def _lines(paths: Iterable[Path]) -> str:
    return "\n".join(f"    {path}" for path in paths)


def _sample(folder: Path, size: int, seed: int) -> list[str]:
    """Generates the mutants and returns the names of some of them, the same ones for the same seed."""
    _python(folder, "-c", GENERATE)
    metas = sorted((folder / "mutants").rglob("*.meta"))
    names = [name for meta in metas for name in json.loads(meta.read_text("utf-8"))["exit_code_by_key"]]
    return random.Random(seed).sample(names, min(size, len(names)))


def _mutmut(folder: Path, *arguments: str) -> str:
    return _python(folder, "-m", "mutmut", *arguments)


def _python(folder: Path, *arguments: str) -> str:
    support = str(ROOT / "tests" / "support")
    run = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": support},
        capture_output=True,
        text=True,
    )
    if run.returncode != 0:
        sys.exit(f"mutmut failed:\n{run.stdout[-4000:]}\n{run.stderr[-4000:]}")
    return run.stdout


def _report(folder: Path, module: Path) -> None:
    """Prints the mutants of a module that were not killed, as differences, and how many there were.

    Mutants of nothing but the wording of a text are counted apart: no user would notice.
    """
    meta = folder / "mutants" / f"{module}.meta"
    if not meta.exists():
        return
    every: dict[str, int | None] = json.loads(meta.read_text("utf-8"))["exit_code_by_key"]
    codes = {name: code for name, code in every.items() if code is not None}  # None: not in the sample
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
