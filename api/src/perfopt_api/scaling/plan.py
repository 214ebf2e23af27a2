"""The need of a service at an instant, read from a stored scaling recommendation."""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec

from perfopt.domain.period import format_instant
from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.domain.scaling import DemandStep, ReplicaNeed, ScalingDemand, ShortTermDemand
from perfopt.errors import ConflictError
from perfopt_api.scaling.live import LiveEstimate, NotLive

_FORECAST = "demand_forecast"
_LOW, _HIGH = "0.05", "0.95"


def demand_at(recommendation: OptimizationRecommendation, now: datetime, horizon: timedelta) -> ScalingDemand:
    """Returns what a recommendation plans for an instant, and for the horizon after it.

    Args:
        recommendation: of type SCALING_OPTIMIZATION.
        now: the instant.
        horizon: how far the plan is told.

    Raises:
        ConflictError: its validity is over: nothing is known of now.
    """
    if now >= recommendation.valid_until:
        raise ConflictError(
            f"{recommendation.recommendation_id} was valid until"
            f" {format_instant(recommendation.valid_until)}.",
            field="service",
            remedy="Analyse the service again; until then scale on its other metrics.",
        )
    hpa = recommendation.recommended_state.get("hpa", {})
    minimum = int(hpa.get("min_replicas", 1))
    until = min(now + horizon, recommendation.valid_until)
    steps = tuple(_steps(recommendation, now, until, minimum))
    return ScalingDemand(
        service_name=recommendation.service_name,
        workload=recommendation.workload,
        recommendation_id=recommendation.recommendation_id,
        basis="schedule" if recommendation.recommended_state.get("schedule") else "reactive",
        age_seconds=round((now - recommendation.made_at).total_seconds(), 1),
        at=now,
        made_at=recommendation.made_at,
        valid_until=recommendation.valid_until,
        replicas=ReplicaNeed(
            needed=steps[0].needed, minimum=minimum, maximum=int(hpa.get("max_replicas", steps[0].needed))
        ),
        forecast=steps,
    )


def with_live(plan: ScalingDemand, estimate: LiveEstimate | NotLive) -> ScalingDemand:
    """Returns the plan with what the latest minutes say in place of its need of now, within its bounds."""
    if isinstance(estimate, NotLive):
        return msgspec.structs.replace(plan, not_live=estimate.reason)
    need, bounds = estimate.need, plan.replicas

    def bounded(replicas: int) -> int:
        return min(max(replicas, bounds.minimum), max(bounds.maximum, bounds.minimum))

    return msgspec.structs.replace(
        plan,
        basis="live",
        age_seconds=round((plan.at - estimate.measured_until).total_seconds(), 1),
        replicas=msgspec.structs.replace(
            bounds,
            needed=bounded(need.replicas),
            low=bounded(need.replicas_low),
            high=bounded(need.replicas_high),
        ),
        short_term=ShortTermDemand(
            measured_until=estimate.measured_until,
            measured_cores=round(estimate.measured_cores, 4),
            ready_at=estimate.ready_at,
            expected_cores=round(need.expected, 4),
            low_cores=round(need.low, 4),
            high_cores=round(need.high, 4),
        ),
    )


def _steps(
    recommendation: OptimizationRecommendation, now: datetime, until: datetime, minimum: int
) -> list[DemandStep]:
    """Returns the spans of the schedule from now on, cut at the steps of the forecast."""
    spans = [
        (datetime.fromisoformat(one["start"]), datetime.fromisoformat(one["end"]), int(one["min_replicas"]))
        for one in recommendation.recommended_state.get("schedule", ())
    ]
    data = next((reason.data for reason in recommendation.reasons if reason.code == _FORECAST), {})
    block = timedelta(seconds=float(data.get("block_seconds", 0)))
    edges = {now, until} | {edge for start, end, _ in spans for edge in (start, end)}
    if block:
        blocks = range(
            -(-(now - recommendation.made_at) // block), (until - recommendation.made_at) // block + 1
        )
        edges |= {recommendation.made_at + number * block for number in blocks}
    cuts = sorted(edge for edge in edges if now <= edge <= until)
    return [
        DemandStep(
            start=start,
            end=end,
            needed=next((count for begin, last, count in spans if begin <= start < last), minimum),
            **(_cores(data, (start - recommendation.made_at) // block) if block else {}),
        )
        for start, end in pairwise(cuts)
    ]


def _cores(data: Mapping[str, Any], number: int) -> dict[str, float]:
    """Returns the forecast of a block with its 90 % interval; nothing where it was not made."""
    median, margins = data.get("median_cores", ()), data.get("log_margins", {})
    if not 0 <= number < len(median) or not {_LOW, _HIGH} <= margins.keys():
        return {}
    expected = float(median[number])
    return {
        "expected_cores": round(expected, 4),
        "low_cores": round(expected * math.exp(margins[_LOW]), 4),
        "high_cores": round(expected * math.exp(margins[_HIGH]), 4),
    }
