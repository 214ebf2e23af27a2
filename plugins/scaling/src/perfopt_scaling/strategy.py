"""SCALING_OPTIMIZATION: an HPA that aims right, and a minimum that rises before demand does."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from perfopt.plugin import (
    AnalysisContext,
    Array,
    Claim,
    Container,
    DeclineCode,
    Declined,
    ForecastSpec,
    MergeHints,
    OptimizationType,
    Prior,
    Proposal,
    ServiceClass,
    Workload,
    WorkloadState,
    decline,
    replicas_within_quota,
    unseen_triggers,
)
from perfopt_scaling import text
from perfopt_scaling.capacity import FULL, HPA_TOLERANCE, ReplicaCapacity, capacity
from perfopt_scaling.demand import TotalDemand, total_demand
from perfopt_scaling.forecast import TOTAL_DEMAND, DemandForecast, windows_need
from perfopt_scaling.joint import RequestTarget, solve
from perfopt_scaling.memory import fewest_by_memory
from perfopt_scaling.needed import staying_is_enough
from perfopt_scaling.settings import (
    SCALE_TARGETS,
    entries_allowed,
    hpa,
    scaled_object,
    schedule,
    with_fewer_entries,
)
from perfopt_scaling.stopped import stopped_blocks

_TYPE = OptimizationType.SCALING_OPTIMIZATION


@dataclass(frozen=True, slots=True)
class ClassRisk:
    """The risk of too few replicas that a class of services takes.

    Attributes:
        quantile: probability that a block of the plan is enough.
        windows_share: share of past stretches as long as the validity for which a minimum without a schedule
            would have been enough.
        growth_quantile: quantile of the growth of demand during a replica's start that the target covers.
        min_replicas: that always run, where so many run now.
        window_seconds: for which an HPA remembers higher recommendations.
    """

    quantile: float
    windows_share: float
    growth_quantile: float
    min_replicas: int
    window_seconds: int


RISK_BY_CLASS = {
    ServiceClass.CRITICAL: ClassRisk(0.998, 1.0, 0.999, 2, 600),
    ServiceClass.STANDARD: ClassRisk(0.99, 0.95, 0.995, 2, 300),
    ServiceClass.BATCH: ClassRisk(0.95, 0.8, 0.98, 1, 300),
}
MORE_HEADROOM = 0.15  # of the request: what the target gives up where the forecast is not trusted
MIN_TARGET = 0.30
MIN_SAVING_PERCENT = 5.0
CAUTION_POINTS = 3.0
MAX_ADDED_BY_ENTRIES = 0.25  # of the planned replica-hours: beyond, a schedule of few entries is refused
_NEARLY_NEVER = 0.05  # of the steps: while replicas start and stop, fewer run


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """Replicas over the validity.

    Attributes:
        cores: that the floors are planned for, by block, shape (blocks,).
        floors: minimum by block, shape (blocks,).
        expected: replicas that are expected to run, by block.
        stopped: whether nothing is expected to run in a block: floors and expected are 0 there.
        joint: request and target.
        trusted: whether the forecast is; without it the minimum is one number.
        by_memory: the minimum that the memory of a pod asks for; None where cpu asks for as many.
        by_quota: the most that the namespace's quotas take; None where that is enough.
    """

    cores: Array
    floors: NDArray[np.int64]
    expected: NDArray[np.int64]
    stopped: NDArray[np.bool_]
    joint: RequestTarget
    trusted: bool
    by_memory: int | None = None
    by_quota: int | None = None

    @property
    def enough_request(self) -> float:
        """The smallest CPU request of a replica with which the floors carry what they are planned for."""
        runs = self.floors > 0
        busiest = (self.cores[runs] / self.floors[runs]).max(initial=0.0)
        return min(float(busiest) / FULL, self.joint.request_cores)


class ScalingStrategy:
    """Plans replicas from total CPU demand."""

    name = "replicas"
    optimization_type = _TYPE
    metrics: Sequence[str] = (
        "cpu_cores",
        "memory_bytes",
        "replicas",
        "requests_per_second",
        "latency_p50_ms",
        "latency_p90_ms",
        "latency_p95_ms",
        "latency_p99_ms",
        "startup_seconds",
        "cpu_throttled_fraction",
    )
    forecasts: Sequence[str | ForecastSpec] = (TOTAL_DEMAND,)
    prior = Prior(
        mean=0.95,
        strength=4.0,
        source="stated prior (docs/research/scaling.md)",
    )

    def propose(self, context: AnalysisContext) -> Proposal | Declined:
        """Proposes HPA settings, a schedule and a ScaledObject, or says why replicas can't be planned."""
        demand = total_demand(context)
        if isinstance(demand, Declined):
            return demand
        workload = context.snapshot.workload
        risk = RISK_BY_CLASS[workload.service_class]
        forecast = context.forecasts.get(TOTAL_DEMAND.name)
        if forecast is None:
            return decline(_TYPE, DeclineCode.NO_DATA, "The total CPU demand can't be forecast.")
        need = DemandForecast.of(forecast, demand.cores, context.snapshot.grid)
        size = demand.cores.size
        held = need.planned_past(risk.quantile, size) if need.trusted else np.zeros(size)
        learnt = capacity(context, demand, risk.growth_quantile, held)
        plan = _with_memory(context, demand, _plan(context, demand, learnt, need))
        if _follows_others(workload):
            if not plan.stopped.any():
                return _keep(workload)
            plan = _as_they_ran(demand, plan)
        plan, followed = _with_fewer_entries(context, _within_quota(context, plan)), plan
        if plan.expected.mean() >= demand.replicas.max() and staying_is_enough(context, demand, need):
            return _stay(context, demand, plan)
        added = float(plan.floors.sum() / followed.floors.sum() - 1) if followed.floors.any() else 0.0
        if added > MAX_ADDED_BY_ENTRIES:
            return decline(
                _TYPE,
                DeclineCode.NOT_APPLICABLE,
                text.too_many_entries(followed.floors, context.validity, added),
            )
        return self._proposal(context, demand, learnt, need, plan)

    def _proposal(
        self,
        context: AnalysisContext,
        demand: TotalDemand,
        learnt: ReplicaCapacity,
        need: DemandForecast,
        plan: ReplicaPlan,
    ) -> Proposal:
        workload, now = context.snapshot.workload, context.now
        risk, state = RISK_BY_CLASS[workload.service_class], workload.state
        stops, held = bool(plan.stopped.any()), unseen_triggers(workload)
        settings = state.hpa if state.hpa is not None and _follows_others(workload) else None
        if settings is None:
            settings = hpa(
                _minimum(state, plan, held=bool(held)),
                int(plan.floors.max()),
                plan.joint,
                state.hpa,
                window_seconds=risk.window_seconds,
                seen=int(_replicas(np.nanmax(demand.cores), plan.joint.load_cores)),
                most=plan.by_quota,
            )
        extra = {key: value for key, value in state.extra.items() if key != "schedule"}
        if plan.trusted or stops:
            end = now + context.validity
            extra["schedule"] = schedule(plan.floors, now, end, need.block, learnt.startup.time)
        # KEDA takes one ScaledObject for a workload: a second one is refused, and ours lacks other triggers.
        if state.keda is None and not held and workload.id.kind.lower() in SCALE_TARGETS:
            extra["keda_scaled_object"] = scaled_object(workload, settings)
        running = float(demand.replicas[-_recent(context) :].mean())
        expected = max(float(plan.expected.mean()), running) if held else float(plan.expected.mean())
        replicas = max(round(expected), 1)
        if state.replicas == 0:  # who stopped it starts it
            replicas = 0
        elif held:
            replicas = max(replicas, state.replicas or 1)
        target = msgspec.structs.replace(
            state,
            containers=_resized(state, plan.joint.request_cores / demand.request_cores),
            replicas=replicas,
            hpa=settings,
            extra=extra,
        )
        return Proposal(
            optimization_type=_TYPE,
            target=target,
            description=text.description(
                workload.service_name, settings, plan.trusted or stops, extra.get("schedule")
            ),
            reasons=(
                *text.reasons(demand, learnt, need, plan.joint, risk.quantile, settings),
                *((text.held(held),) if held else ()),
                *((text.stops(demand, plan.stopped),) if stops else ()),
                *((text.by_memory(plan.by_memory),) if plan.by_memory is not None else ()),
                *((text.by_quota(plan.by_quota),) if plan.by_quota is not None else ()),
            ),
            claim=Claim(saving_percent=_saving(running, expected)),
            no_change_needed=target == state,
            merge=_holds(target, plan) if _plans_replicas(state, target) else MergeHints(),
        )


