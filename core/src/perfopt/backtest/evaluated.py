"""One recommendation of one policy at one origin, and how it did on the window after it."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

import msgspec
import numpy as np

from perfopt.domain.enums import Basis, OptimizationType
from perfopt.domain.price import PriceBook
from perfopt.domain.recommendation import Declined
from perfopt.domain.workload import WorkloadState
from perfopt.evaluation.known import known_at
from perfopt.evaluation.resources import WindowScore
from perfopt.evaluation.savings import RequestedAmount, requested_amounts
from perfopt.evaluation.scaling import planned_replicas, recorded_replicas, score_scaling, total_demand
from perfopt.evaluation.score import score, score_together
from perfopt.metrics.snapshot import Array, WorkloadSnapshot
from perfopt.plugin.strategy import Proposal

Outcome = Literal["accurate", "inaccurate", "not_scored", "declined"]
MIN_HISTORY = 0.95  # a history is short below this share of what was asked for
TRACE_POINTS = 240
_USE = ("cpu_cores", "memory_bytes")


class ResourceUse(msgspec.Struct, frozen=True):
    """One resource of one recommendation, in cores or bytes, summed over containers.

    Attributes:
        safe: cpu: demand at most the request in 99 % of samples; memory: no sample above it.
        recommended: the request, floors applied.
        needed: the smallest safe value.
        used: the mean of what was used.
    """

    safe: bool
    recommended: float
    needed: float
    used: float

    @property
    def waste(self) -> float:
        """Recommended / needed - 1; below 0 it is the relative shortage."""
        return self.recommended / self.needed - 1

    @property
    def slack(self) -> float:
        """1 - used / recommended, as in Autopilot (Rzadca et al., EuroSys 2020, section 4)."""
        return 1 - self.used / self.recommended


class ReplicaTrace(msgspec.Struct, frozen=True):
    """Demand and replicas over a window, at most 240 stretches: the largest demand, the fewest replicas.

    Attributes:
        start: of the window; hours: its length.
        demand: in replicas that it needs at their request, by stretch.
        replicas: that the recommendation would have run, by stretch.
    """

    start: datetime
    hours: float
    demand: tuple[float, ...]
    replicas: tuple[float, ...]


class EvaluatedRecommendation(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy recommended at an origin, and how that did.

    Attributes:
        service: name of the service; service_class: its class.
        made_at: the origin; nothing at or after it was known.
        policy: name of the policy.
        optimization_type: of the recommendation; None is the merged plan.
        outcome: "declined" where there was no recommendation, "not_scored" where the window held too little.
        cpu, memory: None where the resource was not recommended or not measured, or nothing was scored.
        short_history: less than 95 % of the history asked for lay between its first sample and the origin.
        level: P99 of the history's cpu in cores, summed over containers; None without cpu.
        confidence: where the policy states one.
        own_hit_rate: share of the service's own past windows that were accurate; None where none was scored.
        no_change: no change was needed: the current state was recommended.
        in_sample: by a model that was trained on this service at that time, and scored.
        claim_met: whether the expected latency or saving was realised; None where none was expected.
        expected_saving: fall of the cost of requests, a share of the current cost; None where unknown.
        cost, memory_amount: what it requests over the window, against the current state and the minimum;
            None where that is unknown.
        assumed: current requests are not stated by the source and taken from limits.
        trace: demand against replicas, where replicas were recommended.
        code, reason: why there was no recommendation, or no score.
        tier: first name of the services whose daily peaks move together with it; "" is itself.
    """

    service: str
    service_class: str
    made_at: datetime
    policy: str
    optimization_type: OptimizationType | None
    outcome: Outcome
    cpu: ResourceUse | None = None
    memory: ResourceUse | None = None
    short_history: bool = False
    level: float | None = None
    confidence: float | None = None
    own_hit_rate: float | None = None
    no_change: bool = False
    in_sample: bool = False
    claim_met: bool | None = None
    expected_saving: float | None = None
    cost: RequestedAmount | None = None
    memory_amount: RequestedAmount | None = None
    assumed: bool = False
    trace: ReplicaTrace | None = None
    code: str | None = None
    reason: str | None = None
    tier: str = ""

    @property
    def scored(self) -> bool:
        """Whether there is a recommendation and enough of a window to judge it."""
        return self.outcome in ("accurate", "inaccurate")


@dataclass(frozen=True, slots=True)
class PolicyDecision:
    """What a policy recommends for one case.

    Attributes:
        target: the complete recommended state.
        proposals: what it is scored by: one proposal, or the parts of a plan.
        confidence: that it is accurate, where the policy states one.
        own_hit_rate, no_change, in_sample: see EvaluatedRecommendation.
        replicas: at each step of the window, of a controller that decides as it goes; shape (steps,).
    """

    target: WorkloadState
    proposals: tuple[Proposal, ...]
    confidence: float | None = None
    own_hit_rate: float | None = None
    no_change: bool = False
    in_sample: bool = False
    replicas: Array | None = None


