"""What a strategy wants and what decides between two that want different things."""

from dataclasses import dataclass
from typing import Any

from perfopt.domain.enums import OptimizationType, ServiceClass
from perfopt.domain.fields import (
    BASIS,
    HPA_CPU,
    HPA_MAX,
    HPA_MEMORY,
    HPA_MIN,
    REPLICAS,
    SCHEDULE,
    Path,
    all_fields,
    diff,
    is_cpu_request,
    is_knob,
    is_memory,
)
from perfopt.domain.service_class import UNDER_PROVISIONING_PENALTIES
from perfopt.domain.workload import WorkloadState
from perfopt.metrics.latency import missed_share
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.plugin.strategy import Proposal

FOR_SLO, MEMORY_SAFETY, JOINT, BY_VALUE, SIZE_ALONE = 3, 2, 1, 0, -1
_SIZE = "size"
_PER_CONTAINER = (OptimizationType.RESOURCE_OPTIMIZATION, OptimizationType.PERFORMANCE_TUNING)
_APART = frozenset({"node_type", "spot_share", "schedule", "off_hours", "topology_spread_constraints"})


@dataclass(frozen=True, slots=True)
class Bid:
    """A proposal and what it is worth.

    Attributes:
        key: of the strategy.
        confidence: probability that it keeps its word.
        value: expected money × confidence − risk of breach, per month; see `standing`.
        for_slo: without it, the declared objective is predicted to be missed.
    """

    key: str
    proposal: Proposal
    confidence: float
    value: float
    for_slo: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Fields of one bid that make sense only together: all are taken, or none.

    Attributes:
        values: field to the value wanted.
        rank: what it stands for before value is looked at: FOR_SLO, MEMORY_SAFETY, JOINT, BY_VALUE, or
            SIZE_ALONE: sizes of COST without replicas or a node type, which are RESOURCE's to say.
    """

    bid: Bid
    values: dict[Path, Any]
    rank: int

    @property
    def order(self) -> tuple[float, ...] | tuple[Any, ...]:
        """Sorts groups by who is heard first, whatever order the plugins came in."""
        return (-self.rank, -self.bid.value, -self.bid.confidence, self.bid.key, sorted(self.values))


def standing(now: float | None, then: float | None, confidence: float, service_class: ServiceClass) -> float:
    """Returns what decides between two bids: saving × confidence − (1 − confidence) × cost of a breach.

    A broken word costs UNDER_PROVISIONING_PENALTIES of the service's class times the monthly cost of what was
    recommended, the trade that sizes are chosen by too (perfopt.learn.policy).

    Args:
        now: monthly cost of the current state; None is unknown.
        then: monthly cost of the target; None is unknown.
        confidence: probability that the word is kept.
        service_class: of the service.
    """
    if then is None:
        return 0.0
    saving = 0.0 if now is None else now - then
    return saving * confidence - (1 - confidence) * UNDER_PROVISIONING_PENALTIES[service_class] * then


def preferred(value: float, preference: float) -> float:
    """Returns a value times the factor that rules put on it; what is below zero is divided by it."""
    if value >= 0 or preference <= 0:
        return value * preference
    return value / preference


def needed_for_slo(proposal: Proposal, snapshot: WorkloadSnapshot) -> bool:
    """Tells whether the declared objective is missed, or predicted to be, if nothing changes.

    It is missed where more requests than its quantile leaves came in steps that missed it.
    """
    slo = snapshot.workload.slo
    if slo is None or proposal.optimization_type is not OptimizationType.LATENCY_OPTIMIZATION:
        return False
    interval, point = proposal.claim.latency_now_interval_ms, proposal.claim.latency_now_ms
    expected = interval[1] if interval is not None else point
    if expected is not None and expected > slo.latency_ms:
        return True
    return missed_share(snapshot.service, slo.quantile, slo.latency_ms) > 1 - slo.quantile


def groups(bid: Bid, current: WorkloadState) -> list[Group]:
    """Returns the changes of a bid, split into what must stay together."""
    split: dict[object, dict[Path, Any]] = {}
    for path, value in diff(current, bid.proposal.target).items():
        split.setdefault(_together(bid.proposal.optimization_type, path), {})[path] = value
    before = all_fields(current)
    return [Group(bid, values, _rank(bid, values, before)) for values in split.values()]


def _together(kind: OptimizationType, path: Path) -> object:
    """Returns what a field belongs to: sizes and replicas of a joint solution, or one container's cpu."""
    if kind in _PER_CONTAINER:
        if is_knob(path):
            return (path[1], "cpu")
        return (path[1], "memory" if is_memory(path) else "cpu") if path[0] == "container" else path
    if kind is OptimizationType.COST_OPTIMIZATION and path[0] == "extra" and path[1] in _APART:
        return "schedule" if path[1] in ("schedule", "off_hours") else path
    return _SIZE


def _rank(bid: Bid, values: dict[Path, Any], before: dict[Path, Any]) -> int:
    if bid.for_slo:
        return FOR_SLO
    memory_alone = all(is_memory(path) for path in values)  # with replicas it rises because those fall
    if memory_alone and any(_raised(before.get(path), value) for path, value in values.items()):
        return MEMORY_SAFETY
    joint = (HPA_CPU in values or HPA_MEMORY in values) and any(is_cpu_request(path) for path in values)
    if joint:
        return JOINT
    alone = all(path[0] == "container" or path == BASIS for path in values)
    cost = bid.proposal.optimization_type is OptimizationType.COST_OPTIMIZATION
    return SIZE_ALONE if cost and alone else BY_VALUE


def _raised(before: Any, after: Any) -> bool:
    return before is not None and after is not None and after > before


def held(group: Group) -> dict[Path, Any]:
    """Returns what a group was computed with: less of any of it would break what it means.

    An objective's bid rests on limits and replicas; a plan of replicas on the request that each will have.
    """
    bid = group.bid
    target = all_fields(bid.proposal.target)
    if group.rank == FOR_SLO:
        replicas = (REPLICAS, HPA_MIN, HPA_MAX)
        limits = [path for path in target if path[0] == "container" and path[2] == "cpu_limit_cores"]
        return {path: target[path] for path in (*replicas, *limits) if path in target}
    if bid.proposal.optimization_type is not OptimizationType.SCALING_OPTIMIZATION:
        return {}
    plans = any(path in group.values for path in (REPLICAS, HPA_MIN, SCHEDULE))
    return {path: value for path, value in target.items() if plans and is_cpu_request(path)}
