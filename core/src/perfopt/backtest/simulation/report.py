"""From runs to the tables: all services, by family, and at each baseline's cost."""

from collections.abc import Sequence

import msgspec
import numpy as np

from perfopt.backtest.simulation.autoscalers import CLASSES
from perfopt.backtest.simulation.run import AutoscalerRun, ServiceSimulation

ALL = "all"
MAX_FAMILIES = 8
_DIGITS = 6


class AutoscalerFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Means over services, each weighing the same.

    Attributes:
        services: how many.
        violated: share of scored minutes.
        cost: of ready replicas in scored minutes, over the oracle's.
        whole_cost: of wanted replicas in all minutes, over the oracle's.
        starts_per_hour: replicas started, over the oracle's mean.
    """

    services: int
    violated: float
    cost: float
    whole_cost: float
    starts_per_hour: float


class PolicyFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One policy: all services, and by family (what stands before the first "/" of a name)."""

    policy: str
    groups: dict[str, AutoscalerFigures]


class SameCostComparison(msgspec.Struct, frozen=True, kw_only=True):
    """A baseline and our policy at that baseline's cost, on a group of services.

    Attributes:
        baseline, group: which.
        cost: of the baseline.
        baseline_violated: share of scored minutes.
        violated: ours, between the two nearest prices on a straight line; None where no price costs that.
    """

    baseline: str
    group: str
    cost: float
    baseline_violated: float
    violated: float | None


class UnsimulatedService(msgspec.Struct, frozen=True, kw_only=True):
    """A service that could not be run, and why."""

    service: str
    message: str


class SimulationResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a backtest of scaling found.

    Attributes:
        source: name of the metric source.
        services: with their metric and minutes scored.
        policies: in the world of one-minute steps.
        same_cost: our policy at each baseline's cost.
        loop: by the autoscaler's own 15-second loop.
        runs: of each service.
        notes: what to know of the figures.
        failed: services that could not be run.
    """

    source: str
    services: int
    policies: tuple[PolicyFigures, ...]
    same_cost: tuple[SameCostComparison, ...]
    loop: tuple[PolicyFigures, ...]
    runs: tuple[ServiceSimulation, ...]
    notes: tuple[str, ...]
    failed: tuple[UnsimulatedService, ...] = ()


NOTES = (
    "Minutes are scored after two days and where there was demand; a minute is violated when demand is above"
    " 90 % of what ready replicas carry. Eight replicas carry the mean demand; a replica is ready after two"
    " minutes.",
    "Cost is that of ready replicas in scored minutes, over an oracle's that holds ceil(demand / 70 % of a"
    " replica). Whole cost counts every minute, quiet ones and replicas that start too.",
    "Each policy sees at a minute only the demand before it; ours learns from the service's own past alone.",
)


def summarise_simulation(
    source: str, runs: Sequence[ServiceSimulation], failed: Sequence[UnsimulatedService]
) -> SimulationResult:
    """Returns the figures of all services."""
    groups = _groups(runs)
    policies = _figures([run.runs for run in runs], groups)
    prices = _figures([run.prices for run in runs], groups)
    return SimulationResult(
        source=source,
        services=len(runs),
        policies=policies,
        same_cost=tuple(_same_cost(policies, prices)) if prices else (),
        loop=_figures([run.loop for run in runs], groups),
        runs=tuple(runs),
        notes=NOTES,
        failed=tuple(failed),
    )


def _groups(runs: Sequence[ServiceSimulation]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {ALL: list(range(len(runs)))}
    for number, run in enumerate(runs):
        family, slash, _ = run.service.partition("/")
        if slash:
            groups.setdefault(family, []).append(number)
    return groups


def _figures(
    runs: Sequence[Sequence[AutoscalerRun]], groups: dict[str, list[int]]
) -> tuple[PolicyFigures, ...]:
    if not runs:
        return ()
    return tuple(
        PolicyFigures(
            policy=first.policy,
            groups={name: _mean([runs[k][number] for k in members]) for name, members in groups.items()},
        )
        for number, first in enumerate(runs[0])
    )


def _mean(runs: Sequence[AutoscalerRun]) -> AutoscalerFigures:
    def mean(field: str) -> float:
        return round(float(np.mean([getattr(run, field) for run in runs])), _DIGITS)

    return AutoscalerFigures(
        services=len(runs),
        violated=mean("violated"),
        cost=mean("cost"),
        whole_cost=mean("whole_cost"),
        starts_per_hour=mean("starts_per_hour"),
    )


def _same_cost(
    policies: Sequence[PolicyFigures], prices: Sequence[PolicyFigures]
) -> list[SameCostComparison]:
    comparisons = []
    for one in policies:
        if one.policy in CLASSES:
            continue
        for group, figures in one.groups.items():
            curve = sorted((price.groups[group].cost, price.groups[group].violated) for price in prices)
            comparisons.append(
                SameCostComparison(
                    baseline=one.policy,
                    group=group,
                    cost=figures.cost,
                    baseline_violated=figures.violated,
                    violated=_at(figures.cost, curve),
                )
            )
    return comparisons


def _at(cost: float, curve: Sequence[tuple[float, float]]) -> float | None:
    """Reads the curve at a cost; above its dearest point, what that one gives is still to be had."""
    if cost < curve[0][0]:
        return None
    costs, violated = zip(*curve, strict=True)
    return round(float(np.interp(cost, costs, violated)), _DIGITS)


def shown_groups(groups: Sequence[str]) -> list[str]:
    """Returns the families to show beside all; none where they are many, or only one."""
    families = [name for name in groups if name != ALL]
    return [ALL, *(families if 1 < len(families) <= MAX_FAMILIES else ())]
