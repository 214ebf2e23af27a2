"""What may be changed of a workload, and how far: owners, availability, load of a pod, latency."""

import math
from dataclasses import dataclass

from perfopt.plugin import AnalysisContext, Reason, ServiceClass, realised_latency
from perfopt_cost.demand import Need

SPOT_SHARE = {ServiceClass.CRITICAL: 0.0, ServiceClass.STANDARD: 0.5, ServiceClass.BATCH: 1.0}
ZONES = 2  # a critical service is spread over at least so many
MORE_THAN_SEEN = 1.25
_SCALABLE = ("", "deployment", "statefulset", "rollout")
_HIGHEST_UTILISATION = 0.95


@dataclass(frozen=True, slots=True)
class Freedom:
    """What the programme may choose.

    Attributes:
        cpu, memory: whether requests may change.
        replicas: whether their number may.
        running: replicas now, at least 1.
        floor: the fewest that availability allows at any time.
        least: the fewest at the peak.
        spot_share: of the replicas, at most.
        steady: replicas that must run on demand.
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
    reasons: tuple[Reason, ...]


def freedom_of(context: AnalysisContext, needs: list[Need]) -> Freedom:
    """Returns what may be changed of the workload."""
    workload, state = context.snapshot.workload, context.snapshot.workload.state
    hpa, reasons = state.hpa, []
    vpa = state.vpa_mode is not None and state.vpa_mode != "Off"
    if vpa:
        text = f"A VerticalPodAutoscaler in mode {state.vpa_mode} owns the requests: they stay as they are."
        reasons.append(Reason(code="vpa_owned", text=text))
    owner = "HorizontalPodAutoscaler" if hpa else f"KEDA ScaledObject {state.keda}" if state.keda else None
    if owner:
        text = f"A {owner} owns the replicas: their number is left to it."
        reasons.append(Reason(code="replicas_owned", text=text))
    scalable = workload.id.kind.lower() in _SCALABLE and state.replicas is not None and not owner
    running = max(state.replicas or 1, 1)
    floor = availability_floor(workload.service_class, running)
    at_peak, why = _at_peak(context, needs, running) if scalable else (running, ())
    movable = scalable and workload.id.kind.lower() != "statefulset"
    return Freedom(
        cpu=not vpa and (hpa is None or hpa.target_cpu_utilization_percent is None),
        memory=not vpa and (hpa is None or hpa.target_memory_utilization_percent is None),
        replicas=scalable,
        running=running,
        floor=floor,
        least=max(floor, at_peak),
        spot_share=SPOT_SHARE[workload.service_class] if movable else 0.0,
        steady=0 if workload.service_class is ServiceClass.BATCH else 1,
        reasons=(*reasons, *why, *_availability(workload.service_class, floor, scalable=scalable)),
    )


def availability_floor(kind: ServiceClass, running: int) -> int:
    """Returns the fewest replicas: one a zone of a critical service, two of a standard one that has two."""
    if kind is ServiceClass.CRITICAL:
        return ZONES
    return min(running, 2) if kind is ServiceClass.STANDARD else 1


def _availability(kind: ServiceClass, floor: int, *, scalable: bool) -> tuple[Reason, ...]:
    if not scalable or floor == 1:
        return ()
    spread = f", in at least {ZONES} zones" if kind is ServiceClass.CRITICAL else ""
    text = f"As a {kind.value} service it keeps at least {floor} replicas{spread}."
    return (Reason(code="availability", text=text, data={"min_replicas": floor}),)


def _at_peak(context: AnalysisContext, needs: list[Need], running: int) -> tuple[int, tuple[Reason, ...]]:
    """Returns the fewest replicas at the peak: no more than halved, and within the latency objective."""
    halved = math.ceil(running / 2)
    slo = context.snapshot.workload.slo
    if slo is None:
        return halved, ()
    realised = realised_latency(context.snapshot.service, slo.quantile)
    if realised is None:
        text = f"There is an SLO of {slo.latency_ms:g} ms and no latency to hold it to: no replica goes."
        return running, (Reason(code="slo_unchecked", text=text),)
    factor = _allowed_load(_utilisation(context, needs), slo.latency_ms / realised)
    least = max(halved, math.ceil(running / factor - 1e-9))
    text = (
        f"The SLO of {slo.latency_ms:g} ms leaves room for {factor:.2f} times the load on a replica"
        f" (latency was {realised:.0f} ms): at least {least} replicas at the peak."
    )
    return least, (Reason(code="slo", text=text, data={"realised_ms": round(realised, 3)}),)


def _utilisation(context: AnalysisContext, needs: list[Need]) -> float:
    """Returns the share of its cpu that the fullest container needs at the peak."""
    shares = [0.0]
    for need in needs:
        container = context.snapshot.workload.state.container(need.name)
        assert container is not None
        has = container.cpu_limit_cores or container.cpu_request_cores
        if need.cpu is not None and has:
            shares.append(need.cpu.value / has)
    return min(max(shares), _HIGHEST_UTILISATION)


def _allowed_load(utilisation: float, room: float) -> float:
    """Returns how many times the load keeps latency within `room` times what it is.

    In an M/M/1 queue every quantile of latency is proportional to 1 / (1 - utilisation) (Kleinrock 1975,
    Queueing Systems I, 3.2): the utilisation at `room` times the latency is 1 - (1 - utilisation) / room.
    """
    if room <= 1 or utilisation <= 0:
        return 1.0
    return (1 - (1 - utilisation) / room) / utilisation


def carries(need: Need, request: float | None, load: float) -> bool:
    """Returns whether a replica may be asked to carry so many times its present load.

    No more than it requests today, or a quarter more than it was ever seen to use: that a process can use
    more cores than it has ever had is not known.
    """
    if need.cpu is None or load <= 1:
        return True
    return need.cpu.value * load <= max(request or 0.0, MORE_THAN_SEEN * need.cpu_seen)
