"""Output formats. The same results give the same bytes: no clock, no terminal width unless it is one."""

import io
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec
import yaml
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from perfopt.cli.output.terminal import TerminalScreen
from perfopt.domain.recommendation import AnalysisResult

PIPE_WIDTH = 250
_GAP = 2
_MAX_FIGURE = 9  # "37% / 35%"


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


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = (), keys: int = 1
) -> str:
    """Prints rows under a header, in the width of the terminal or of COLUMNS; elsewhere as wide as needed.

    Where the columns don't fit even with their texts wrapped, they are printed in several tables below each
    other.

    Args:
        header: names of the columns.
        rows: cells.
        right: names of the columns that are aligned to the right.
        keys: so many columns at the left say what a row is of: each table begins with them.
    """
    lines = [header, *rows]
    screen = TerminalScreen.of_stdout(piped=PIPE_WIDTH)
    natural = [max(cell_len(line[i]) for line in lines) for i in range(len(header))]
    least = [
        max(_longest_word(name), *(_unwrapped(line[i]) for line in lines[1:]), 1)
        for i, name in enumerate(header)
    ]
    parts = _parts(least, screen.width, keys)
    shown = []
    for columns in parts:
        grid = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
        for i, width in zip(columns, _widths(natural, least, columns, screen.width), strict=True):
            justify: Literal["left", "right"] = "right" if header[i] in right else "left"
            grid.add_column(header[i], justify=justify, overflow="fold", width=width)
        for line in lines[1:]:
            grid.add_row(*(line[i] for i in columns))
        shown.append(_printed(grid, screen.width))
    return "\n".join(shown)


def paragraph(text: str) -> str:
    """Prints a paragraph in the width of the terminal or of COLUMNS; elsewhere on one line."""
    return textwrap.fill(text, TerminalScreen.of_stdout(piped=PIPE_WIDTH).width, break_on_hyphens=False)


def _longest_word(text: str) -> int:
    return max(map(cell_len, text.split()), default=0)


def _unwrapped(cell: str) -> int:
    """Returns the least width of a cell: figures are not wrapped, texts at spaces."""
    return cell_len(cell) if len(cell) <= _MAX_FIGURE else _longest_word(cell)


def _parts(least: Sequence[int], width: int, keys: int) -> list[list[int]]:
    """Shares columns out over tables that fit a width, each with the key columns first."""
    first = list(range(keys))
    parts, used = [[*first]], sum(least[:keys])
    for i in range(keys, len(least)):
        columns = len(parts[-1])
        if columns > keys and used + least[i] + _GAP * columns > width:
            parts.append([*first])
            used = sum(least[:keys])
        parts[-1].append(i)
        used += least[i]
    return parts


def _widths(natural: Sequence[int], least: Sequence[int], columns: Sequence[int], width: int) -> list[int]:
    """Returns the widths of a table's columns: what can be wrapped at spaces gives way, the widest first."""
    widths = {i: natural[i] for i in columns}
    over = sum(widths.values()) + _GAP * (len(columns) - 1) - width
    while over > 0 and any(widths[i] > least[i] for i in columns):
        widest = max((i for i in columns if widths[i] > least[i]), key=lambda i: widths[i])
        widths[widest] -= 1
        over -= 1
    return list(widths.values())


def _printed(grid: Table, width: int) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False, markup=False, color_system=None).print(grid)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())
