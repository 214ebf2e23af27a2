"""What may be changed of a workload, and how far: owners, availability, load of a pod, latency."""

from collections.abc import Sequence
from dataclasses import dataclass

from perfopt.plugin import (
    AnalysisContext,
    Reason,
    ServiceClass,
    Workload,
    WorkloadState,
    replicas_owner,
    requests_owner,
    utilization_target,
)
from perfopt_cost.availability import AvailabilityNeeds, availability_of, reasons
from perfopt_cost.demand import ContainerDemand
from perfopt_cost.objective import LatencyHeadroom, latency_headroom

SPOT_SHARE = {ServiceClass.CRITICAL: 0.0, ServiceClass.STANDARD: 0.5, ServiceClass.BATCH: 1.0}
MORE_THAN_SEEN = 1.25
_SCALABLE = ("", "deployment", "statefulset", "rollout")


@dataclass(frozen=True, slots=True)
class AllowedChanges:
    """What the model may choose.

    Attributes:
        cpu, memory: whether requests may change.
        replicas: whether their number may.
        running: replicas now, at least 1.
        floor: the fewest that availability allows at any time.
        least: the fewest at the peak.
        spot_share: of the replicas, at most.
        steady: replicas that must run on demand: without those on spot, availability is kept.
        load: times the peak load of a replica that an autoscaler may let it rise to.
        availability: what the class asks for.
        reasons: what narrowed it.
    """

    cpu: bool
    memory: bool
    replicas: bool
    running: int
    floor: int
    least: int
    spot_share: float
    steady: int
    load: float
    availability: AvailabilityNeeds
    reasons: tuple[Reason, ...]


def allowed_changes(context: AnalysisContext, needed: Sequence[ContainerDemand]) -> AllowedChanges:
    """Returns what may be changed of the workload.

    Args:
        context: tells the workload and its latency.
        needed: of each container: what is not measured may be what the replicas are for.
    """
    workload, state = context.snapshot.workload, context.snapshot.workload.state
    running = max(state.replicas or 1, 1)
    unmeasured = unmeasured_requests(state, needed)
    owned = replicas_owner(state) is not None or bool(unmeasured)
    scaled = workload.id.kind.lower() in _SCALABLE and state.replicas is not None
    scalable = scaled and not owned
    needs = availability_of(workload, running)
    left = latency_headroom(context, running) if scaled else LatencyHeadroom(running)
    movable = scalable and workload.id.kind.lower() != "statefulset"
    floor = max(needs.floor, running if left.held else 1)
    return AllowedChanges(
        cpu=_free(workload, "cpu"),
        memory=_free(workload, "memory"),
        replicas=scalable,
        running=running,
        floor=floor,
        least=max(floor, left.least if scalable else running),
        spot_share=SPOT_SHARE[workload.service_class] if movable else 0.0,
        steady=0 if workload.service_class is ServiceClass.BATCH else needs.floor,
        load=left.load,
        availability=needs,
        reasons=(
            *_owners(state),
            *_unmeasured(unmeasured),
            *left.reasons,
            *(reasons(workload.service_class, needs) if scaled else ()),
        ),
    )


def _free(workload: Workload, resource: str) -> bool:
    """Returns whether a request may change: nothing sets it, and no autoscaler may measure use against it."""
    owned = requests_owner(workload.state) or utilization_target(workload.state, resource)
    return not owned and not workload.unknown_autoscalers


def unmeasured_requests(state: WorkloadState, needed: Sequence[ContainerDemand]) -> tuple[str, ...]:
    """Returns the requests of resources whose use is not measured, as `container.field`."""
    fields = []
    for container, need in zip(state.containers, needed, strict=True):
        fields += [f"{container.name}.cpu_request"] if container.cpu_request_cores and not need.cpu else []
        fields += (
            [f"{container.name}.memory_request"] if container.memory_request_bytes and not need.memory else []
        )
    return tuple(fields)


def _unmeasured(names: Sequence[str]) -> list[Reason]:
    if not names:
        return []
    text = (
        f"Replicas are not changed: use of what {', '.join(names)} is for has no samples, so what fewer would"
        " carry is unknown."
    )
    return [Reason(code="use_not_measured", text=text, data={"requests": list(names)})]


def _owners(state: WorkloadState) -> list[Reason]:
    owners = []
    owner = requests_owner(state)
    if owner:
        text = f"A {owner} owns the requests: they stay as they are."
        owners.append(Reason(code="vpa_owned", text=text))
    owner = replicas_owner(state)
    if owner:
        text = f"A {owner} owns the replicas: their number is left to it."
        owners.append(Reason(code="replicas_owned", text=text))
    return owners


def carries(need: ContainerDemand, request: float | None, load: float) -> bool:
    """Returns whether a replica may be asked to carry so many times its present load.

    No more than it requests today, or a quarter more than it was ever seen to use: that a process can use
    more cores than it has ever had is not known.
    """
    if need.cpu is None or load <= 1:
        return True
    return need.cpu.value * load <= max(request or 0.0, MORE_THAN_SEEN * need.cpu_seen)
