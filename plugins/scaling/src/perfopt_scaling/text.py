"""The sentences of a recommendation."""

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfopt.plugin import HpaState, Reason, format_cpu
from perfopt_scaling.capacity import FULL, ReplicaCapacity
from perfopt_scaling.demand import TotalDemand
from perfopt_scaling.forecast import DemandForecast
from perfopt_scaling.joint import RequestTarget
from perfopt_scaling.settings import entries_allowed, entries_needed


def description(
    service: str, settings: HpaState, trusted: bool, entries: Sequence[dict[str, Any]] | None
) -> str:
    """Returns one sentence an operator can act on."""
    if settings.target_cpu_utilization_percent is None:
        return f"Keep the autoscaler of {service}, which goes by other metrics, and plan with its schedule."
    aim = (
        f"Scale {service} with an HPA from {settings.min_replicas} to {settings.max_replicas} replicas at"
        f" {settings.target_cpu_utilization_percent} % of the CPU request"
    )
    if not trusted:
        return f"{aim}, without a schedule: recent demand forecasts were inaccurate."
    if entries is None or len(entries) < 2:
        return f"{aim}. Its demand needs no schedule."
    lowest, highest = (pick(entry["min_replicas"] for entry in entries) for pick in (min, max))
    return f"{aim}, with a scheduled minimum of {lowest} to {highest}, ahead of demand."


def stay(replicas: int) -> str:
    """Returns that nothing is to be changed."""
    return f"No change needed: {replicas} replica{'s were' if replicas > 1 else ' was'} enough."


def keep(triggers: Sequence[str]) -> str:
    """Returns that an autoscaler stays as it is."""
    return f"No change: replicas follow {', '.join(triggers)}, and the autoscaler is left as it is."


def left_to_triggers(triggers: Sequence[str]) -> Reason:
    """Returns why an autoscaler is left as it is."""
    return Reason(
        code="held_by_other_metrics",
        text=f"The autoscaler scales by {', '.join(triggers)}, not by CPU utilization: CPU does not tell how"
        " many replicas that needs, so no target, minimum or schedule is set beside it.",
        data={"metrics": list(triggers)},
    )


def too_many_entries(floors: NDArray[np.int64], validity: timedelta, added: float) -> str:
    """Returns why no schedule follows demand that rises and falls too often."""
    days, allowed = validity / timedelta(days=1), entries_allowed(validity)
    return (
        f"Demand rises and falls too often for a schedule: one that follows it has {entries_needed(floors)}"
        f" entries in {days:.3g} days, and one of at most {allowed} runs {added:.0%} more replica-hours. Let"
        " each pod use more CPU in a burst (a CPU limit well above its request, or none), or scale by a queue"
        " or by requests."
    )


def staying(demand: TotalDemand, replicas: int, planned: float) -> Reason:
    """Returns why replicas are not added."""
    peak, requested = float(np.nanmax(demand.cores)), replicas * demand.request_cores
    return Reason(
        code="staying_enough",
        text=(
            f"A plan would run {planned:.1f} replicas on average, and nothing shows that more than {replicas}"
            f" are needed: demand was at most {format_cpu(peak)} of the {format_cpu(requested)} requested,"
            " within it in 99 % of each past stretch as long as the validity, and is not expected beyond it."
        ),
        data={"planned_replicas": round(planned, 2), "peak_cores": round(peak, 6)},
    )


def reasons(
    demand: TotalDemand,
    learnt: ReplicaCapacity,
    need: DemandForecast,
    joint: RequestTarget,
    level: float,
    settings: HpaState,
) -> tuple[Reason, ...]:
    """Returns why the values are what they are."""
    explained = [_capacity(learnt, joint, settings), _forecast(need, level), learnt.startup.reason()]
    if joint.request_cores != demand.request_cores:
        explained.append(
            Reason(
                code="joint_request",
                text=f"The request falls from {format_cpu(demand.request_cores)} to"
                f" {format_cpu(joint.request_cores)} while the target rises to {joint.target:.0%}: a replica"
                f" is still added at {format_cpu(joint.load_cores)} of use, so the number of replicas stays.",
                data={"load_cores": round(joint.load_cores, 6)},
            )
        )
    if not need.trusted:
        explained.append(
            Reason(
                code="forecast_not_trusted",
                text=f"In the last two days {need.recent_exceedance:.0%} of the half-hours exceeded the 98 %"
                " bound of the forecast, or its interval is wider than threefold: more headroom for the HPA,"
                " no schedule.",
                data={
                    "recent_exceedance": round(need.recent_exceedance, 4),
                    "margin": round(math.log(need.width(0.98)), 4),
                },
            )
        )
    return tuple(explained)


