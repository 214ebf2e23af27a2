"""The scored recommendations of one policy as arrays, and the accuracy figures of any of their rows. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from perfopt.backtest.bootstrap import Rows
from perfopt.backtest.calibration import Bools
from perfopt.backtest.evaluated import EvaluatedRecommendation, ResourceUse
from perfopt.evaluation.savings import RequestedAmount
from perfopt.metrics.snapshot import Array

MAX_WASTE = 10.0
Resource = Literal["cpu", "memory"]


@dataclass(frozen=True, slots=True)
class ResourceColumns:
    """One resource; rows without it are NaN, and False in `present`. All of shape (n,)."""

    present: Bools
    safe: Bools
    waste: Array
    slack: Array
    recommended: Array
    needed: Array

    def safe_share(self, rows: Rows) -> float | None:
        """Returns the share that is safe."""
        return _mean(self.safe[rows][self.present[rows]])

    def waste_median(self, rows: Rows) -> float | None:
        """Returns the median waste over the safe ones."""
        waste = self._waste(rows, safe=True)
        return float(np.median(waste)) if waste.size else None

    def waste_mean10(self, rows: Rows) -> float | None:
        """Returns the mean waste over the safe ones, each counted as at most 10."""
        return _mean(np.minimum(self._waste(rows, safe=True), MAX_WASTE))

    def weighted_waste(self, rows: Rows) -> float | None:
        """Returns the waste of all recommendations taken together: sum recommended / sum needed - 1."""
        chosen = rows[self.present[rows]]
        needed = float(self.needed[chosen].sum())
        return float(self.recommended[chosen].sum()) / needed - 1 if needed else None

    def shortage_median(self, rows: Rows) -> float | None:
        """Returns the median of 1 - recommended / needed over the unsafe ones."""
        waste = self._waste(rows, safe=False)
        return float(np.median(-waste)) if waste.size else None

    def slack_mean(self, rows: Rows) -> float | None:
        """Returns the mean slack, 1 - mean use / recommended."""
        return _mean(self.slack[rows][self.present[rows]])

    def _waste(self, rows: Rows, *, safe: bool) -> Array:
        chosen = rows[self.present[rows] & (self.safe[rows] == safe)]
        waste: Array = self.waste[chosen]
        return waste


@dataclass(frozen=True, slots=True)
class AmountColumns:
    """One quantity that is paid for; rows where it is unknown are NaN. All of shape (n,)."""

    current: Array
    recommended: Array
    minimum: Array

    @classmethod
    def of(cls, amounts: Sequence[RequestedAmount | None]) -> "AmountColumns":
        """Builds them; None is unknown."""
        columns = [
            _numbers([None if one is None else getattr(one, name) for one in amounts])
            for name in ("current", "recommended", "minimum")
        ]
        return cls(*columns)

    def over_minimum(self, rows: Rows, safe: Bools) -> float | None:
        """Returns the median of recommended / minimum - 1 over the safe ones."""
        chosen = self._known(rows[safe[rows]])
        chosen = chosen[self.minimum[chosen] > 0]
        over = self.recommended[chosen] / self.minimum[chosen] - 1
        return float(np.median(over)) if over.size else None

    def saved_share(self, rows: Rows, accurate: Bools) -> float | None:
        """Returns what the accurate ones save over what the smallest accurate values of all would save.

        Every unit counts alike, so that large services weigh most. None where nothing could be saved.
        """
        chosen = self._known(rows)
        saved = (self.current - self.recommended)[chosen] * accurate[chosen]
        possible = float((self.current - self.minimum)[chosen].sum())
        return float(saved.sum()) / possible if possible > 0 else None

    def saved_share_by_service(self, rows: Rows, accurate: Bools, group: Rows) -> float | None:
        """Returns the mean over services of the relative saving over the mean of the possible one.

        Args:
            rows: those that count.
            accurate: outcome, shape (n,).
            group: number of the service of each row, shape (n,).
        """
        chosen = self._known(rows)
        chosen = chosen[self.current[chosen] > 0]
        if not chosen.size:
            return None
        current = self.current[chosen]
        saved = (current - self.recommended[chosen]) / current * accurate[chosen]
        possible = (current - self.minimum[chosen]) / current
        # Each row counts by the rows of its service, so that a service drawn twice weighs twice.
        weight = 1 / np.bincount(group[self._known(np.arange(group.size))])[group[chosen]]
        reachable = float(weight @ possible)
        return float(weight @ saved) / reachable if reachable > 0 else None

    def _known(self, rows: Rows) -> Rows:
        known = np.isfinite(self.current[rows]) & np.isfinite(self.recommended[rows])
        chosen: Rows = rows[known & np.isfinite(self.minimum[rows])]
        return chosen


@dataclass(frozen=True, slots=True)
class PolicyColumns:
    """The scored recommendations of one policy; all of shape (n,).

    Attributes:
        tiers: of each row, the service or what it moves together with; group: number of its service.
        accurate: outcome.
        no_change: no change was needed.
        confidence: NaN where none was stated.
        claim_met: 1 or 0, NaN where no latency or saving was expected.
        expected_saving: share of the current cost, NaN where unknown.
        cost, memory_amount: what is paid for.
        cpu, memory: by resource.
    """

    tiers: tuple[str, ...]
    group: Rows
    accurate: Bools
    no_change: Bools
    confidence: Array
    claim_met: Array
    expected_saving: Array
    cost: AmountColumns
    memory_amount: AmountColumns
    cpu: ResourceColumns
    memory: ResourceColumns

    @classmethod
    def of(cls, evaluated: Sequence[EvaluatedRecommendation]) -> "PolicyColumns":
        """Builds them; recommendations that were not scored are left out."""
        scored = [one for one in evaluated if one.scored]
        services = tuple(one.service for one in scored)
        return cls(
            tiers=tuple(one.tier or one.service for one in scored),
            group=np.unique(np.array(services), return_inverse=True)[1].astype(np.intp),
            accurate=np.array([one.outcome == "accurate" for one in scored], dtype=np.bool_),
            no_change=np.array([one.no_change for one in scored], dtype=np.bool_),
            confidence=_numbers([one.confidence for one in scored]),
            claim_met=_numbers([one.claim_met for one in scored]),
            expected_saving=_numbers([one.expected_saving for one in scored]),
            cost=AmountColumns.of([one.cost for one in scored]),
            memory_amount=AmountColumns.of([one.memory_amount for one in scored]),
            cpu=_use([one.cpu for one in scored]),
            memory=_use([one.memory for one in scored]),
        )

    def rows(self) -> Rows:
        """Returns the numbers of all rows."""
        return np.arange(self.accurate.size, dtype=np.intp)

    def accuracy(self, rows: Rows) -> float | None:
        """Returns accurate / made."""
        return _mean(self.accurate[rows])

    def no_change_share(self, rows: Rows) -> float | None:
        """Returns the share that needed no change."""
        return _mean(self.no_change[rows])

    def claims_met(self, rows: Rows) -> float | None:
        """Returns the share whose expected latency or saving was realised, of those that state one."""
        return _mean(_known(self.claim_met[rows]))

    def mean_expected_saving(self, rows: Rows) -> float | None:
        """Returns the mean of the expected savings."""
        return _mean(_known(self.expected_saving[rows]))

    def realised_saving(self, rows: Rows) -> float | None:
        """Returns the realised saving weighted by cost: see AmountColumns.saved_share."""
        return self.cost.saved_share(rows, self.accurate)

    def realised_saving_by_service(self, rows: Rows) -> float | None:
        """Returns the realised saving with each service weighing the same."""
        return self.cost.saved_share_by_service(rows, self.accurate, self.group)

    def realised_memory_saving(self, rows: Rows) -> float | None:
        """Returns the realised saving of memory alone with each service weighing the same."""
        return self.memory_amount.saved_share_by_service(rows, self.accurate, self.group)

    def cost_over_minimum(self, rows: Rows) -> float | None:
        """Returns the median of recommended / minimum cost - 1 over the accurate ones."""
        return self.cost.over_minimum(rows, self.accurate)

    def mean_confidence(self, rows: Rows) -> float | None:
        """Returns the mean of the stated confidence."""
        return _mean(_known(self.confidence[rows]))

    def stated(self, rows: Rows) -> Rows:
        """Returns those of the rows that state a confidence."""
        chosen: Rows = rows[np.isfinite(self.confidence[rows])]
        return chosen


def _use(uses: Sequence[ResourceUse | None]) -> ResourceColumns:
    return ResourceColumns(
        present=np.array([use is not None for use in uses], dtype=np.bool_),
        safe=np.array([use is not None and use.safe for use in uses], dtype=np.bool_),
        waste=_numbers([None if use is None else use.waste for use in uses]),
        slack=_numbers([None if use is None else use.slack for use in uses]),
        recommended=_numbers([None if use is None else use.recommended for use in uses]),
        needed=_numbers([None if use is None else use.needed for use in uses]),
    )


def _numbers(values: Sequence[float | None]) -> Array:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _known(values: Array) -> Array:
    known: Array = values[np.isfinite(values)]
    return known


def _mean(values: Array | Bools) -> float | None:
    return float(values.mean()) if values.size else None
