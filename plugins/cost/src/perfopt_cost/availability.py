"""What availability asks for: how many replicas, in how many zones, and how many survive the loss of one."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from perfopt.plugin import AnalysisContext, Array, Reason, ServiceClass, Workload

ZONE, NODE = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
CONSTRAINTS = "topology_spread_constraints"
ASSUMED_ZONES = 2
_NAMES = ("app.kubernetes.io/name", "app", "k8s-app")
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class AvailabilityNeeds:
    """What the class of a service asks for.

    Attributes:
        floor: the fewest replicas at any time.
        zones: how many zones its nodes are in; ASSUMED_ZONES where that is not known.
        known: whether it is.
        carries: those that a lost zone leaves have to carry the load of the hour.
    """

    floor: int
    zones: int
    known: bool
    carries: bool

    @property
    def spread(self) -> bool:
        """Whether there is anything to spread, and zones to spread it over."""
        return self.floor > 1 and self.zones > 1


def availability_of(workload: Workload, running: int) -> AvailabilityNeeds:
    """Returns what a workload of so many replicas needs.

    A critical service outlives the loss of a zone, under load; a standard one that has two replicas keeps
    two, in two zones where it can.
    """
    kind = workload.service_class
    floor = {ServiceClass.CRITICAL: 2, ServiceClass.STANDARD: min(running, 2)}.get(kind, 1)
    zones = len(workload.zones) or ASSUMED_ZONES
    return AvailabilityNeeds(floor, zones, bool(workload.zones), kind is ServiceClass.CRITICAL and zones > 1)


def survivors(replicas: int, zones: int) -> int:
    """Returns how many of evenly spread replicas outlive the loss of the fullest zone."""
    return replicas * (zones - 1) // zones


def fewest(left: Array, zones: int) -> Array:
    """Returns the fewest replicas of which at least `left` outlive the loss of a zone; zones >= 2."""
    replicas: Array = np.ceil(np.asarray(left, dtype=np.float64) * zones / (zones - 1) - _ROUNDING)
    return replicas


def constraints(context: AnalysisContext, needs: AvailabilityNeeds) -> list[dict[str, Any]]:
    """Returns the topologySpreadConstraints that the recommendation rests on, as a manifest has them.

    Existing ones stay. Pods are refused only where a critical service is known to have zones.
    """
    workload = context.snapshot.workload
    current: list[dict[str, Any]] = workload.state.extra.get(CONSTRAINTS) or []
    key = ZONE if needs.spread else NODE
    if needs.floor < 2 or any(one.get("topologyKey") == key for one in current):
        return current
    must = needs.carries and needs.known
    constraint: dict[str, Any] = {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "DoNotSchedule" if must else "ScheduleAnyway",
    }
    name = next((label for label in _NAMES if label in workload.labels), None)
    if name is not None:
        constraint["labelSelector"] = {"matchLabels": {name: workload.labels[name]}}
    return [*current, constraint]


def reasons(kind: ServiceClass, needs: AvailabilityNeeds) -> tuple[Reason, ...]:
    """States what availability narrows; nothing where it does not."""
    if needs.floor == 1:
        return ()
    if needs.zones == 1:
        where = ", on nodes of their own where there are any: the loss of its one zone takes it down"
    elif needs.known:
        where = f", spread over {needs.zones} zones"
    else:
        where = f", in at least {needs.zones} zones (which it has is not known)"
    text = f"As a {kind.value} service it keeps at least {needs.floor} replicas{where}."
    data = {"min_replicas": needs.floor, "zones": needs.zones, "zones_known": needs.known}
    return (Reason(code="availability", text=text, data=data),)
