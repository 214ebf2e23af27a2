"""Output formats. The same results give the same bytes: no clock, no terminal width unless it is one."""

import io
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import yaml
from rich.console import Console
from rich.table import Table

from perfopt.domain.recommendation import AnalysisResult

PIPE_WIDTH = 250


class FailedAnalysis(msgspec.Struct, frozen=True, kw_only=True):
    """A service that could not be analysed: error is {code, message}."""

    service_name: str
    error: dict[str, str]


class AnalysisReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one run gave, as json and yaml print it."""

    results: tuple[AnalysisResult, ...]
    failed: tuple[FailedAnalysis, ...] = ()


def to_json(value: Any) -> str:
    """Prints any of our values as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def to_yaml(value: Any) -> str:
    """Prints any of our values as one YAML document, fields in their own order."""
    plain = msgspec.to_builtins(value, str_keys=True)
    return yaml.dump(plain, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=120)


def _dumper() -> Any:
    return getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def to_lines(result: AnalysisResult) -> str:
    """Prints one recommendation a line, then one line for each type that was declined."""
    lines = [msgspec.json.encode(recommendation) for recommendation in result.recommendations]
    for declined in result.declined:
        why = {"code": declined.code, "reason": declined.reason}
        why |= {} if declined.plugin is None else {"plugin": declined.plugin}
        kind = {"service_name": result.service_name, "optimization_type": declined.optimization_type}
        lines.append(msgspec.json.encode(kind | {"declined": why}))
    return "".join(f"{line.decode()}\n" for line in lines)


def failed_line(failed: FailedAnalysis) -> str:
    """Prints a service that could not be analysed as one line of JSON."""
    return f"{msgspec.json.encode(failed).decode()}\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()) -> str:
    """Prints rows under a header; on a terminal in its width, elsewhere as wide as needed."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in header:
        grid.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        grid.add_row(*row)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False, markup=False, color_system=None).print(grid)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())