def _holds(target: WorkloadState, plan: ReplicaPlan) -> MergeHints:
    """Returns that replicas are planned for the request that each will have.

    Where no autoscaler follows the share of the request, a smaller one runs no more replicas: it is enough
    while the floors carry what they are planned for.
    """
    requests = {one.name: one.cpu_request_cores for one in target.containers if one.cpu_request_cores}
    share = plan.enough_request / plan.joint.request_cores
    follows = target.hpa is None or target.hpa.target_cpu_utilization_percent is not None
    enough = {} if follows else {f"{name}.cpu_request": share * cores for name, cores in requests.items()}
    return MergeHints(holds=("*.cpu_request",), enough=enough)


def _with_memory(context: AnalysisContext, demand: TotalDemand, plan: ReplicaPlan) -> ReplicaPlan:
    """Returns a plan that never runs fewer replicas than the memory of a pod allows."""
    runs = ~plan.stopped
    if not runs.any():
        return plan
    least = int(plan.floors[runs].min())
    fewest = fewest_by_memory(context, demand, plan.joint.load_cores, least)
    if fewest <= least:
        return plan
    floors, expected = (np.where(runs, np.maximum(x, fewest), 0) for x in (plan.floors, plan.expected))
    return replace(plan, floors=floors, expected=expected, by_memory=fewest)


