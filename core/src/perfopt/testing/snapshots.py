"""Snapshots to try strategies on: ordinary ones and those that break things."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from perfopt.domain.price import DEFAULT_PRICE_BOOK
from perfopt.domain.recommendation import Coverage
from perfopt.domain.workload import Container, Workload, WorkloadId, WorkloadState
from perfopt.engine.pipeline import with_forecasts
from perfopt.metrics.snapshot import Array, PodSeries, TimeGrid, WorkloadSnapshot
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.strategy import Strategy

END = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
STEP = timedelta(minutes=5)
GIB = 2**30
_DAY_STEPS = 288


def daily_usage(
    days: float = 14, low: float = 0.1, high: float = 0.6, noise: float = 0.05, seed: int = 1
) -> Array:
    """Returns the use of a service that is busy by day: 5-minute steps, shape (days * 288,).

    Args:
        days: how long.
        low: at night.
        high: at noon.
        noise: standard deviation, relative to the value.
        seed: of the noise.
    """
    steps = np.arange(round(days * _DAY_STEPS))
    shape = (1 - np.cos(2 * np.pi * steps / _DAY_STEPS)) / 2
    disturbance = 1 + noise * np.random.default_rng(seed).standard_normal(steps.size)
    values: Array = (low + (high - low) * shape) * np.clip(disturbance, 0, None)
    return values


def make_snapshot(
    containers: Mapping[str, Mapping[str, ArrayLike]] | None = None,
    *,
    service: Mapping[str, ArrayLike] | None = None,
    state: WorkloadState | None = None,
    name: str = "example",
    end: datetime = END,
    step: timedelta = STEP,
) -> WorkloadSnapshot:
    """Builds a snapshot from arrays.

    Args:
        containers: container to metric to values of shape (steps,), or (pods, steps); None is one
            container "main" with two weeks of daily CPU and memory use.
        service: workload-scoped metric to values of shape (steps,).
        state: what the workload has; None is 1 core and 1Gi requested, twice that as limits, two replicas.
        name: of the service.
        end: where the history ends.
        step: of the grid.
    """
    if containers is None:
        usage = daily_usage()
        containers = {"main": {"cpu_cores": usage, "memory_bytes": usage * GIB}}
    series = {
        container: {metric: _pods(values) for metric, values in metrics.items()}
        for container, metrics in containers.items()
    }
    shared = {metric: np.asarray(values, dtype=np.float64) for metric, values in (service or {}).items()}
    lengths = {s.values.shape[1] for metrics in series.values() for s in metrics.values()}
    size = (lengths | {values.size for values in shared.values()} or {0}).pop()
    return WorkloadSnapshot(
        workload=Workload(
            id=WorkloadId(name=name),
            service_name=name,
            state=state if state is not None else _state(tuple(series)),
        ),
        grid=TimeGrid(end - size * step, step, size),
        containers=series,
        service=shared,
        coverage={
            f"{container}/{metric}": _coverage(pods.values)
            for container, metrics in series.items()
            for metric, pods in metrics.items()
        },
    )


def make_context(
    snapshot: WorkloadSnapshot | None = None,
    validity: timedelta = timedelta(days=7),
    strategy: Strategy | None = None,
    settings: Mapping[str, Any] | None = None,
) -> AnalysisContext:
    """Returns a context with the default price book.

    Args:
        snapshot: the history; None is `make_snapshot`'s.
        validity: how long a recommendation must hold.
        strategy: its forecasts are in the context; None leaves it without forecasts.
        settings: of the strategy's plugin, where they are not the defaults.
    """
    history = snapshot if snapshot is not None else make_snapshot()
    context = AnalysisContext(history, validity, DEFAULT_PRICE_BOOK, settings=settings or {})
    return context if strategy is None else with_forecasts(strategy, context)


def cases() -> dict[str, WorkloadSnapshot]:
    """Returns the histories that every strategy must survive, by name."""
    usage = daily_usage()
    spiked = usage.copy()
    spiked[1000] = 50.0
    gapped = usage.copy()
    gapped[np.random.default_rng(2).random(gapped.size) < 0.3] = np.nan
    gapped[500:1200] = np.nan
    late = usage.copy()
    late[: usage.size // 2] = np.nan
    gone = usage.copy()
    gone[-_DAY_STEPS:] = np.nan
    pods = np.stack([usage, late])
    return {
        "daily": make_snapshot(),
        "empty": _of(np.empty(0)),
        "one_step": _of(usage[:1]),
        "short": _of(usage[:12]),
        "all_nan": _of(np.full(usage.size, np.nan)),
        "gapped": _of(gapped),
        "late": _of(late),
        "ended": _of(gone),
        "constant": _of(np.full(usage.size, 0.25)),
        "zero": _of(np.zeros(usage.size)),
        "spike": _of(spiked),
        "pods": _of(pods),
        "no_metrics": make_snapshot({"main": {}}),
        "cpu_only": make_snapshot({"main": {"cpu_cores": usage}}),
        "two_containers": make_snapshot(
            {name: {"cpu_cores": usage, "memory_bytes": usage * GIB} for name in ("app", "sidecar")}
        ),
        "unknown_state": make_snapshot(
            {"main": {"cpu_cores": usage, "memory_bytes": usage * GIB}},
            state=WorkloadState(containers=(Container(name="main"),)),
        ),
    }


def _of(cpu: Array) -> WorkloadSnapshot:
    return make_snapshot({"main": {"cpu_cores": cpu, "memory_bytes": cpu * GIB}})


def _pods(values: ArrayLike) -> PodSeries:
    rows = np.atleast_2d(np.array(values, dtype=np.float64))
    return PodSeries(("",) if len(rows) == 1 else tuple(f"pod-{i}" for i in range(len(rows))), rows)


def _state(containers: tuple[str, ...]) -> WorkloadState:
    return WorkloadState(
        containers=tuple(
            Container(
                name=name,
                cpu_request_cores=1.0,
                memory_request_bytes=GIB,
                cpu_limit_cores=2.0,
                memory_limit_bytes=2 * GIB,
            )
            for name in containers
        ),
        replicas=2,
    )


def _coverage(values: Array) -> Coverage:
    present = np.isfinite(values).any(axis=0)
    count = int(np.count_nonzero(present))
    fraction = count / present.size if present.size else 0.0
    return Coverage(expected=present.size, present=count, fraction=fraction)
