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

from perfopt.cli.output.plan import conditions, cost, other_changes, plans, replay, short_type
from perfopt.domain.enums import OptimizationType
from perfopt.domain.recommendation import AnalysisResult, Declined, OptimizationRecommendation

PIPE_WIDTH = 250
_FIELDS = (
    ("CPU REQUEST", "cpu_request"),
    ("MEMORY REQUEST", "memory_request"),
    ("CPU LIMIT", "cpu_limit"),
    ("MEMORY LIMIT", "memory_limit"),
)


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """A service that could not be analysed: error is {code, message}."""

    service_name: str
    error: dict[str, str]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one run gave, as json and yaml print it."""

    results: tuple[AnalysisResult, ...]
    failed: tuple[Failed, ...] = ()


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
    lines = [msgspec.json.encode(made) for made in result.recommendations]
    lines += [
        msgspec.json.encode(
            {
                "service_name": result.service_name,
                "optimization_type": declined.optimization_type,
                "declined": {"code": declined.code, "reason": declined.reason},
            }
        )
        for declined in result.declined
    ]
    return "".join(f"{line.decode()}\n" for line in lines)


def failed_line(failed: Failed) -> str:
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


def to_table(report: Report) -> str:
    """Prints what a person wants to see: recommendations, what was declined and why, warnings, failures."""
    parts = [
        _recommendations([made for result in report.results for made in result.recommendations]),
        *plans(report.results, table),
        _declined([declined for result in report.results for declined in _named(result)]),
        _warnings(report.results),
        "".join(f"Failed: {failed.service_name}: {failed.error['message']}\n" for failed in report.failed),
    ]
    return "\n".join(part for part in parts if part) or "Nothing was analysed: the source holds no service.\n"


def _recommendations(made: Sequence[OptimizationRecommendation]) -> str:
    if not made:
        return ""
    others = [other_changes(recommendation) for recommendation in made]
    asked = [conditions(recommendation) for recommendation in made]
    more = ("OTHER CHANGES",) if any(others) else ()
    apply = ("APPLY",) if any(asked) else ()
    names = tuple(name for name, _ in _FIELDS)
    header = ("SERVICE", "TYPE", *names, *more, "COST/MONTH", "CONFIDENCE", "REPLAY", *apply)
    rows = [
        (*_row(one, (other or "-",) if more else ()), *((when or "at once",) if apply else ()))
        for one, other, when in zip(made, others, asked, strict=True)
    ]
    return table(header, rows, right=("CONFIDENCE",))


def _row(made: OptimizationRecommendation, more: tuple[str, ...]) -> tuple[str, ...]:
    return (
        made.service_name,
        short_type(made.optimization_type) + (" (already right)" if made.already_right else ""),
        *(_change(made.current_state.get(key), made.recommended_state.get(key)) for _, key in _FIELDS),
        *more,
        cost(made),
        f"{made.expected_improvement.confidence:.2f}",
        replay(made.evidence),
    )


def _change(current: str | None, recommended: str | None) -> str:
    if current == recommended:
        return current or "-"
    return f"{current or '-'} -> {recommended or '-'}"


def _named(result: AnalysisResult) -> Iterable[tuple[str, Declined]]:
    return ((result.service_name, declined) for declined in result.declined)


def _declined(declined: Sequence[tuple[str, Declined]]) -> str:
    """One row for all services and types that were declined for the same reason."""
    of_service: dict[tuple[str, str, str], list[str]] = {}
    for service, item in declined:
        key = (service, item.code.value, item.reason)
        of_service.setdefault(key, []).append(short_type(item.optimization_type))
    groups: dict[tuple[str, str, str], list[str]] = {}
    for (service, code, reason), kinds in of_service.items():
        shown = "all" if len(kinds) == len(OptimizationType) else ", ".join(kinds)
        groups.setdefault((shown, code, reason), []).append(service)
    if not groups:
        return ""
    rows = [(_listed(services), *key) for key, services in groups.items()]
    return table(("NO RECOMMENDATION FOR", "TYPE", "CODE", "REASON"), rows)


def _warnings(results: Sequence[AnalysisResult]) -> str:
    groups: dict[tuple[str, str], list[str]] = {}
    for result in results:
        for warning in result.warnings:
            groups.setdefault((warning.code, warning.message), []).append(result.service_name)
    return "".join(
        f"Warning: {_listed(services)}: {message} ({code})\n" for (code, message), services in groups.items()
    )


def _listed(services: Sequence[str]) -> str:
    unique = list(dict.fromkeys(services))
    return ", ".join(unique) if len(unique) <= 2 else f"{unique[0]} and {len(unique) - 1} more"
