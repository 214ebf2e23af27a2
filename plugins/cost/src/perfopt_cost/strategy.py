"""The COST_OPTIMIZATION strategy: the cheapest feasible state for the validity window."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from perfopt.plugin import (
    AnalysisContext,
    Array,
    Basis,
    Claim,
    DeclineCode,
    Declined,
    InsufficientHistory,
    MergeHints,
    OptimizationType,
    Prior,
    Proposal,
    Reason,
    WorkloadState,
    decline,
)
from perfopt_cost import text
from perfopt_cost.allowed import AllowedChanges, allowed_changes
from perfopt_cost.autoscaler import lower_minimum
from perfopt_cost.availability import CONSTRAINTS, constraints
from perfopt_cost.calibration import BoundCalibration, read_calibration, shipped_calibration
from perfopt_cost.certainty import stated_prior
from perfopt_cost.demand import ContainerDemand, needs, shortage
from perfopt_cost.hours import HourCells, SchedulePeriod, cells_of, periods, schedule, whole
from perfopt_cost.idle import idle_reasons
from perfopt_cost.milp import MilpSolution
from perfopt_cost.options import container_of, memory_for_load, optimization_model, sizes_of
from perfopt_cost.solver import MAX_ENUMERATED, solve

_TYPE = OptimizationType.COST_OPTIMIZATION
_MERGE = MergeHints(
    groups=(
        ("schedule", "off_hours"),
        ("node_type",),
        ("spot_share",),
        ("topology_spread_constraints",),
    ),
    yields=("*.cpu_*", "*.memory_*", "basis"),  # sizes alone: those of a strategy that sizes go before
)
WORTH = 0.05  # of the cost: less is not worth a change
WORTH_A_SCHEDULE = 0.10


@dataclass(frozen=True, slots=True)
class _PricedPlan:
    """A solved model as a state.

    Attributes:
        saving_percent: of the replica-hours, by the schedule; None without one.
    """

    target: WorkloadState
    solution: MilpSolution
    cost: float
    saving_percent: float | None = None
    reasons: tuple[Reason, ...] = ()


@dataclass
class CostStrategy:
    """Chooses size, replicas, node type, spot share and schedule; see perfopt_cost.milp.

    Attributes:
        calibration: what bounds of demand are made of, where the user gives no model of the kind `cost`.
        enumerated_most: models with more pairs of size and place than this go to HiGHS.
    """

    name: str = "cost"
    optimization_type: OptimizationType = _TYPE
    metrics: Sequence[str] = (
        "cpu_cores",
        "memory_bytes",
        "cpu_throttled_fraction",
        "oom_kills",
        "replicas",
        "requests_per_second",
        "network_receive_bytes_per_second",
        "latency_p50_ms",
        "latency_p90_ms",
        "latency_p95_ms",
        "latency_p99_ms",
    )
    forecasts: Sequence[str] = ()
    prior: Prior = field(default_factory=lambda: shipped_calibration().prior)
    calibration: BoundCalibration = field(default_factory=shipped_calibration)
    enumerated_most: int = MAX_ENUMERATED

    def propose(self, context: AnalysisContext) -> Proposal | Declined:
        """Returns the cheapest state for [now, now + validity), or why there is none."""
        state = context.snapshot.workload.state
        cost = context.price_book.monthly_cost(state)
        if cost is None:
            reason = "Current requests are unknown, so there is no cost to compare with."
            return decline(_TYPE, DeclineCode.UNKNOWN_STATE, reason)
        if cost <= 0:
            why = "It is scaled to zero" if state.replicas == 0 else "Its requests or their prices are 0"
            return decline(_TYPE, DeclineCode.NOT_APPLICABLE, f"{why}, so there is no cost to lower.")
        if not context.snapshot.grid.size:
            return decline(_TYPE, DeclineCode.NO_DATA, "There is no history.")
        short = shortage(context)
        if short is not None:
            reason = f"{short} Resolve the shortage first: see RESOURCE_OPTIMIZATION."
            return decline(_TYPE, DeclineCode.UNSTABLE, reason)
        cells = cells_of(context)
        given = context.models.get("cost")
        calibration = self.calibration if given is None else read_calibration(given)
        needed = needs(context, calibration, cells)
        if isinstance(needed, InsufficientHistory):
            return needed.declined(_TYPE)
        allowed = allowed_changes(context, needed)
        plan = self._cheapest(context, needed, allowed, cells)
        answer = _answer(context, needed, allowed, plan, cost)
        if isinstance(answer, Declined):
            return answer
        stated = stated_prior(calibration.prior, state, answer, needed)
        if given is None and stated is calibration.prior:
            return answer
        return msgspec.structs.replace(answer, prior=stated)

    def _cheapest(
        self,
        context: AnalysisContext,
        needed: list[ContainerDemand],
        allowed: AllowedChanges,
        cells: HourCells,
    ) -> _PricedPlan | None:
        """Returns the cheaper of a constant number of replicas and a schedule that is worth having."""
        constant = self._solved(context, needed, allowed, cells, whole(context))
        if constant is None or not allowed.replicas or allowed.running == 1:
            return constant
        shape: Array = np.maximum.reduce([need.shape for need in needed])
        if shape.min() > 1 - WORTH_A_SCHEDULE:
            return constant
        planned = self._solved(context, needed, allowed, cells, periods(context, cells, shape))
        if planned is not None and planned.cost <= (1 - WORTH_A_SCHEDULE) * constant.cost:
            return planned
        return constant

    def _solved(
        self,
        context: AnalysisContext,
        needed: list[ContainerDemand],
        allowed: AllowedChanges,
        cells: HourCells,
        found: list[SchedulePeriod],
    ) -> _PricedPlan | None:
        sizes = sizes_of(context, needed, allowed)
        model, places = optimization_model(context, needed, allowed, sizes, found)
        solution = solve(model, enumerated_most=self.enumerated_most)
        if solution is None:
            return None
        peak = max(solution.replicas)
        state = context.snapshot.workload.state
        load = allowed.running / peak if allowed.replicas else 1.0
        containers = tuple(
            container_of(
                old, need, float(sizes.cpu[row, solution.size]), float(sizes.memory[row, solution.size]), load
            )
            for row, (old, need) in enumerate(zip(state.containers, needed, strict=True))
        )
        extra, reasons = _placed(context, allowed, model.hours, solution, places[solution.place])
        saving = None
        if len(set(solution.replicas)) > 1:
            extra["schedule"] = schedule(context, cells, found, solution.replicas)
            hours = model.hours.sum() * allowed.running
            saving = 100 * (1 - float(model.hours @ np.array(solution.replicas)) / float(hours))
            reasons += (text.off_hours(extra["schedule"], saving, cells.calendar),)
        target = msgspec.structs.replace(
            state,
            containers=containers,
            replicas=peak if allowed.replicas else state.replicas,
            basis=Basis.DECLARED if containers != state.containers else state.basis,
            extra=extra,
        )
        cost = context.price_book.monthly_cost(target)
        assert cost is not None
        return _PricedPlan(target, solution, cost, saving, reasons)


def _placed(
    context: AnalysisContext, allowed: AllowedChanges, hours: Array, solution: MilpSolution, place: Any
) -> tuple[dict[str, Any], tuple[Reason, ...]]:
    """Returns the extra keys of the target, with where its pods run if that is known or gains anything."""
    extra = {key: value for key, value in context.snapshot.workload.state.extra.items() if key != "schedule"}
    on_spot = float(hours @ np.array(solution.spot)) / float(hours @ np.array(solution.replicas))
    if place is None or (on_spot == 0 and "node_type" not in extra):
        return extra, ()
    extra |= {"node_type": place.name}
    if on_spot == 0:
        extra.pop("spot_share", None)
        return extra, ()
    extra["spot_share"] = round(on_spot, 4)
    return extra, (text.spot(context.price_book, place.name, on_spot, allowed.steady),)


def _answer(
    context: AnalysisContext,
    needed: list[ContainerDemand],
    allowed: AllowedChanges,
    plan: _PricedPlan | None,
    cost: float,
) -> Proposal | Declined:
    state = context.snapshot.workload.state
    target = state if plan is None else plan.target
    reasons = [*idle_reasons(context, needed), *(text.demand(context, need) for need in needed)]
    reasons += [*allowed.reasons, *(plan.reasons if plan else ())]
    saving = None if plan is None else plan.saving_percent
    lower = lower_minimum(context, allowed, needed)
    if lower is not None and target.hpa is not None:
        reasons.append(text.minimum(lower, target.hpa.min_replicas))
        saving = lower.saving_percent
        hpa = msgspec.structs.replace(target.hpa, min_replicas=lower.replicas)
        expected = min(max(round(lower.expected), lower.replicas), state.replicas or lower.replicas)
        containers = tuple(
            memory_for_load(container, need, lower.load)
            for container, need in zip(target.containers, needed, strict=True)
        )
        target = msgspec.structs.replace(target, hpa=hpa, replicas=expected, containers=containers)
    recommended = context.price_book.monthly_cost(target)
    if recommended is None or recommended > (1 - WORTH) * cost:
        return _no_change(context, needed, plan, cost, reasons)
    target, spread = _spread(context, allowed, target, plan)
    reasons += spread
    if plan is not None:
        reasons.append(text.solved(plan.solution))
    return Proposal(
        optimization_type=_TYPE,
        target=target,
        description=text.description(context, target, cost, recommended),
        reasons=tuple(reasons),
        claim=Claim(saving_percent=None if saving is None else round(saving, 2)),
        merge=_MERGE,
    )


def _spread(
    context: AnalysisContext, allowed: AllowedChanges, target: WorkloadState, plan: _PricedPlan | None
) -> tuple[WorkloadState, list[Reason]]:
    """Adds the spread over zones that the plan counts on, where it changes how many run, or where."""
    state = context.snapshot.workload.state
    fixed = {"containers": (), "basis": Basis.DECLARED}
    if msgspec.structs.replace(state, **fixed) == msgspec.structs.replace(target, **fixed):
        return target, []
    spread = constraints(context, allowed.availability)
    if spread:
        target = msgspec.structs.replace(target, extra={**target.extra, CONSTRAINTS: spread})
    if not allowed.availability.spread:
        return target, []
    counts = plan.solution.replicas if plan is not None and allowed.replicas else (_minimum(target),)
    return target, [text.zone_loss(allowed.availability, counts)]


def _minimum(state: WorkloadState) -> int:
    return state.hpa.min_replicas if state.hpa is not None else state.replicas or 1


def _no_change(
    context: AnalysisContext,
    needed: list[ContainerDemand],
    plan: _PricedPlan | None,
    cost: float,
    reasons: list[Reason],
) -> Proposal | Declined:
    """Recommends the state as it is where it is enough; where it may not be, another type has to decide."""
    state = context.snapshot.workload.state
    if not _enough(state, needed):
        reason = "No cheaper state is safe, and the current one may be too small: see RESOURCE_OPTIMIZATION."
        return decline(_TYPE, DeclineCode.NOT_APPLICABLE, reason)
    solution = plan.solution if plan is not None else None
    if solution is not None:
        reasons.append(text.solved(solution))
    return Proposal(
        optimization_type=_TYPE,
        target=state,
        description=text.no_change(context, cost, solution),
        reasons=tuple(reasons),
        no_change_needed=True,
    )


def _enough(state: WorkloadState, needed: list[ContainerDemand]) -> bool:
    """Returns whether the present requests and memory limits cover the bounds."""
    for need in needed:
        container = state.container(need.name)
        assert container is not None
        if need.cpu is not None and (container.cpu_request_cores or 0.0) < need.cpu.value:
            return False
        held = [container.memory_request_bytes, container.memory_limit_bytes]
        if need.memory is not None and min([h for h in held if h is not None], default=0) < need.memory.value:
            return False
    return True
