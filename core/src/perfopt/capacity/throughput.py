"""What a workload serves in total, and what one of its replicas serves within the latency objective.

What a replica serves within its objective is read from the latency model, where production variation
identifies one: the highest rate up to which the predicted quantile meets the objective with MARGIN.
Elsewhere it is what was seen: use is sorted into ten parts, and the objective holds below the first in which
it was missed.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from perfopt.capacity.history import read_history
from perfopt.capacity.identify import NotIdentified, identify
from perfopt.capacity.predictor import BUSIEST, LatencyPredictor, latency_predictor
from perfopt.domain.workload import Slo
from perfopt.metrics.snapshot import Array, PodSeries, WorkloadSnapshot
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.history import InsufficientHistory

_PARTS = 10
_MIN_STEPS = 200
_WITHIN = 0.95  # of the steps of a part of the load
_RATES = 30
_FARTHEST = 2.0  # times the busiest rate that the model was identified on


@dataclass(frozen=True, slots=True)
class ReplicaThroughput:
    """What one replica serves.

    Attributes:
        requests_per_core: requests per second that a core served; None where they are not measured.
        cores_within: CPU of a replica up to which the latency objective is kept; None without an objective,
            where no load that was seen missed it, or where nothing shows it.
        requests_within: requests per second of a replica there; None where requests are not measured.
        basis: "model" for the latency model, "seen" for what was measured at each load; None where
            `cores_within` is.
    """

    requests_per_core: float | None = None
    cores_within: float | None = None
    requests_within: float | None = None
    basis: Literal["model", "seen"] | None = None


def throughput(context: AnalysisContext, cores: Array, replicas: Array) -> ReplicaThroughput:
    """Learns what a replica serves, within its objective if it has one.

    Args:
        context: of the analysis.
        cores: of `total_cores`.
        replicas: of `perfopt.plugin.running_replicas`.
    """
    snapshot = context.snapshot
    each, slo = _requests_per_core(snapshot, cores), snapshot.workload.slo
    if slo is None:
        return ReplicaThroughput(each)
    by_model = _modelled(context, slo)
    if by_model is not None and each:
        return ReplicaThroughput(each, by_model / each, by_model, "model")
    seen = _seen(snapshot, slo, cores / replicas)
    if seen is None:
        return ReplicaThroughput(each)
    return ReplicaThroughput(each, seen, None if each is None else seen * each, "seen")


def total_cores(snapshot: WorkloadSnapshot, replicas: Array) -> Array:
    """Returns the CPU of all containers of all replicas, shape (steps,), NaN where none is measured.

    Args:
        snapshot: the history.
        replicas: how many ran: the one nameless row of a file source is the use of each of them.
    """
    total = np.zeros(snapshot.grid.size)
    known = np.zeros(snapshot.grid.size, dtype=np.bool_)
    for name in snapshot.containers:
        series = snapshot.series(name, "cpu_cores")
        if series is not None:
            cores = _sum(series, replicas)
            known |= np.isfinite(cores)
            total += np.nan_to_num(cores)
    return np.where(known, total, np.nan)


def _sum(series: PodSeries, replicas: Array) -> Array:
    if series.pods == ("",):
        each: Array = series.values[0] * replicas
        return each
    present = np.isfinite(series.values)
    return np.where(present.any(axis=0), np.where(present, series.values, 0.0).sum(axis=0), np.nan)


def _requests_per_core(snapshot: WorkloadSnapshot, cores: Array) -> float | None:
    served = snapshot.service.get("requests_per_second")
    if served is None:
        return None
    known = np.isfinite(served) & np.isfinite(cores) & (cores > 0)
    each = float(served[known].sum() / cores[known].sum()) if known.any() else 0.0
    return each or None


def _modelled(context: AnalysisContext, slo: Slo) -> float | None:
    """Returns the rate of a replica up to which the latency model meets an objective; None if unknown."""
    history = read_history(context)
    observed = None if isinstance(history, InsufficientHistory) else history.observations()
    if observed is None or isinstance(history, InsufficientHistory):
        return None
    model = identify(observed, trained=context.models.get("latency"))
    predictor = (
        None
        if isinstance(model, NotIdentified)
        else latency_predictor(history, model, slo.quantile, slice(None))
    )
    return None if predictor is None else _rate_within(predictor, slo)


def _rate_within(predictor: LatencyPredictor, slo: Slo) -> float | None:
    model = predictor.model
    most = min(
        BUSIEST * predictor.limit_cores / model.cpu_seconds_per_request,
        _FARTHEST * model.seen_rate[1] * predictor.parts,
    )
    rates = np.linspace(0.0, most, _RATES + 1)[1:]
    limits = np.full(_RATES, predictor.limit_cores)
    met, _ = predictor.meets(predictor.busy_rate * predictor.replicas / rates, limits, slo.latency_ms)
    count = int(np.logical_and.accumulate(met).sum())
    return float(rates[count - 1]) if count else None


def _seen(snapshot: WorkloadSnapshot, slo: Slo, each: Array) -> float | None:
    """Returns the CPU of a replica below which the objective was kept in 95 % of the steps of every tenth."""
    latency = snapshot.service.get(f"latency_p{100 * slo.quantile:g}_ms")
    if latency is None:
        return None
    known = np.isfinite(latency) & np.isfinite(each)
    if known.sum() < _MIN_STEPS:
        return None
    order = np.argsort(each[known], kind="stable")
    for part in np.array_split(order, _PARTS):
        if np.mean(latency[known][part] <= slo.latency_ms) < _WITHIN:
            return float(each[known][part[0]])
    return None
