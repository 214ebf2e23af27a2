"""What a recommended state is expected to bring, against what a workload has. Pure."""

from perfopt.domain.enums import Basis
from perfopt.domain.recommendation import ExpectedImprovement, Reason
from perfopt.domain.workload import WorkloadState
from perfopt.engine.hours import hours_reason
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.plugin.strategy import Claim


def expected_improvement(
    claim: Claim,
    snapshot: WorkloadSnapshot,
    current: float | None,
    recommended: float | None,
    probability: float,
) -> tuple[ExpectedImprovement, tuple[Reason, ...]]:
    """Computes the expected improvement of a recommendation, with the reason where a part of it is zero.

    Args:
        claim: expected by the strategy beside safe resources.
        snapshot: tells whether there is latency data.
        current: monthly cost of the current state; None is unknown.
        recommended: monthly cost of the recommended state; None is unknown.
        probability: the confidence.
    """
    reasons: list[Reason] = [*hours_reason(snapshot), *_init_reason(snapshot.workload.state)]
    cost = None
    if current is None or recommended is None:
        text = (
            "No cost reduction is stated: the current requests are unknown, so there is no cost to compare."
        )
        reasons.append(Reason(code="cost_unknown", text=text))
    elif current <= 0:
        text = "No cost reduction is stated: nothing is requested now."
        reasons.append(Reason(code="cost_unknown", text=text))
    else:
        cost = round(100 * (current - recommended) / current, 2) + 0.0  # never -0.0
    if snapshot.workload.state.basis is Basis.ASSUMED_FROM_LIMIT:
        text = "Saving assumed from limits: the source has no requests, they are taken to equal the limits."
        reasons.append(Reason(code="baseline_assumed_from_limit", text=text))
    fall = None
    if claim.latency_now_ms is not None and claim.latency_ms is not None:
        fall = claim.latency_now_ms - claim.latency_ms
    if fall is None and claim.performance_gain_percent is None:
        reasons.append(_no_latency(snapshot))
    improvement = ExpectedImprovement(
        performance_gain_percent=round(claim.performance_gain_percent or 0.0, 2),
        cost_reduction_percent=cost,
        latency_reduction_ms=round(fall or 0.0, 3),
        confidence=probability,
    )
    return improvement, tuple(reasons)


def _init_reason(state: WorkloadState) -> tuple[Reason, ...]:
    """Returns the reason why small requests save nothing: init containers; none without such."""
    if state.init is None:
        return ()
    printed = state.init.to_map()
    text = (
        f"The largest init container requests {printed['cpu_request']} CPU and {printed['memory_request']}"
        " memory: no less is reserved for a pod, so requests below it save nothing."
    )
    return (Reason(code="init_containers", text=text, data=printed),)


def _no_latency(snapshot: WorkloadSnapshot) -> Reason:
    if any(name.startswith("latency_") for name in snapshot.service):
        return Reason(code="no_latency_claim", text="No change of latency is expected.")
    return Reason(
        code="no_latency_data", text="No change of latency is expected: the source has no latency data."
    )


def rounded(money: float | None) -> float | None:
    """Returns money rounded as it is printed."""
    return None if money is None else round(money, 4)
