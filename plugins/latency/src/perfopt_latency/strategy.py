"""The LATENCY_OPTIMIZATION strategy: what a service needs to keep its latency objective."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import msgspec
import numpy as np

from perfopt.capacity import (
    MARGIN,
    LatencyPredictor,
    NotIdentified,
    ReplicaHistory,
    identify,
    latency_predictor,
    read_history,
)
from perfopt.plugin import (
    AnalysisContext,
    Claim,
    DeclineCode,
    Declined,
    InsufficientHistory,
    MergeHints,
    OptimizationType,
    Prior,
    Proposal,
    Slo,
    WorkloadState,
    decline,
    replicas_owner,
    requests_owner,
    throttling,
    validity_steps,
)
from perfopt_latency import bottleneck, text
from perfopt_latency.claims import UsualLatency, claim, usual
from perfopt_latency.remedy import LatencyRemedy, least_limit, more_replicas, raised_limit

_TYPE = OptimizationType.LATENCY_OPTIMIZATION
_METRICS = (
    "requests_per_second",
    "latency_p50_ms",
    "latency_p90_ms",
    "latency_p95_ms",
    "latency_p99_ms",
    "cpu_cores",
    "cpu_limit_cores",
    "cpu_throttled_fraction",
    "memory_bytes",
    "replicas",
    "thread_pool_busy",
    "thread_pool_max",
    "db_pool_waiting",
    "jvm_gc_pause_fraction",
)
# The objective counts as kept where the requests of at most this share came in steps that missed it.
TOLERATED = 0.05
_P99 = 0.99
# Of raised limits alone: replays of replicas and of states that stay were too few to measure.
_MERGE = MergeHints(
    holds=("replicas", "hpa.min_replicas", "hpa.max_replicas", "*.cpu_limit"), serves_objective=True
)
LIMIT_PRIOR = Prior(
    mean=0.86,
    strength=7.0,
    source="stated prior: five windows of three services of a testbed (docs/research/latency.md)",
)


class _LatencyCase(NamedTuple):
    """What a proposal is made from."""

    context: AnalysisContext
    slo: Slo
    history: ReplicaHistory
    found: LatencyPredictor
    cause: bottleneck.Bottleneck
    usual: UsualLatency | None
    missed: float


@dataclass
class LatencyStrategy:
    """Identifies the latency law, names what holds the service, recommends the least that keeps its SLO."""

    name: str = "latency"
    optimization_type: OptimizationType = _TYPE
    metrics: Sequence[str] = _METRICS
    forecasts: Sequence[str] = ()
    prior: Prior = field(default_factory=Prior)

    def propose(self, context: AnalysisContext) -> Proposal | Declined:
        """Returns what keeps the objective over [now, now + validity), or why nothing is recommended."""
        workload = context.snapshot.workload
        if workload.slo is None:
            return decline(_TYPE, DeclineCode.NOT_APPLICABLE, text.no_objective(workload.annotations))
        owner = requests_owner(workload.state)
        if owner is not None:
            return decline(_TYPE, DeclineCode.OWNED_BY_CONTROLLER, text.owned_requests(owner))
        history = read_history(context)
        if isinstance(history, InsufficientHistory):
            return history.declined(_TYPE)
        missed = _missed(history, workload.slo)
        exhausted = bottleneck.measured(context.snapshot, history.container)
        observed = history.observations()
        if observed is None:
            return decline(_TYPE, DeclineCode.LOW_COVERAGE, text.TOO_FEW_WINDOWS)
        model = identify(observed, trained=context.models.get("latency"))
        if isinstance(model, NotIdentified):
            return decline(
                _TYPE,
                DeclineCode.UNSTABLE,
                text.not_identified(model.reason, workload.slo, missed, exhausted),
            )
        predictor = latency_predictor(history, model, workload.slo.quantile, _recent(context))
        if predictor is None:
            return decline(_TYPE, DeclineCode.NO_DATA, text.NO_REQUESTS)
        moves = usual(
            context.snapshot.service,
            workload.slo.quantile,
            context.snapshot.grid.size,
            validity_steps(context),
        )
        cause = exhausted or bottleneck.inferred(
            predictor, history, throttling(context.snapshot, history.container)
        )
        case = _LatencyCase(context, workload.slo, history, predictor, cause, moves, missed)
        return _improve(case) if missed > TOLERATED else _keep(case)


def _missed(history: ReplicaHistory, slo: Slo) -> float:
    """Returns the share of requests that came in steps whose quantile missed the objective."""
    measured = history.quantile_ms(slo.quantile)
    requests = history.rate * history.replicas
    known = np.isfinite(measured) & np.isfinite(requests)
    total = float(requests[known].sum())
    return float(requests[known & (measured > slo.latency_ms)].sum()) / total if total > 0 else 0.0


def _recent(context: AnalysisContext) -> slice:
    return slice(max(context.snapshot.grid.size - validity_steps(context), 0), None)


def _keep(case: _LatencyCase) -> Proposal:
    """Recommends the present state and tells COST how much of it the objective does not need."""
    reasons = [text.objective_met(case.slo, case.missed), case.cause.reason()]
    smallest = least_limit(case.found, case.slo.latency_ms) if case.history.limited else None
    reasons.append(text.slack(case.slo, case.found, smallest))
    return Proposal(
        optimization_type=_TYPE,
        target=case.context.snapshot.workload.state,
        description=text.keep(case.slo, case.context.validity),
        reasons=tuple(reasons),
        claim=claim(case.usual, 1.0, 1.0),
        no_change_needed=True,
    )


def _improve(case: _LatencyCase) -> Proposal | Declined:
    now, _ = case.found.current_and_unlimited_ms()
    if not case.cause.measured and now * MARGIN <= case.slo.latency_ms:
        return decline(_TYPE, DeclineCode.UNSTABLE, text.unexplained(case.slo, case.missed, case.found))
    if case.cause.measured or case.cause.cause in bottleneck.NOT_OURS:
        return _not_by_resources(case)
    state = case.context.snapshot.workload.state
    if case.cause.cause is not bottleneck.BottleneckCause.THREADS and case.history.limited:
        limit = raised_limit(case.found, case.slo.latency_ms)
        if limit is not None and state.container(case.history.container) is not None:
            return _proposed(case, limit, _with_limit(state, case.history.container, limit))
    replicas = more_replicas(case.found, case.slo.latency_ms)
    if replicas is None:
        return _not_by_resources(case)
    if replicas_owner(state) is not None:
        return decline(_TYPE, DeclineCode.OWNED_BY_CONTROLLER, text.owned_replicas(case.cause, replicas))
    return _proposed(case, replicas, msgspec.structs.replace(state, replicas=replicas.replicas))


def _not_by_resources(case: _LatencyCase) -> Declined:
    reason = text.not_by_resources(case.slo, case.missed, case.cause)
    return decline(_TYPE, DeclineCode.NOT_APPLICABLE, reason)


def _proposed(case: _LatencyCase, remedy: LatencyRemedy, target: WorkloadState) -> Proposal:
    return Proposal(
        optimization_type=_TYPE,
        target=target,
        description=text.move(case.context.snapshot.workload.state, case.history, remedy, case.slo),
        reasons=(
            text.missed(case.slo, case.missed),
            case.cause.reason(),
            text.predicted(case.slo, case.found, remedy),
        ),
        claim=_claim(case, remedy),
        prior=None if remedy.limit_cores is None else LIMIT_PRIOR,
        merge=_MERGE,
    )


def _with_limit(state: WorkloadState, name: str, remedy: LatencyRemedy) -> WorkloadState:
    containers = tuple(
        msgspec.structs.replace(container, cpu_limit_cores=remedy.limit_cores)
        if container.name == name
        else container
        for container in state.containers
    )
    return msgspec.structs.replace(state, containers=containers)


def _claim(case: _LatencyCase, remedy: LatencyRemedy) -> Claim:
    """Claims the change at the load of the usual request, as realised latency is defined."""
    ratio = _ratio(case.found, remedy)
    if case.slo.quantile == _P99:
        return claim(case.usual, ratio, ratio)
    return claim(case.usual, ratio, _ratio(replace(case.found, quantile=_P99), remedy))


def _ratio(predictor: LatencyPredictor, remedy: LatencyRemedy) -> float:
    """Returns the latency with the remedy over the present one, at the load of the usual request."""
    share = predictor.replicas / remedy.replicas if remedy.replicas else 1.0
    limits = np.array([predictor.limit_cores, remedy.limit_cores or predictor.limit_cores])
    before, after = predictor.points_ms(predictor.usual_rate * np.array([1.0, share]), limits).tolist()
    return min(float(after / before), 1.0)
