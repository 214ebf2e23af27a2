"""A simulation of autoscalers as a person reads it on a terminal."""

from collections.abc import Sequence

from perfopt.backtest.simulation import SimulationResult
from perfopt.backtest.simulation.report import (
    ALL,
    AutoscalerFigures,
    PolicyFigures,
    SameCostComparison,
    shown_groups,
)
from perfopt.cli.output.render import table

_LEGEND = "Violated minutes / cost; means over services, each weighing the same.\n"


def to_simulation_table(result: SimulationResult) -> str:
    """Prints the policies, all and by family; ours at each baseline's cost; the 15-second loop."""
    parts = [
        f"{result.services} services of {result.source}, minute by minute.\n",
        _policies(result.policies),
        _LEGEND,
        _same_cost(result.same_cost),
    ]
    if result.loop and result.loop[0].groups:
        parts += ["By the autoscaler's 15-second loop:\n" + _policies(result.loop)]
    parts.append("".join(f"Note: {note}\n" for note in result.notes))
    parts.append("".join(f"Failed: {failed.service}: {failed.message}\n" for failed in result.failed))
    return "\n".join(part for part in parts if part)


def _policies(policies: Sequence[PolicyFigures]) -> str:
    groups = shown_groups(tuple(policies[0].groups))
    header = ("POLICY", *(name.upper() for name in groups), "WHOLE COST", "STARTS/HOUR")
    rows = [
        (
            one.policy,
            *(_cell(one.groups[name]) for name in groups),
            f"{one.groups[ALL].whole_cost:.2f}",
            f"{one.groups[ALL].starts_per_hour:.2f}",
        )
        for one in policies
    ]
    return table(header, rows, right=header[1:])


def _cell(figures: AutoscalerFigures) -> str:
    return f"{figures.violated:.2%} / {figures.cost:.2f}"


def _same_cost(comparisons: Sequence[SameCostComparison]) -> str:
    if not comparisons:
        return ""
    groups = shown_groups(tuple(dict.fromkeys(one.group for one in comparisons)))
    cells: dict[str, dict[str, str]] = {}
    for one in comparisons:
        cells.setdefault(one.baseline, {})[one.group] = _pair(one)
    header = ("AT THE COST OF", *(name.upper() for name in groups))
    rows = [(baseline, *(row[name] for name in groups)) for baseline, row in cells.items()]
    return "perfopt at each baseline's cost, violated minutes baseline -> perfopt:\n" + table(
        header, rows, right=header[1:]
    )


def _pair(one: SameCostComparison) -> str:
    ours = "-" if one.violated is None else f"{one.violated:.2%}"
    return f"{one.baseline_violated:.2%} -> {ours}"
