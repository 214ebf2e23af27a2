"""Modules stay small, and none imports itself by way of another, wherever the import stands."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_LINES = 400
FOLDERS = ("core", "api", "plugins", "tests", "benchmarks", "image", "migrations")
FILES = [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))]


def module_of(file):
    """The name of a module of an installed package; None for tests and benchmarks."""
    path = file.relative_to(ROOT)
    if "src" not in path.parts or "tests" in path.parts:
        return None
    parts = path.with_suffix("").parts[path.parts.index("src") + 1 :]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name: file for file in FILES if (name := module_of(file))}


def imported(tree, modules):
    """The modules that code imports anywhere: in functions and for type checking too."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            while name and name not in modules:
                name = name.rpartition(".")[0]
            if name:
                yield name


def first_circle(trees):
    """A circle of imports; None where there is none."""
    graph = {module: set(imported(tree, trees)) - {module} for module, tree in trees.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return None


def test_no_module_imports_itself_by_way_of_others():
    trees = {module: ast.parse(file.read_text(encoding="utf-8")) for module, file in MODULES.items()}
    assert len(trees) > 500
    circle = first_circle(trees)
    assert circle is None, " -> ".join(circle)


@pytest.mark.parametrize(
    "back",
    [
        "import a",
        "def f():\n    from a import g",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a import G",
    ],
)
def test_a_circle_is_seen_wherever_the_import_stands(back):
    assert first_circle({"a": ast.parse("from b import f"), "b": ast.parse(back)}) is not None


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_module_is_longer_than_400_lines(folder):
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines())
        for file in FILES
        if file.relative_to(ROOT).parts[0] == folder
    }
    assert lengths
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}
