"""The sentences an operator reads, with the numbers they can check."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from perfopt.capacity import MARGIN, LatencyPredictor, ReplicaHistory
from perfopt.plugin import Reason, Slo, WorkloadState, format_cpu
from perfopt_latency.bottleneck import Bottleneck
from perfopt_latency.remedy import LatencyRemedy

NO_OBJECTIVE = (
    "No latency objective is known for this service. State one: slo in the services file, the annotation"
    " perfopt.io/slo-latency-ms, or an OpenSLO document."
)
_ANNOTATIONS = ("perfopt.io/slo-latency-ms", "perfopt.io/slo-quantile")
TOO_FEW_WINDOWS = (
    "Too few steps have requests, CPU and latency together to fit the latency model; a step needs ten"
    " requests."
)
NO_REQUESTS = "No request was served in the last validity window, so there is no load to plan for."


def no_objective(annotations: Mapping[str, str]) -> str:
    """States that there is no objective: none was stated, or the annotation makes no sense."""
    stated = {name: annotations[name] for name in _ANNOTATIONS if name in annotations}
    if not stated:
        return NO_OBJECTIVE
    written = ", ".join(f"{name}: {value!r}" for name, value in stated.items())
    return f"The annotations {written} state no latency objective: write milliseconds and a quantile below 1."


def objective(slo: Slo) -> str:
    """Prints an objective: "p99 below 250 ms"."""
    return f"p{100 * slo.quantile:g} below {slo.latency_ms:g} ms"


def owned_requests(owner: str) -> str:
    """States that limits are not ours to set."""
    return (
        f"A {owner} sets requests and limits of this workload and would undo a change. Set its mode to Off"
        " to get a recommendation."
    )


def not_identified(reason: str, slo: Slo, missed: float, exhausted: Bottleneck | None) -> str:
    """States why no law could be identified, with what is known all the same."""
    known = f" {exhausted.text}" if exhausted is not None else ""
    return f"{reason[0].upper()}{reason[1:]}. {share_missed(slo, missed)}{known}"


def share_missed(slo: Slo, missed: float) -> str:
    """States how much missed the objective."""
    return f"{missed:.1%} of the requests came in steps that missed the objective ({objective(slo)})."


def not_by_resources(slo: Slo, missed: float, cause: Bottleneck) -> str:
    """States that neither CPU nor replicas keep the objective, and what holds it."""
    if cause.measured:
        return f"CPU and replicas are not the bottleneck. {share_missed(slo, missed)} {cause.text}"
    return (
        "No CPU limit and no number of replicas up to three times the current is predicted to meet"
        f" {objective(slo)}. {share_missed(slo, missed)} {cause.text}"
    )


def unexplained(slo: Slo, missed: float, predictor: LatencyPredictor) -> str:
    """States that load does not explain what missed the objective."""
    now, _ = predictor.current_and_unlimited_ms()
    return (
        f"{share_missed(slo, missed)} Load does not explain it: the model predicts {now:.0f} ms at the busy"
        " load, so limits and replicas would not help. Look for other causes in those steps."
    )


def owned_replicas(cause: Bottleneck, remedy: LatencyRemedy) -> str:
    """States what replicas it would take where an autoscaler sets them."""
    return (
        f"{cause.text} {remedy.replicas} replicas would meet the objective, but an autoscaler sets them:"
        " raise its minimum or lower its target, as SCALING_OPTIMIZATION recommends."
    )


def keep(slo: Slo, validity: timedelta) -> str:
    """Describes that nothing changes."""
    days = validity.total_seconds() / 86_400
    return f"No change needed: {objective(slo)} is met and expected to be for the next {days:g} days."


def move(state: WorkloadState, history: ReplicaHistory, remedy: LatencyRemedy, slo: Slo) -> str:
    """Describes the move."""
    if remedy.limit_cores is not None:
        container = state.container(history.container)
        before = None if container is None else container.cpu_limit_cores
        was = "" if before is None else f" from {format_cpu(before)}"
        limit = format_cpu(remedy.limit_cores)
        return f"Raise cpu_limit of {history.container}{was} to {limit} to meet {objective(slo)}."
    return f"Run {remedy.replicas} replicas instead of {state.replicas or 1} to meet {objective(slo)}."


def objective_met(slo: Slo, missed_share: float) -> Reason:
    """The reason for staying."""
    return Reason(
        code="slo_kept", text=share_missed(slo, missed_share), data={"missed_share": round(missed_share, 4)}
    )


def missed(slo: Slo, missed_share: float) -> Reason:
    """The reason for moving."""
    return Reason(
        code="slo_missed", text=share_missed(slo, missed_share), data={"missed_share": round(missed_share, 4)}
    )


def predicted(slo: Slo, predictor: LatencyPredictor, remedy: LatencyRemedy) -> Reason:
    """What the move is expected to give at the busy load."""
    now = float(predictor.latency_ms(predictor.limit_cores)[0])
    return Reason(
        code="predicted_at_busy_load",
        text=(
            f"At the busy load ({predictor.busy_rate:.3g} requests/s a replica, P95) the model predicts"
            f" {remedy.busy_ms:.0f} ms instead of {now:.0f} ms: the smallest change that meets the objective"
            f" with a margin of {MARGIN - 1:.0%}."
        ),
        data={"busy_latency_ms": round(remedy.busy_ms, 1), "busy_latency_now_ms": round(now, 1)},
    )


def slack(slo: Slo, predictor: LatencyPredictor, smaller: LatencyRemedy | None) -> Reason:
    """How much of the CPU the objective does not need: for COST to weigh."""
    now = float(predictor.latency_ms(predictor.limit_cores)[0])
    data: dict[str, Any] = {
        "slo_latency_ms": slo.latency_ms,
        "quantile": slo.quantile,
        "busy_latency_ms": round(now, 1),
        "latency_slack_ms": round(slo.latency_ms - now, 1),
        "cpu_limit_cores": predictor.limit_cores,
        "least_cpu_limit_cores": predictor.limit_cores if smaller is None else smaller.limit_cores,
    }
    if smaller is None or smaller.limit_cores is None:
        return Reason(
            code="slo_slack",
            text=f"The objective needs all of the CPU: at the busy load the model predicts {now:.0f} ms.",
            data=data,
        )
    return Reason(
        code="slo_slack",
        text=(
            f"A CPU limit of {format_cpu(smaller.limit_cores)} instead of {format_cpu(predictor.limit_cores)}"
            f" would meet the objective: at the busy load the model predicts {smaller.busy_ms:.0f} ms."
        ),
        data=data,
    )