def _capacity(learnt: ReplicaCapacity, joint: RequestTarget, settings: HpaState) -> Reason:
    return Reason(
        code="target_utilization",
        text=f"Demand grew by up to {learnt.growth - 1:.0%} during the start of a replica, so the plan takes"
        f" {format_cpu(joint.load_cores)} a replica{_target(settings)}.{_served(learnt)}",
        data={
            "growth": round(learnt.growth, 4),
            "slo_busy": learnt.slo_busy,
            "full": FULL,
            "cores_within_objective": learnt.serves.cores_within,
            "requests_per_second_within_objective": learnt.serves.requests_within,
            "objective_by": learnt.serves.basis,
            "requests_per_core": learnt.serves.requests_per_core,
        },
    )


def _target(settings: HpaState) -> str:
    percent = settings.target_cpu_utilization_percent
    return "" if percent is None else f", a target of {percent} % of its request"


def _served(learnt: ReplicaCapacity) -> str:
    """Returns what a replica serves, in sentences after another."""
    serves, served = learnt.serves, ""
    if learnt.slo_busy is not None and serves.basis == "seen":
        served = f" Above {learnt.slo_busy:.0%} the latency objective was missed."
    if learnt.slo_busy is not None and serves.basis == "model":
        served = (
            f" By the latency model a replica meets its objective up to {serves.requests_within:.3g}"
            f" requests/s, {learnt.slo_busy:.0%} of its request."
        )
    if serves.requests_per_core is not None:
        served += f" A core served {serves.requests_per_core:.3g} requests/s."
    return served


def _forecast(need: DemandForecast, level: float) -> Reason:
    least, most = (format_cpu(float(value)) for value in (need.expected.min(), need.expected.max()))
    margin = need.width(level)
    return Reason(
        code="demand_forecast",
        text=f"Expected demand: {least} to {most}. The plan covers {margin:.2f} times that, the"
        f" {level:.1%} quantile of past forecast errors.",
        data={
            "median_cores": [round(float(value), 4) for value in need.expected],
            "block_seconds": need.block.total_seconds(),
            "log_margins": {
                f"{at:g}": round(math.log(need.width(at)), 4) for at in (0.05, 0.25, 0.5, 0.75, 0.95, level)
            },
        },
    )


def stops(demand: TotalDemand, stopped: NDArray[np.bool_]) -> Reason:
    """Returns the reason why the plan has hours without a replica."""
    return Reason(
        code="scaled_to_zero",
        text=(
            f"It was scaled to zero in {demand.stopped.mean():.0%} of the history, at the same hours of each"
            f" weekday or weekend day: the plan expects no replica in {stopped.mean():.0%} of the validity,"
            " and the minimum of its autoscaler is left as it is."
        ),
        data={
            "stopped_share": round(float(demand.stopped.mean()), 4),
            "planned_share": round(float(stopped.mean()), 4),
        },
    )


def by_quota(most: int) -> Reason:
    """Returns that the namespace's quota allows fewer replicas than the demand asks for."""
    text = (
        f"The namespace's ResourceQuota takes {most} replicas, fewer than the demand asks for: raise the"
        " quota to run more."
    )
    return Reason(code="limited_by_quota", text=text, data={"replicas": most})


def by_memory(least: int) -> Reason:
    """Returns the reason why more replicas stay than cpu asks for."""
    return Reason(
        code="memory_per_pod",
        text=f"At least {least} replicas stay: on fewer, each would carry more of the load, and the memory of"
        " the hottest pod would pass its request or limit.",
        data={"min_replicas": least},
    )


def held(names: Sequence[str]) -> Reason:
    """Returns the reason why replicas are not lowered: something beside CPU utilisation may hold them."""
    return Reason(
        code="held_by_other_metrics",
        text=f"Replicas are not lowered, and no saving is expected: {', '.join(names)} may hold them.",
        data={"metrics": list(names)},
    )