def _as_they_ran(demand: TotalDemand, plan: ReplicaPlan) -> ReplicaPlan:
    """Returns a plan that runs no fewer replicas than ran in nearly all steps in which any did.

    What decides how many run is not seen; requests that fit the use of each replica fit that many.
    """
    fewest = round(float(np.quantile(demand.replicas[demand.replicas > 0], _NEARLY_NEVER)))
    floors, expected = (
        np.where(plan.stopped, 0, np.maximum(x, fewest)) for x in (plan.floors, plan.expected)
    )
    return replace(plan, floors=floors, expected=expected)


def _with_fewer_entries(context: AnalysisContext, plan: ReplicaPlan) -> ReplicaPlan:
    """Returns a plan whose schedule has no more entries than a person reads."""
    floors = with_fewer_entries(plan.floors, entries_allowed(context.validity))
    return replace(plan, floors=floors, expected=np.maximum(plan.expected, floors))


def _within_quota(context: AnalysisContext, plan: ReplicaPlan) -> ReplicaPlan:
    """Returns a plan of no more replicas than the namespace's quotas take."""
    workload = context.snapshot.workload
    memory = workload.state.total("memory_request_bytes")
    most = replicas_within_quota(workload, plan.joint.request_cores, memory)
    if most is None or most >= max(int(plan.floors.max()), int(plan.expected.max())):
        return plan
    floors, expected = (np.minimum(counts, most) for counts in (plan.floors, plan.expected))
    return replace(plan, floors=floors, expected=expected, by_quota=most)


def _follows_others(workload: Workload) -> bool:
    """Tells whether an autoscaler goes by other metrics only, such as the length of a queue.

    A target of CPU utilisation beside them would add replicas that nobody asked for, and a higher minimum
    would hold what the other metric lets go.
    """
    current = workload.state.hpa
    return (
        current is not None and current.target_cpu_utilization_percent is None and bool(current.other_metrics)
    )


def _keep(workload: Workload) -> Proposal:
    """Recommends the autoscaler as it is."""
    held = unseen_triggers(workload)
    return Proposal(
        optimization_type=_TYPE,
        target=workload.state,
        description=text.keep(held),
        reasons=(text.left_to_triggers(held),),
        no_change_needed=True,
    )


