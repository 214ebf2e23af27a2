"""Makes the values taken from several proposals fit each other, so that what each one meant still holds."""

import math
from dataclasses import dataclass, field
from typing import Any

from perfopt.domain.fields import (
    HPA_CPU,
    HPA_MAX,
    HPA_MEMORY,
    HPA_MIN,
    REPLICAS,
    REQUEST_LIMIT_PAIRS,
    Path,
    Values,
    all_fields,
    container_path,
    is_cpu_request,
    label,
    print_value,
    with_fields,
)
from perfopt.domain.recommendation import Reason
from perfopt.domain.workload import WorkloadState
from perfopt.engine.plan.reconcile import MergedFields
from perfopt.engine.plan.scored import FOR_OBJECTIVE, ScoredProposal

_SCALED_OBJECT: Path = ("extra", "keda_scaled_object")
_FULL = 100  # percent: a target above it lets pods live on what they did not reserve
_TARGETS = ((HPA_CPU, "cpu_request_cores", "cpu"), (HPA_MEMORY, "memory_request_bytes", "memory"))


AUTOSCALER_TARGETS = tuple(path for path, _, _ in _TARGETS)


@dataclass(slots=True)
class FittedState:
    """A state whose parts fit.

    Attributes:
        values: field to value, of all that was taken or adjusted.
        reasons: field to what was adjusted there and why.
    """

    current: WorkloadState
    values: dict[Path, Any]
    reasons: dict[Path, Reason] = field(default_factory=dict)
    _state: WorkloadState | None = None

    @property
    def state(self) -> WorkloadState:
        """The state as it would be."""
        if self._state is None:
            self._state = with_fields(self.current, self.values)
        return self._state

    def update(self, values: Values) -> None:
        """Changes values that need no reason of ours."""
        self.values.update(values)
        self._state = None

    def set(self, path: Path, value: Any, code: str, why: str) -> None:
        """Changes a value and says why."""
        was = self.values.get(path, all_fields(self.current).get(path))
        text = f"{label(path)} is {print_value(path, value)} instead of {print_value(path, was)}: {why}"
        self.reasons[path] = Reason(code=code, text=text)
        self.update({path: value})


def fit_together(current: WorkloadState, merged: MergedFields) -> FittedState:
    """Returns the state that the values taken make, adjusted so that they fit each other.

    Requests times replicas stay what the request's owner meant them to be where another takes replicas away;
    an autoscaler's target times the request stays what the target's owner meant, so that a request never
    moves replicas by itself; no limit is below its request; replicas are within the autoscaler's bounds.
    """
    result = FittedState(current, dict(merged.values))
    _spread_over_fewer(result, merged)
    _limits(result)
    for target, quantity, resource in _TARGETS:
        owner = _owner(merged, target)
        meant = current if owner is None else owner.proposal.target
        _hold_operating_point(result, meant.total(quantity), target, quantity, resource)
    _autoscaler_bounds(result, merged)
    _scaled_object(result)
    return result


def fit_alone(current: WorkloadState, values: Values, meant: WorkloadState | None = None) -> FittedState:
    """Returns the state that some of the plan's values make without the rest of it.

    A request that moves without its autoscaler's target takes the target along, and a target is one for the
    requests that will be in force.

    Args:
        current: the state of the workload.
        values: of the plan, those of one proposal.
        meant: the state whose requests an autoscaler's target among the values is a share of; None is what
            the values make.
    """
    result = FittedState(current, dict(values))
    _limits(result)
    for target, quantity, resource in _TARGETS:
        requests = current if target not in values else meant or result.state
        _hold_operating_point(result, requests.total(quantity), target, quantity, resource)
    _autoscaler_bounds(result, MergedFields())
    _scaled_object(result)
    return result


def _owner(merged: MergedFields, path: Path) -> ScoredProposal | None:
    return next(iter(merged.owners.get(path, ())), None)


