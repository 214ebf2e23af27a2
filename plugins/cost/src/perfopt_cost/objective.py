"""How far the latency objective lets the load on a replica rise, by the product's one latency model."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perfopt.capacity import LatencyPredictor, NotIdentified, identify, latency_predictor, read_history
from perfopt.plugin import AnalysisContext, InsufficientHistory, Reason, Slo, missed_share, realised_latency

Bools = NDArray[np.bool_]

MAX_LOAD = 2.0  # times the load of a replica: the latency model predicts no further beyond what was seen
_LOADS = 6
TOLERATED = 0.05  # share of the requests that may come in steps that missed, as LATENCY_OPTIMIZATION has it


@dataclass(frozen=True, slots=True)
class LatencyHeadroom:
    """What the objective leaves.

    Attributes:
        least: the fewest replicas at the peak.
        load: times the peak load of a replica that an autoscaler may let it rise to; infinite without an
            objective.
        held: no replica may go at any hour.
        reasons: what was predicted, or what was assumed in its place.
    """

    least: int
    load: float = math.inf
    held: bool = False
    reasons: tuple[Reason, ...] = ()


def latency_headroom(context: AnalysisContext, running: int) -> LatencyHeadroom:
    """Returns how few replicas may run at the peak for the objective to be met; 1 where there is none.

    A latency model that production variation identifies gives the fewest that meet it, up to MAX_LOAD;
    without one no replica goes at the peak, so that none ever has more load than it has had.
    """
    slo = context.snapshot.workload.slo
    if slo is None:
        return LatencyHeadroom(1)
    service = context.snapshot.service
    if realised_latency(service, slo.quantile) is None:
        return _assumed(running, slo, "no latency is measured to hold it to")
    missed = missed_share(service, slo.quantile, slo.latency_ms)
    if missed > TOLERATED:
        return LatencyHeadroom(running, 1.0, True, (_missed(slo, missed),))
    predictor = _predictor(context, slo.quantile, running)
    if isinstance(predictor, str):
        return _assumed(running, slo, predictor)
    return _predicted(predictor, slo, running)


def _predictor(context: AnalysisContext, quantile: float, running: int) -> LatencyPredictor | str:
    """Returns the service under the load of its history at today's replicas, or why there is no saying."""
    history = read_history(context)
    if isinstance(history, InsufficientHistory):
        return history.reason
    observed = history.observations()
    if observed is None:
        return "too few steps have latency and load together"
    model = identify(observed, trained=context.models.get("latency"))
    if isinstance(model, NotIdentified):
        return model.reason
    today = replace(
        history,
        rate=history.rate * history.replicas / running,
        replicas=np.full(history.replicas.shape, float(running)),
    )
    return latency_predictor(today, model, quantile, slice(None)) or "no requests were measured"


def _predicted(predictor: LatencyPredictor, slo: Slo, running: int) -> LatencyHeadroom:
    """A replica's limit rises with its load, as what is recommended has it; an autoscaler raises none."""
    counts = np.arange(running, math.ceil(running / MAX_LOAD) - 1, -1, dtype=np.float64)
    loads = np.linspace(1.0, MAX_LOAD, _LOADS)
    replicas = np.concatenate([counts, running / loads])
    limits = predictor.limit_cores * np.concatenate([running / counts, np.ones(_LOADS)])
    meets, busy = predictor.meets(replicas, limits, slo.latency_ms)
    fewer, more = (_unbroken(part) for part in (meets[: counts.size], meets[counts.size :]))
    least = int(counts[fewer])
    reason = _slo_reason(slo, running, least, float(busy[0]), float(busy[fewer]))
    return LatencyHeadroom(least, float(loads[more]), False, (reason,))


def _unbroken(met: Bools) -> int:
    """Returns the index of the last value before the first that misses; 0 where that is the first."""
    return max(int(np.logical_and.accumulate(met).sum()) - 1, 0)


def _slo_reason(slo: Slo, running: int, least: int, before: float, after: float) -> Reason:
    text = (
        f"The SLO is {slo.latency_ms:g} ms: the latency model predicts {before:.0f} ms at the busy load with"
        f" {running} replicas and {after:.0f} ms with {least}, the fewest it lets run at the peak."
    )
    data = {"busy_now_ms": round(before, 3), "busy_then_ms": round(after, 3), "min_replicas": least}
    return Reason(code="slo", text=text, data=data)


def _assumed(running: int, slo: Slo, why: str) -> LatencyHeadroom:
    text = (
        f"There is an SLO of {slo.latency_ms:g} ms and no latency model ({why.rstrip('.')}): no replica goes"
        " at the peak. A replica that carries no more than then is assumed to be no slower."
    )
    return LatencyHeadroom(running, 1.0, False, (Reason(code="slo_unchecked", text=text),))


def _missed(slo: Slo, missed: float) -> Reason:
    text = (
        f"The SLO of {slo.latency_ms:g} ms was missed by {missed:.0%} of the requests: no replica goes at any"
        " hour. LATENCY_OPTIMIZATION says what it would take."
    )
    return Reason(code="slo_missed", text=text, data={"missed_share": round(missed, 4)})
