"""Finds imports of perfopt's private modules in a plugin's sources, without running them."""

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

PUBLIC = ("perfopt.plugin", "perfopt.testing", "perfopt.forecast", "perfopt.capacity")


def private_imports(strategy: object) -> list[str]:
    """Returns "file:line imports module" for each import of a private module of perfopt.

    All modules of the package that the strategy's class lives in are read; of perfopt's own
    package, only the class's module.
    """
    return sorted(
        f"{path.name}:{line} imports {module}"
        for path in _files(type(strategy))
        for line, module in _imported(ast.parse(path.read_text("utf-8")))
        if not _is_public(module)
    )


def _files(kind: type) -> list[Path]:
    root = sys.modules[kind.__module__.partition(".")[0]]
    folders = list(getattr(root, "__path__", ()))
    if root.__name__ == "perfopt" or not folders:
        return [Path(inspect.getfile(kind))]
    return [path for folder in folders for path in Path(folder).rglob("*.py")]


def _imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for name in node.names:
                yield node.lineno, f"{node.module}.{name.name}" if node.module == "perfopt" else node.module


def _is_public(module: str) -> bool:
    if module.partition(".")[0] != "perfopt" or module == "perfopt.__version__":
        return True
    return any(module == public or module.startswith(f"{public}.") for public in PUBLIC)