def _spread_over_fewer(result: FittedState, merged: MergedFields) -> None:
    """Keeps replicas × request where requests were meant for more replicas than there will be."""
    after = result.state
    if after.hpa is not None or after.replicas is None or after.replicas < 1:
        return
    for path in [path for path in merged.values if is_cpu_request(path)]:
        owner = _owner(merged, path)
        meant = None if owner is None else owner.proposal.target.replicas
        request = result.values[path]
        if meant is not None and meant > after.replicas and request is not None:
            grown = math.ceil(round(request * meant / after.replicas * 1000, 6)) / 1000
            why = f"it was meant for {meant} replicas, and there will be {after.replicas}."
            result.set(path, grown, "request_spread_over_fewer_replicas", why)


def _limits(result: FittedState) -> None:
    for container in result.state.containers:
        for request, limit in REQUEST_LIMIT_PAIRS:
            requested, allowed = getattr(container, request), getattr(container, limit)
            if requested is not None and allowed is not None and allowed < requested:
                why = "a limit can't be below its request."
                result.set(container_path(container.name, limit), requested, "limit_follows_request", why)


def _hold_operating_point(
    result: FittedState, meant: float | None, target: Path, quantity: str, resource: str
) -> None:
    """Rescales an autoscaler's target, a share of the request, to the request that there will be."""
    after = result.state
    if after.hpa is None:
        return
    percent, there = getattr(after.hpa, target[1]), after.total(quantity)
    if percent is None or not meant or not there or meant == there:
        return
    scaled = max(1, math.floor(percent * meant / there + 1e-9))
    if meant > there:  # a smaller request: no further than full, where the target was not above it before
        scaled = min(scaled, max(_FULL, percent))
    if scaled != percent:
        why = f"so the {resource} at which a replica is added stays when the request changes."
        result.set(target, scaled, "hpa_target_follows_request", why)


def _autoscaler_bounds(result: FittedState, merged: MergedFields) -> None:
    after = result.state
    if after.hpa is None:
        return
    lowest, highest = after.hpa.min_replicas, after.hpa.max_replicas
    if merged.ranks.get(REPLICAS) == FOR_OBJECTIVE and after.replicas is not None and after.replicas > lowest:
        lowest = after.replicas
        result.set(HPA_MIN, lowest, "hpa_min_for_objective", "the objective needs as many replicas.")
    if lowest > highest:
        result.set(HPA_MAX, lowest, "hpa_max_follows_min", "it can't be below the minimum.")
        highest = lowest
    # An autoscaler leaves a workload alone that was scaled to zero.
    if after.replicas and not lowest <= after.replicas <= highest:
        value = min(max(after.replicas, lowest), highest)
        result.set(REPLICAS, value, "replicas_within_hpa", "the autoscaler keeps them within its bounds.")


def _scaled_object(result: FittedState) -> None:
    """Has KEDA's ScaledObject say what the autoscaler's settings say: it is another form of them."""
    hpa, given = result.state.hpa, result.values.get(_SCALED_OBJECT)
    if hpa is None or not isinstance(given, dict) or not isinstance(given.get("spec"), dict):
        return
    percents = {"cpu": hpa.target_cpu_utilization_percent, "memory": hpa.target_memory_utilization_percent}
    spec = given["spec"] | {
        "minReplicaCount": hpa.min_replicas,
        "maxReplicaCount": hpa.max_replicas,
        "triggers": [_trigger(trigger, percents) for trigger in given["spec"].get("triggers", ())],
    }
    if spec != given["spec"]:
        result.update({_SCALED_OBJECT: given | {"spec": spec}})


def _trigger(trigger: dict[str, Any], percents: dict[str, int | None]) -> dict[str, Any]:
    percent = percents.get(trigger.get("type", ""))
    if percent is None or trigger.get("metricType") != "Utilization":
        return trigger
    return trigger | {"metadata": trigger.get("metadata", {}) | {"value": str(percent)}}
