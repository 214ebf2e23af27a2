"""One recommendation of one policy at one instant, and how it did on the window after it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import msgspec
import numpy as np

from perfopt.domain.price import GIB, HOURS_PER_MONTH, PriceBook
from perfopt.domain.recommendation import Declined
from perfopt.domain.workload import WorkloadState
from perfopt.evaluation.known import known_at
from perfopt.evaluation.resources import WindowScore, score_resources
from perfopt.metrics.snapshot import WorkloadSnapshot

Outcome = Literal["accurate", "inaccurate", "not_scored", "declined"]
MIN_HISTORY = 0.95  # a history is short below this share of what was asked for
_USE = ("cpu_cores", "memory_bytes")


class Use(msgspec.Struct, frozen=True):
    """One resource of one trial, in cores or bytes, summed over containers.

    Attributes:
        safe: by rule 1 (cpu) or 2 (memory) of DESIGN.md section 5.
        recommended: the request, floors applied.
        needed: the smallest accurate value.
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


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy said at an instant, and what came of it.

    Attributes:
        service: name of the service; service_class: its class.
        made_at: the instant; nothing at or after it was known.
        policy: name of the policy.
        outcome: "declined" where it made no recommendation, "not_scored" where the window held too little.
        cpu, memory: None where the resource was not recommended or not measured, or nothing was scored.
        short_history: less than 95 % of the history asked for lay between its first sample and the instant.
        level: P99 of the history's cpu in cores, summed over containers; None without cpu.
        confidence: where the policy states one.
        in_sample: by a model that was trained on this service at that time, and scored.
        claimed_saving: fall of the cost of requests, a share of the current cost; None where it is unknown.
        realised_saving: the same after what was short in the window has been added.
        code, reason: why there was no recommendation, or no score.
    """

    service: str
    service_class: str
    made_at: datetime
    policy: str
    outcome: Outcome
    cpu: Use | None = None
    memory: Use | None = None
    short_history: bool = False
    level: float | None = None
    confidence: float | None = None
    already_right: bool = False
    in_sample: bool = False
    claimed_saving: float | None = None
    realised_saving: float | None = None
    code: str | None = None
    reason: str | None = None

    @property
    def scored(self) -> bool:
        """Whether there is a recommendation and enough of a window to judge it."""
        return self.outcome in ("accurate", "inaccurate")


@dataclass(frozen=True, slots=True)
class Case:
    """One service at one instant: what was known, and what came.

    Attributes:
        known: the snapshot as it would have been taken then.
        window: the validity window after it.
        book: prices.
        level, short_history: see Trial.
    """

    known: WorkloadSnapshot
    window: WorkloadSnapshot
    book: PriceBook
    level: float | None
    short_history: bool

    def trial(
        self,
        policy: str,
        made: WorkloadState | Declined,
        *,
        confidence: float | None = None,
        already_right: bool = False,
        in_sample: bool = False,
    ) -> Trial:
        """Scores what a policy said."""
        if isinstance(made, Declined):
            return self._trial(policy, "declined", code=made.code.value, reason=made.reason)
        score = score_resources(made, self.window)
        if not score.scored:
            return self._trial(policy, "not_scored", reason=score.reason, confidence=confidence)
        claimed, realised = self._savings(made, score)
        return self._trial(
            policy,
            "accurate" if score.accurate else "inaccurate",
            cpu=self._use(made, "cpu_cores", score),
            memory=self._use(made, "memory_bytes", score),
            confidence=confidence,
            already_right=already_right,
            in_sample=in_sample,
            claimed_saving=claimed,
            realised_saving=realised,
        )

    def _trial(self, policy: str, outcome: Outcome, **fields: object) -> Trial:
        workload = self.known.workload
        return Trial(
            service=workload.service_name,
            service_class=workload.service_class.value,
            made_at=self.known.grid.end,
            policy=policy,
            outcome=outcome,
            level=self.level,
            short_history=self.short_history,
            **fields,  # type: ignore[arg-type]  # fields of Trial
        )

    def _use(self, made: WorkloadState, metric: str, score: WindowScore) -> Use | None:
        if metric == "cpu_cores":
            safe, given, needed = score.cpu_safe, score.cpu_recommended_cores, score.cpu_needed_cores
        else:
            safe, given, needed = (
                score.memory_safe,
                score.memory_recommended_bytes,
                score.memory_needed_bytes,
            )
        if safe is None or given is None or needed is None:
            return None
        return Use(safe=safe, recommended=given, needed=needed, used=self._used(made, metric))

    def _used(self, made: WorkloadState, metric: str) -> float:
        total = 0.0
        for container in made.containers:
            series = self.window.series(container.name, metric)
            if series is not None:
                total += float(np.nanmean(series.values))
        return total

    def _savings(self, made: WorkloadState, score: WindowScore) -> tuple[float | None, float | None]:
        current = self.known.workload.state
        before, after = self.book.monthly_cost(current), self.book.monthly_cost(made)
        if before is None or after is None or before <= 0:
            return None, None
        hourly = (score.cpu_short_cores or 0.0) * self.book.cpu_core_hour
        hourly += (score.memory_short_bytes or 0.0) / GIB * self.book.memory_gib_hour
        added = (made.replicas if made.replicas is not None else 1) * hourly * HOURS_PER_MONTH
        return 1 - after / before, 1 - (after + added) / before


def case_at(
    snapshot: WorkloadSnapshot, made_at: datetime, history_steps: int, window_steps: int, book: PriceBook
) -> Case | None:
    """Returns the case of a service at an instant, or None where its history has no sample of use.

    Args:
        snapshot: the whole history of the service.
        made_at: the instant.
        history_steps: what a policy is given.
        window_steps: what it is scored on.
        book: prices.
    """
    cut = snapshot.grid.index(made_at)
    known = known_at(snapshot, cut, cut - history_steps)
    first = _first_use(known)
    if first is None:
        return None
    short = known.grid.size - first < MIN_HISTORY * history_steps
    return Case(known, snapshot.slice(cut, cut + window_steps), book, _level(known), short)


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
    total, found = 0.0, False
    for metrics in known.containers.values():
        if "cpu_cores" in metrics:
            values = metrics["cpu_cores"].values
            finite = values[np.isfinite(values)]
            if finite.size:
                total, found = total + float(np.percentile(finite, 99)), True
    return total if found else None