def _stay(context: AnalysisContext, demand: TotalDemand, plan: ReplicaPlan) -> Proposal:
    """Recommends the replicas that run: a plan would run no fewer, and nothing shows that it is needed."""
    state = context.snapshot.workload.state
    assert state.replicas is not None
    return Proposal(
        optimization_type=_TYPE,
        target=state,
        description=text.stay(state.replicas),
        reasons=(text.staying(demand, state.replicas, float(plan.expected.mean())),),
        no_change_needed=True,
    )


def _minimum(state: WorkloadState, plan: ReplicaPlan, *, held: bool) -> int:
    """Returns the minimum of the autoscaler: the least of the plan, no lower where other metrics hold it.

    A service that stops at times, or may, keeps the minimum it has: a higher one would not let it stop.
    """
    current = state.hpa.min_replicas if state.hpa is not None else 1
    if plan.stopped.any() or current == 0:
        return current
    least = int(plan.floors.min())
    return max(least, current) if held else least


def _plans_replicas(state: WorkloadState, target: WorkloadState) -> bool:
    """Tells whether a target sets how many replicas run, or the fewest."""
    floors = [None if one.hpa is None else one.hpa.min_replicas for one in (state, target)]
    schedules = [one.extra.get("schedule") for one in (state, target)]
    return state.replicas != target.replicas or floors[0] != floors[1] or schedules[0] != schedules[1]


def _plan(
    context: AnalysisContext, demand: TotalDemand, learnt: ReplicaCapacity, need: DemandForecast
) -> ReplicaPlan:
    state, risk = context.snapshot.workload.state, RISK_BY_CLASS[context.snapshot.workload.service_class]
    now = state.hpa.target_cpu_utilization_percent if state.hpa is not None else None
    target = learnt.busy if need.trusted else max(learnt.busy - MORE_HEADROOM, MIN_TARGET)
    within = learnt.serves.cores_within
    most = None if within is None else max(within / HPA_TOLERANCE, MIN_TARGET * demand.request_cores)
    held = bool(unseen_triggers(context.snapshot.workload))
    joint = solve(demand.request_cores, None if now is None else now / 100, target, most, hold_request=held)
    ran = state.replicas or round(float(np.median(demand.replicas[~demand.stopped])))  # 0: stopped now
    least = 1 if held else min(risk.min_replicas, max(ran, 1))
    carries = FULL * joint.request_cores if within is None else min(FULL * joint.request_cores, within)
    if need.trusted:
        cores = need.quantile(risk.quantile)
    else:
        high = windows_need(demand.cores, context.snapshot.grid, context.validity, risk.windows_share)
        cores = np.full(need.expected.size, max(float(np.nanquantile(demand.cores, risk.quantile)), high))
    floors = np.maximum(_replicas(cores, carries), least)
    expected = np.maximum(floors, _replicas(need.expected, joint.load_cores))
    stopped = stopped_blocks(demand.stopped, context.snapshot.grid, need.steps, floors.size)
    floors, expected = np.where(stopped, 0, floors), np.where(stopped, 0, expected)
    return ReplicaPlan(cores, floors, expected, stopped, joint, need.trusted)


def _replicas(cores: NDArray[np.float64] | np.float64, each: float) -> NDArray[np.int64]:
    return np.maximum(np.ceil(cores / each - 1e-9), 1).astype(np.int64)


def _resized(state: WorkloadState, factor: float) -> tuple[Container, ...]:
    """Scales the CPU requests of all containers; whole millicores, rounded up."""
    if factor == 1:
        return state.containers
    return tuple(
        msgspec.structs.replace(
            container,
            cpu_request_cores=max(math.ceil(1000 * factor * (container.cpu_request_cores or 0.0) - 1e-6), 10)
            / 1000,
        )
        for container in state.containers
    )


def _recent(context: AnalysisContext) -> int:
    """Returns how many steps the replicas of now are the mean of: a validity of them."""
    return max(context.validity // context.snapshot.grid.step, 1)


def _saving(running: float, expected: float) -> float | None:
    """Returns the share of replica-hours saved, less some caution; None where it is not worth a claim."""
    if not running:
        return None
    saved = 100 * (1 - expected / running)
    return round(saved - CAUTION_POINTS, 1) if saved - CAUTION_POINTS >= MIN_SAVING_PERCENT else None