@dataclass(frozen=True, slots=True)
class OriginCase:
    """One service at one origin: what was known, and what came.

    Attributes:
        known: the snapshot as it would have been taken at the origin.
        window: the validity window after it, with the workload's state as it was known.
        book: prices.
        level, short_history: see EvaluatedRecommendation.
    """

    known: WorkloadSnapshot
    window: WorkloadSnapshot
    book: PriceBook
    level: float | None
    short_history: bool

    @property
    def validity(self) -> timedelta:
        """How long a recommendation must hold: the length of the window."""
        return self.window.grid.end - self.window.grid.start

    def evaluate(
        self, policy: str, optimization_type: OptimizationType | None, decision: PolicyDecision | Declined
    ) -> EvaluatedRecommendation:
        """Scores what a policy recommended."""
        workload = self.known.workload
        row = EvaluatedRecommendation(
            service=workload.service_name,
            service_class=workload.service_class.value,
            made_at=self.known.grid.end,
            policy=policy,
            optimization_type=optimization_type,
            outcome="declined",
            level=self.level,
            short_history=self.short_history,
            assumed=workload.state.basis is Basis.ASSUMED_FROM_LIMIT,
        )
        if isinstance(decision, Declined):
            return msgspec.structs.replace(row, code=decision.code.value, reason=decision.reason)
        row = msgspec.structs.replace(
            row,
            confidence=decision.confidence,
            own_hit_rate=decision.own_hit_rate,
            no_change=decision.no_change,
        )
        scores = self._score(optimization_type, decision)
        if not scores.scored:
            return msgspec.structs.replace(row, outcome="not_scored", reason=scores.reason)
        return self._scored(row, decision, scores)

    def _scored(
        self, row: EvaluatedRecommendation, decision: PolicyDecision, window_score: WindowScore
    ) -> EvaluatedRecommendation:
        target, planned = decision.target, decision.replicas
        planned = planned_replicas(target, self.window) if planned is None else planned
        amounts = requested_amounts(target, self.window, self.book, row.optimization_type, planned)
        return msgspec.structs.replace(
            row,
            outcome="accurate" if window_score.accurate else "inaccurate",
            cpu=self._use(target, "cpu_cores", window_score),
            memory=self._use(target, "memory_bytes", window_score),
            in_sample=decision.in_sample,
            claim_met=window_score.claim_met,
            expected_saving=self._expected_saving(target),
            cost=None if amounts is None else amounts.cost,
            memory_amount=None if amounts is None else amounts.memory,
            trace=self._trace(row.optimization_type, target, planned),
        )

    def _score(self, optimization_type: OptimizationType | None, decision: PolicyDecision) -> WindowScore:
        if optimization_type is None:
            return score_together(decision.proposals, decision.target, self.window)
        (proposal,) = decision.proposals
        if decision.replicas is not None:
            return score_scaling(proposal, self.window, decision.replicas)
        return score(proposal, self.window)

    def _use(self, target: WorkloadState, metric: str, window_score: WindowScore) -> ResourceUse | None:
        if metric == "cpu_cores":
            safe, given, needed = (
                window_score.cpu_safe,
                window_score.cpu_recommended_cores,
                window_score.cpu_needed_cores,
            )
        else:
            safe, given, needed = (
                window_score.memory_safe,
                window_score.memory_recommended_bytes,
                window_score.memory_needed_bytes,
            )
        if safe is None or given is None or needed is None:
            return None
        return ResourceUse(safe=safe, recommended=given, needed=needed, used=self._used(target, metric))

    def _used(self, target: WorkloadState, metric: str) -> float:
        total = 0.0
        for container in target.containers:
            series = self.window.series(container.name, metric)
            if series is not None:
                total += float(np.nanmean(series.values))
        return total

    def _expected_saving(self, target: WorkloadState) -> float | None:
        before = self.book.monthly_cost(self.known.workload.state)
        after = self.book.monthly_cost(target)
        return None if before is None or after is None or before <= 0 else 1 - after / before

    def _trace(
        self, optimization_type: OptimizationType | None, target: WorkloadState, planned: Array | None
    ) -> ReplicaTrace | None:
        request, ran = target.total("cpu_request_cores"), recorded_replicas(self.window)
        if optimization_type is not OptimizationType.SCALING_OPTIMIZATION or planned is None or ran is None:
            return None
        if not request:
            return None
        parts = np.array_split(np.arange(planned.size), min(TRACE_POINTS, planned.size))
        needed = total_demand(self.window, ran) / request
        return ReplicaTrace(
            start=self.window.grid.start,
            hours=self.window.grid.size * self.window.grid.step_seconds / 3600,
            demand=tuple(round(float(needed[part].max()), 4) for part in parts),
            replicas=tuple(round(float(planned[part].min()), 4) for part in parts),
        )


def case_at(
    snapshot: WorkloadSnapshot, origin: datetime, history_steps: int, window_steps: int, book: PriceBook
) -> OriginCase | None:
    """Returns the case of a service at an origin, or None where its history has no sample of use.

    Args:
        snapshot: the whole history of the service.
        origin: the instant of the recommendation.
        history_steps: what a policy is given.
        window_steps: what it is scored on.
        book: prices.
    """
    cutoff = snapshot.grid.index(origin)
    known = known_at(snapshot, cutoff, cutoff - history_steps)
    first = _first_use(known)
    if first is None:
        return None
    short = known.grid.size - first < MIN_HISTORY * history_steps
    window = replace(snapshot.slice(cutoff, cutoff + window_steps), workload=known.workload)
    return OriginCase(known, window, book, _level(known), short)


def _first_use(known: WorkloadSnapshot) -> int | None:
    """Returns the first step with a sample of cpu or memory."""
    present = [
        np.isfinite(series.values).any(axis=0)
        for metrics in known.containers.values()
        for name, series in metrics.items()
        if name in _USE
    ]
    return min((int(steps.argmax()) for steps in present if steps.any()), default=None)


def _level(known: WorkloadSnapshot) -> float | None:
    total, is_known = 0.0, False
    for metrics in known.containers.values():
        if "cpu_cores" in metrics:
            values = metrics["cpu_cores"].values
            finite = values[np.isfinite(values)]
            if finite.size:
                total, is_known = total + float(np.percentile(finite, 99)), True
    return total if is_known else None
