"""Controllers of horizontal scaling, which decide as demand comes, on the window of a recommendation."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from perfopt.autoscaling import VIOLATION_PENALTIES, Replicas, SimulatedDemand, baselines, predictive
from perfopt.backtest.evaluated import OriginCase
from perfopt.evaluation.scaling import recorded_replicas, total_demand
from perfopt.metrics.snapshot import Array, WorkloadSnapshot

LIVE = "live"
TARGETS = (0.4, 0.5, 0.6, 0.7)
_DAY_MINUTES = 1440
Controller = Callable[[SimulatedDemand], Replicas]

BASELINE_CONTROLLERS: Mapping[str, Controller] = {
    **{f"hpa-{100 * target:.0f}": partial(baselines.hpa, target=target) for target in TARGETS},
    "hpa-70+yesterday": partial(baselines.hpa_with_yesterday, target=0.7),
    "hpa-50+yesterday": partial(baselines.hpa_with_yesterday, target=0.5),
    "seasonal-naive-50": partial(baselines.seasonal_naive, target=0.5),
    "phpa-linear-50": partial(baselines.phpa_linear, target=0.5),
    "phpa-holt-winters-50": partial(baselines.phpa_holt_winters, target=0.5),
}
CONTROLLERS = {
    LIVE: "perfopt's running control: replicas of least expected cost for the next minutes",
    **{f"hpa-{100 * t:.0f}": f"An HPA at {t:.0%} of the CPU request" for t in TARGETS},
    "hpa-70+yesterday": "An HPA at 70 % over what yesterday needed",
    "hpa-50+yesterday": "An HPA at 50 % over what yesterday needed",
    "seasonal-naive-50": "Yesterday's demand at 50 % utilisation",
    "phpa-linear-50": "Predictive HPA, linear regression, at 50 %",
    "phpa-holt-winters-50": "Predictive HPA, Holt-Winters, at 50 %",
}


def replicas_of(case: OriginCase, name: str) -> Array | str:
    """Returns the ready replicas at each step of the window, shape (steps,), or why there are none.

    A minute's replicas follow from the demand of earlier minutes only, those of the window included: a
    controller acts as demand comes. A step of the grid has the fewest replicas of its minutes.

    Args:
        case: the history, and the window the controller runs on.
        name: of the controller. `live` is perfopt's own, at the under-provisioning penalty of the class.
    """
    world = _world(case)
    if isinstance(world, str):
        return world
    if name == LIVE:
        desired = predictive(world, VIOLATION_PENALTIES[case.known.workload.service_class.value])
    else:
        desired = BASELINE_CONTROLLERS[name](world)
    ready = np.maximum(world.ready(desired), 1)[world.warmup_minutes :].astype(np.float64)
    seconds = case.window.grid.step_seconds
    at = np.arange(case.window.grid.size) * seconds // 60
    replicas: Array = np.minimum.reduceat(ready, at) if seconds >= 60 else ready[at]
    return replicas


def _world(case: OriginCase) -> SimulatedDemand | str:
    """Returns the demand of history and window by minute, in cores, or why there is none."""
    request = case.known.workload.state.total("cpu_request_cores")
    past, future = (_demand(part) for part in (case.known, case.window))
    if not request:
        return "The CPU request is not known."
    if past is None or future is None or not future.size:
        return "The demand, or how many replicas ran, is not known."
    step = max(case.known.grid.step_seconds // 60, 1)
    return SimulatedDemand(
        np.concatenate([past, future]),
        request,
        step_minutes=next(minutes for minutes in range(step, 0, -1) if _DAY_MINUTES % minutes == 0),
        first_minute=int(case.known.grid.start.timestamp()) // 60,
        warmup_minutes=past.size,
    )


def _demand(part: WorkloadSnapshot) -> Array | None:
    """Returns the total CPU by minute, each step held over its minutes, shape (minutes,)."""
    ran = recorded_replicas(part)
    if ran is None or not any("cpu_cores" in metrics for metrics in part.containers.values()):
        return None
    minutes = max(part.grid.size * part.grid.step_seconds // 60, 1 if part.grid.size else 0)
    at = np.arange(minutes) * 60 // part.grid.step_seconds
    demand: Array = total_demand(part, ran)[at]
    return demand
