"""How much will be needed: the shape of a day, learnt with the error that it had on the service's own past.

The history is folded into days that end now, in blocks of half an hour; a block's need is its highest step.
The need of a future block is expected to be the mean of the logarithms at the same time of earlier days: a
day weighs half for every five days of age, and little where one is on a weekend and the other is not, if
weekends differ. Every past day is foretold in the same way from the days up to two before it, and the errors
there give the quantiles (split conformal prediction on rolling origins).
"""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from perfopt.plugin import Array, TimeGrid

BLOCK_MINUTES = 30
DAY = timedelta(days=1)
HALF_LIFE_DAYS = 5.0
OTHER_KIND_OF_DAY = 0.05
WEEKENDS_DIFFER = 0.15  # of the mean logarithm
GAP_DAYS = 2  # a week ahead is further than a day: its middle is some days away
RECENT_DAYS = 2
WRONG_SHARE = 0.15  # of recent blocks above what 98 in 100 should stay below
WIDEST_MARGIN = float(np.log(3.0))
_JUDGED = 0.98
_ENOUGH = 0.99
_OFFSET = 0.05  # of the mean: what is small beside it is alike, and the logarithm of nothing is finite


@dataclass(frozen=True, slots=True)
class Need:
    """What future blocks will need, in cores.

    Attributes:
        expected: the middle, shape (blocks,).
        errors: of the logarithm on past days, sorted.
        offset: added to use before its logarithm, in cores.
        block: length of a block.
        past: what was expected of past blocks, shape (past blocks,), up to now; NaN where nothing.
        steps: of the grid in a block.
        wrong_lately: share of recent blocks above what 98 in 100 should have stayed below.
    """

    expected: Array
    errors: Array
    offset: float
    block: timedelta
    past: Array
    steps: int
    wrong_lately: float

    def quantile(self, level: float) -> Array:
        """Returns what a block stays below with this probability, shape (blocks,)."""
        raised: Array = (self.expected + self.offset) * np.exp(self.margin(level)) - self.offset
        return np.maximum(raised, 0.0)

    def held(self, level: float, size: int) -> Array:
        """Returns what a plan at a quantile would have held on the last steps of the history, shape (size,).

        Zero where the past was too short to plan from.
        """
        blocks = (self.past + self.offset) * np.exp(self.margin(level)) - self.offset
        steps = np.repeat(np.nan_to_num(blocks), self.steps)[-size:]
        held: Array = np.r_[np.zeros(size - steps.size), steps]
        return held

    def margin(self, level: float) -> float:
        """Returns the error of the logarithm that this share of past blocks stayed below."""
        at = level * (self.errors.size - 1)
        low = int(at)
        high = min(low + 1, self.errors.size - 1)
        return float(self.errors[low] + (at - low) * (self.errors[high] - self.errors[low]))

    @property
    def trusted(self) -> bool:
        """Whether the shape of days has been right lately, and says more than the level."""
        return self.wrong_lately <= WRONG_SHARE and self.margin(_JUDGED) <= WIDEST_MARGIN


