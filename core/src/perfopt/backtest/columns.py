"""The scored trials of one policy as arrays, and the figures of DESIGN.md section 5 on any rows. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from perfopt.backtest.bootstrap import Rows
from perfopt.backtest.calibration import Bools
from perfopt.backtest.trial import Trial, Use
from perfopt.metrics.snapshot import Array

MAX_WASTE = 10.0
SAVING_TOLERANCE = 0.10  # rule 3 of DESIGN.md section 5: realised at least claimed - 10 points
Resource = Literal["cpu", "memory"]


@dataclass(frozen=True, slots=True)
class UseColumns:
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
        found: Array = self.waste[chosen]
        return found


@dataclass(frozen=True, slots=True)
class Columns:
    """The scored trials of one policy; all of shape (n,).

    Attributes:
        services: of each row.
        accurate: outcome.
        confidence: NaN where none was stated.
        claimed, realised: savings as shares of the current cost, NaN where unknown.
        cpu, memory: by resource.
    """

    services: tuple[str, ...]
    accurate: Bools
    confidence: Array
    claimed: Array
    realised: Array
    cpu: UseColumns
    memory: UseColumns

    @classmethod
    def of(cls, trials: Sequence[Trial]) -> "Columns":
        """Builds them from trials; those that were not scored are left out."""
        scored = [trial for trial in trials if trial.scored]
        return cls(
            services=tuple(trial.service for trial in scored),
            accurate=np.array([trial.outcome == "accurate" for trial in scored], dtype=np.bool_),
            confidence=_numbers([trial.confidence for trial in scored]),
            claimed=_numbers([trial.claimed_saving for trial in scored]),
            realised=_numbers([trial.realised_saving for trial in scored]),
            cpu=_use([trial.cpu for trial in scored]),
            memory=_use([trial.memory for trial in scored]),
        )

    def rows(self) -> Rows:
        """Returns the numbers of all rows."""
        return np.arange(self.accurate.size, dtype=np.intp)

    def accuracy(self, rows: Rows) -> float | None:
        """Returns accurate / made."""
        return _mean(self.accurate[rows])

    def claimed_saving(self, rows: Rows) -> float | None:
        """Returns the mean of the claimed savings."""
        return _mean(_known(self.claimed[rows]))

    def realised_saving(self, rows: Rows) -> float | None:
        """Returns the mean of the realised savings."""
        return _mean(_known(self.realised[rows]))

    def saving_kept(self, rows: Rows) -> float | None:
        """Returns the share whose realised saving is at least the claimed one less 10 points."""
        claimed, realised = self.claimed[rows], self.realised[rows]
        known = np.isfinite(claimed)
        return _mean(realised[known] >= claimed[known] - SAVING_TOLERANCE)

    def stated(self, rows: Rows) -> Rows:
        """Returns those of the rows that state a confidence."""
        chosen: Rows = rows[np.isfinite(self.confidence[rows])]
        return chosen


def _use(found: Sequence[Use | None]) -> UseColumns:
    return UseColumns(
        present=np.array([use is not None for use in found], dtype=np.bool_),
        safe=np.array([use is not None and use.safe for use in found], dtype=np.bool_),
        waste=_numbers([None if use is None else use.waste for use in found]),
        slack=_numbers([None if use is None else use.slack for use in found]),
        recommended=_numbers([None if use is None else use.recommended for use in found]),
        needed=_numbers([None if use is None else use.needed for use in found]),
    )


def _numbers(values: Sequence[float | None]) -> Array:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _known(values: Array) -> Array:
    known: Array = values[np.isfinite(values)]
    return known


def _mean(values: Array | Bools) -> float | None:
    return float(values.mean()) if values.size else None
