"""Runs the policies on the demand of services."""

from collections.abc import Iterator

import msgspec
import numpy as np

from perfopt.autoscaling import (
    VIOLATION_PENALTIES,
    AutoscalerSettings,
    SimulatedDemand,
    SimulationOutcome,
    forecast_demand,
    measure,
    measure_ready,
    predictive,
    run_loop,
)
from perfopt.backtest.controllers import BASELINE_CONTROLLERS
from perfopt.backtest.simulation.autoscalers import CLASSES, LOOP_TARGETS, OURS, PRICES
from perfopt.backtest.simulation.demand import ServiceDemand
from perfopt.forecast.short_term import ShortTermForecasts
from perfopt.metrics.snapshot import Array

MAXIMUM = 10**6  # replicas: no bound, so that policies differ by what they ask for
# Beside the plan the autoscaler stays on watch, at what a replica can carry without a violation.
WATCH_TARGET = 0.9


class AutoscalerRun(msgspec.Struct, frozen=True, kw_only=True):
    """One policy on one service: see `perfopt.autoscaling.Outcome`."""

    policy: str
    violated: float
    cost: float
    whole_cost: float
    starts_per_hour: float


class ServiceSimulation(msgspec.Struct, frozen=True, kw_only=True):
    """All policies on one service.

    Attributes:
        service: its name.
        metric: what its demand was measured by.
        minutes: scored.
        runs: in the world of one-minute steps.
        prices: our policy at each of PRICES, in that world, in their order.
        loop: by the autoscaler's own 15-second loop.
    """

    service: str
    metric: str
    minutes: int
    runs: tuple[AutoscalerRun, ...]
    prices: tuple[AutoscalerRun, ...]
    loop: tuple[AutoscalerRun, ...]


class SimulationTask(msgspec.Struct, frozen=True):
    """One service to run."""

    service: str
    demand: ServiceDemand
    policies: tuple[str, ...]
    loop: bool


def run_service(task: SimulationTask) -> ServiceSimulation:
    """Runs the policies of a task on its demand."""
    world = task.demand.world
    ours = any(policy in CLASSES for policy in task.policies)
    expected = forecast_demand(world) if ours else None
    prices = [_named(f"{price:g}", measure(world, predictive(world, price, expected))) for price in PRICES]
    return ServiceSimulation(
        service=task.service,
        metric=task.demand.metric,
        minutes=int(world.scored.sum()),
        runs=tuple(_run(world, policy, expected) for policy in task.policies),
        prices=tuple(prices) if ours else (),
        loop=tuple(_loops(world, expected)) if task.loop else (),
    )


def _run(world: SimulatedDemand, policy: str, expected: ShortTermForecasts | None) -> AutoscalerRun:
    price = CLASSES.get(policy)
    desired = BASELINE_CONTROLLERS[policy](world) if price is None else predictive(world, price, expected)
    return _named(policy, measure(world, desired))


def _loops(world: SimulatedDemand, expected: ShortTermForecasts | None) -> Iterator[AutoscalerRun]:
    """Runs plain autoscalers, and one whose minReplicas follow our plan, through the 15-second loop."""
    for target in LOOP_TARGETS:
        yield _looped(world, f"hpa-{100 * target:.0f}", AutoscalerSettings(target, MAXIMUM))
    if expected is not None:
        plan = predictive(world, VIOLATION_PENALTIES["standard"], expected)
        yield _looped(world, f"{OURS}-standard", AutoscalerSettings(WATCH_TARGET, MAXIMUM, floor=plan))


def _looped(world: SimulatedDemand, name: str, settings: AutoscalerSettings) -> AutoscalerRun:
    ready, desired = run_loop(world, settings)
    return _named(name, measure_ready(world, ready, desired))


def _named(policy: str, outcome: SimulationOutcome | None) -> AutoscalerRun:
    assert outcome is not None, "demand_of leaves out what has nothing to score"
    values: Array = np.round([outcome.violated, outcome.cost, outcome.whole_cost, outcome.starts_per_hour], 6)
    violated, cost, whole, starts = values.tolist()
    return AutoscalerRun(
        policy=policy, violated=violated, cost=cost, whole_cost=whole, starts_per_hour=starts
    )