def foretell(cores: Array, grid: TimeGrid, validity: timedelta) -> Need:
    """Foretells the need of each block of the validity.

    Args:
        cores: the history up to the grid's end, at least two days of it, NaN where missing.
        grid: of the snapshot; its end is the end of the history.
        validity: how far.
    """
    per_block = max(BLOCK_MINUTES * 60 // grid.step_seconds, 1)
    block = per_block * grid.step
    a_day = max(DAY // block, 1)
    days = max(cores.size // (per_block * a_day), 1)
    offset = max(_OFFSET * float(np.nanmean(cores)), 1e-6)
    logs = _fold(cores[-days * a_day * per_block :] + offset, per_block, a_day)
    weekend = _weekend(grid, block, -logs.shape[0] * a_day, logs.size).reshape(logs.shape)
    apart = logs.shape[0] >= 7 and _differ(logs, weekend)
    past = list(range(1, len(logs)))
    foretold = np.stack([_mean(logs[: max(d - GAP_DAYS, 1)], weekend, weekend[d], d, apart) for d in past])
    errors = logs[past] - foretold
    ahead = -(-validity // block)
    rows = -(-ahead // a_day)
    future = _weekend(grid, block, 0, rows * a_day).reshape(rows, a_day)
    days_ahead = [_mean(logs, weekend, future[row], len(logs) + row, apart) for row in range(rows)]
    expected = np.nan_to_num(np.concatenate(days_ahead)[:ahead], nan=float(np.nanmax(logs)))
    known = np.sort(errors[np.isfinite(errors)])
    return Need(
        expected=np.maximum(np.exp(expected) - offset, 0.0),
        errors=known if known.size else np.zeros(1),
        offset=offset,
        block=block,
        past=np.maximum(np.exp(foretold) - offset, 0.0).ravel(),
        steps=per_block,
        wrong_lately=_wrong(errors),
    )


def windows_need(cores: Array, grid: TimeGrid, validity: timedelta, share: float) -> float:
    """Returns what would have been enough in this share of past stretches as long as the validity, in cores.

    Enough is what 99 in 100 steps stay below, which a recommendation is held to. The stretches begin a day
    apart and end with the history; a history shorter than the validity is one.

    Args:
        cores: the history up to the grid's end, NaN where missing.
        grid: of the snapshot.
        validity: length of a stretch.
        share: of the stretches.
    """
    length, a_day = max(validity // grid.step, 1), max(DAY // grid.step, 1)
    ends = range(cores.size, min(length, cores.size) - 1, -a_day)
    stretches = [part for end in ends if np.isfinite(part := cores[max(end - length, 0) : end]).any()]
    needs = [np.nanquantile(part, _ENOUGH, method="higher") for part in stretches]
    return float(np.quantile(needs, share, method="higher"))


def _fold(cores: Array, per_block: int, a_day: int) -> Array:
    """Returns logarithms of the blocks' highest steps, shape (days, blocks of a day), NaN where unknown."""
    days = -(-cores.size // (per_block * a_day))
    padded = np.r_[np.full(days * a_day * per_block - cores.size, np.nan), cores]  # a first part of a day
    highest = np.fmax.reduce(padded.reshape(-1, per_block), axis=1)
    logs: Array = np.log(np.maximum(highest, 1e-9)).reshape(days, a_day)
    return logs


def _weekend(grid: TimeGrid, block: timedelta, first: int, count: int) -> NDArray[np.bool_]:
    seconds = grid.end.timestamp() + (first + np.arange(count)) * block.total_seconds()
    weekday = (seconds // 86_400 + 3) % 7  # the epoch was a Thursday
    weekend: NDArray[np.bool_] = weekday >= 5
    return weekend


def _differ(logs: Array, weekend: NDArray[np.bool_]) -> bool:
    known = np.isfinite(logs)
    on, off = logs[weekend & known], logs[~weekend & known]
    return bool(on.size and off.size and abs(on.mean() - off.mean()) > WEEKENDS_DIFFER)


def _mean(logs: Array, weekend: NDArray[np.bool_], wanted: NDArray[np.bool_], day: int, apart: bool) -> Array:
    """Returns the decayed mean over days at each time of day; NaN where no day has it."""
    weights = 0.5 ** ((day - np.arange(len(logs))) / HALF_LIFE_DAYS)[:, None] * np.isfinite(logs)
    if apart:
        weights = weights * np.where(weekend[: len(logs)] == wanted, 1.0, OTHER_KIND_OF_DAY)
    total = weights.sum(axis=0)
    mean: Array = np.where(
        total > 0, (weights * np.nan_to_num(logs)).sum(axis=0) / np.maximum(total, 1e-12), np.nan
    )
    return mean


def _wrong(errors: Array) -> float:
    """Returns the share of recent blocks above the judged quantile of the errors before them."""
    before, recent = errors[:-RECENT_DAYS], errors[-RECENT_DAYS:]
    before, recent = before[np.isfinite(before)], recent[np.isfinite(recent)]
    if not before.size or not recent.size:
        return 0.0
    return float((recent > np.quantile(before, _JUDGED) + np.log(1.1)).mean())
