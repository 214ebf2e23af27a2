"""Predictive quantiles of a demand a few steps ahead, made at every step of a history from what came before.

In logarithms of demand over its running mean, the step `lead` ahead is a ridge regression on recent levels
(last value, exponential means over 3, 15 and 60 minutes, highest of the last five steps) and on the profile
of the day learnt from earlier days (same step, smoothed, highest, yesterday). A second regression says how
large the error usually is there; the empirical distribution of past errors over that scale gives the
quantiles, and beyond 99.9 % an exponential tail: the largest error so far is no bound.
Both are fitted anew every six hours, recent days weighing more (half for a week of age).
Sessions need no calendar: how often a step had demand is counted by how often earlier days had some at that
time and how long it has been quiet. A weekday that was quiet in all earlier weeks, at least two, is taken to
stay so until the day has demand.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from perfopt.metrics.snapshot import Array

_HIGH_LEVELS = (0.96, 0.97, 0.98, 0.985, 0.99, 0.993, 0.996, 0.998, 0.999, 0.9995, 0.9998, 0.9999, 0.99995)
LEVELS = np.r_[0.005, 0.025, 0.05, 0.1, np.linspace(0.2, 0.95, 16), _HIGH_LEVELS]
_DAY_MINUTES = 1440
_HALF_LIFE_DAYS = 7.0
_PROFILE_DECAY = 0.8
_PEAK_DECAY = 0.9
_OFFSET = 0.05  # of the mean: keeps the logarithm of nothing finite
_MAX_EXAMPLES = 20_000
_MIN_EXAMPLES = 30
_FIT_MINUTES = 360
_TAIL = 0.999  # beyond it the largest error so far is no bound
_EXTREME = 0.98  # errors above it tell how far the tail reaches
_RIDGE = 1e-4  # a ten-thousandth of an example's weight for each example
_UNFITTED_SPREAD = 0.3  # of the logarithm, before there is a history to learn it from
_USUAL_EDGES = (0.02, 0.2, 0.5, 0.8, 0.98)  # shares of earlier days with demand at the time
_QUIET_MINUTES = (0, 15, 120)  # since the last demand
MIN_QUIET_WEEKS = 2  # in which a weekday never had demand, for it to count as closed
_MAX_GROWTH = 2.0  # over the highest demand so far: beyond it an extrapolation is not believed
_SPREAD_BOUNDS = (-4.0, 0.0)  # of the logarithm of the spread


@dataclass(frozen=True, slots=True)
class ShortTermForecasts:
    """What was expected of each step, `lead` steps before it.

    Attributes:
        quantiles: shape (steps, len(LEVELS)), in the unit of the demand; rows do not decrease.
        chance: that there is any demand, shape (steps,): the quantiles are of demand where there is some.
        scale: running mean of the demand where there was any, known when the quantiles were, shape (steps,).
    """

    quantiles: Array
    chance: Array
    scale: Array


def short_term_forecasts(
    values: Array, step_minutes: int, first_minute: int, lead: int, *, since: int = 0
) -> ShortTermForecasts:
    """Returns the forecast of every step.

    Args:
        values: demand by step, zero where there was none, shape (steps,). The last `lead` may be NaN: steps
            that are still to come.
        step_minutes: length of a step; divides a day.
        first_minute: of the first step, since the epoch.
        lead: steps from the last one known to the one forecast, at least 1.
        since: the first step that is asked for; what was expected of earlier ones is left out, and not
            computed.

    Returns:
        Quantiles of step i from the values of steps [0, i - lead] only; shape (steps - since, ...).
    """
    first = first_minute % _DAY_MINUTES // step_minutes
    calendar = np.arange(values.size) + first
    day, phase = calendar // (_DAY_MINUTES // step_minutes), calendar % (_DAY_MINUTES // step_minutes)
    known = np.maximum(np.arange(values.size) - lead, 0)
    # a day is over, for a step `lead` ahead, once its last step is known
    today = day[np.maximum(np.arange(values.size) - lead + 1, 0)]
    scale = np.maximum(_running_mean(values)[known], 1e-9)
    profiles = _profiles(values, day, phase, step_minutes)[:, today, phase]
    features = _features(values, step_minutes, known, scale, profiles)
    target = np.log(values / scale + _OFFSET)
    busy = np.flatnonzero(values > 0)
    most = _MAX_GROWTH * np.maximum.accumulate(values)[known]
    quantiles = np.empty((values.size, LEVELS.size))
    fitted = calendar * step_minutes // _FIT_MINUTES
    starts = np.flatnonzero(np.diff(fitted, prepend=fitted[:1] - 1))
    per_day = _DAY_MINUTES // step_minutes
    for begin, end in zip(starts, np.r_[starts[1:], values.size], strict=True):
        if end <= since:
            continue
        examples = busy[: np.searchsorted(busy, begin - lead)][-_MAX_EXAMPLES:]
        weights = 0.5 ** ((begin - examples) / (_HALF_LIFE_DAYS * per_day))
        logs = _block(features, target, examples, weights, slice(begin, end))
        with np.errstate(over="ignore"):
            level = np.maximum(np.exp(logs) - _OFFSET, 0.0) * scale[begin:end, None]
        quantiles[begin:end] = np.minimum(level, most[begin:end, None])
    usual, opens = _usually_busy(values > 0, day, phase, per_day)
    opened = opens[day] | _busy_today(values > 0, day, lead)
    chance = np.where(opened, _chances(values > 0, day, usual[today, phase], step_minutes, lead), 0.0)
    return ShortTermForecasts(quantiles[since:], chance[since:], scale[since:])


def _block(features: Array, target: Array, examples: NDArray[np.intp], weights: Array, block: slice) -> Array:
    """Returns quantiles of the logarithms in a block, fitted on the examples."""
    here = features[block]
    if examples.size < _MIN_EXAMPLES:
        normal = np.array([NormalDist().inv_cdf(level) for level in LEVELS])
        unfitted: Array = here[:, 4:5] + _UNFITTED_SPREAD * normal
        return unfitted
    known = features[examples]
    centre = _ridge(known, target[examples], weights)
    errors = target[examples] - known @ centre
    spread = _ridge(_spread_features(known), np.log(np.abs(errors) + 0.02), weights)
    usual = np.exp(np.clip(_spread_features(known) @ spread, *_SPREAD_BOUNDS))
    expected = np.exp(np.clip(_spread_features(here) @ spread, *_SPREAD_BOUNDS))
    fitted: Array = (here @ centre)[:, None] + expected[:, None] * _quantiles(errors / usual)
    return fitted


def _quantiles(errors: Array) -> Array:
    """Returns the errors at LEVELS: as they were, and beyond _TAIL by peaks over a threshold, if higher.

    The logarithms' excess over a high threshold is taken to be exponential: Pareto in demand.
    """
    seen = np.quantile(errors, LEVELS)
    threshold = float(np.quantile(errors, _EXTREME))
    above = errors[errors > threshold]
    excess = float((above - threshold).mean()) if above.size else 0.0
    begin = float(np.quantile(errors, _TAIL))
    beyond = begin + excess * np.log((1 - _TAIL) / (1 - LEVELS))
    return np.where(LEVELS > _TAIL, np.maximum(seen, beyond), seen)


def _ridge(features: Array, target: Array, weights: Array) -> Array:
    gram = features.T @ (features * weights[:, None])
    gram += _RIDGE * len(target) * np.eye(features.shape[1])
    solution: Array = np.linalg.solve(gram, features.T @ (weights * target))
    return solution


def _spread_features(features: Array) -> Array:
    """What the size of an error depends on: levels, how the profile moves, how far levels disagree."""
    columns: Array = np.c_[
        features[:, [0, 3, 5, 6, 9, 10]],
        np.abs(features[:, 9]),
        np.abs(features[:, 0] - features[:, 3]),
        np.abs(features[:, 5] - features[:, 6]),
        np.ones(len(features)),
    ]
    return columns


def _features(
    values: Array, step_minutes: int, known: NDArray[np.int64], scale: Array, profiles: Array
) -> Array:
    """Returns the features, shape (steps, 12): nine levels, the profile's move, quiet now, one."""
    recent = (
        values,
        _exponential_mean(values, max(3 / step_minutes, 0.7)),
        _exponential_mean(values, max(15 / step_minutes, 2.0)),
        _exponential_mean(values, max(60 / step_minutes, 6.0)),
        _trailing_max(values, max(5 // step_minutes, 3)),
    )
    levels = [level[known] for level in recent]
    missing = np.isnan(profiles[0])
    profile = [np.where(missing, levels[3], profile_values) for profile_values in profiles]
    before = np.where(missing, levels[3], profiles[1][known])
    before = np.where(np.isnan(before), levels[3], before)
    logs = [np.log(level / scale + _OFFSET) for level in (*levels, *profile)]
    move = logs[6] - np.log(before / scale + _OFFSET)
    quiet = (values[known] == 0).astype(np.float64)
    return np.stack([*logs, move, quiet, np.ones(values.size)], axis=1)


def _profiles(values: Array, day: NDArray[np.int64], phase: NDArray[np.int64], step_minutes: int) -> Array:
    """Returns what the days before each did: mean, smoothed mean, peak, last; NaN before there is one.

    Days without any demand (weekends of an exchange) are not counted: those after them are like those before.

    Returns:
        Shape (4, days, steps of a day).
    """
    per_day = _DAY_MINUTES // step_minutes
    grid = np.full((int(day[-1]) + 1 if day.size else 0, per_day), np.nan)
    grid[day, phase] = values
    total, weight, peak, last = (np.zeros(per_day) for _ in range(4))
    profiles = np.full((4, *grid.shape), np.nan)
    for number, row in enumerate(grid):
        if weight.any():
            mean = total / np.maximum(weight, 1e-9)
            wide, narrow = max(15 // step_minutes, 3) | 1, max(10 // step_minutes, 1) | 1
            profiles[:, number] = mean, _smooth(mean, wide), peak, _smooth(last, narrow)
        there = np.isfinite(row)
        if np.nansum(row) > 0:
            total, weight = total * _PROFILE_DECAY, weight * _PROFILE_DECAY
            total[there] += row[there]
            weight[there] += 1
            peak[there] = np.maximum(peak[there] * _PEAK_DECAY, row[there])
            last[there] = row[there]
    return profiles


def _chances(
    busy: NDArray[np.bool_], day: NDArray[np.int64], usual: Array, step_minutes: int, lead: int
) -> Array:
    """Returns how likely demand is at each step, counted on earlier days; 1 where nothing is known."""
    steps = np.arange(busy.size)
    last = np.maximum.accumulate(np.where(busy, steps, -1))
    quiet = (steps - lead - last[np.maximum(steps - lead, 0)]) * step_minutes
    cell = np.searchsorted(_USUAL_EDGES, usual) * (len(_QUIET_MINUTES) + 1)
    cell += np.searchsorted(_QUIET_MINUTES, quiet)
    chance = np.ones(busy.size)
    size = (len(_USUAL_EDGES) + 1) * (len(_QUIET_MINUTES) + 1)
    starts = np.flatnonzero(np.diff(day, prepend=day[:1] - 1))
    for begin, end in zip(starts, np.r_[starts[1:], busy.size], strict=True):
        known = np.flatnonzero(np.isfinite(usual[: max(begin - lead, 0)]))
        seen = np.bincount(cell[known], minlength=size)
        met = np.bincount(cell[known], weights=busy[known].astype(np.float64), minlength=size)
        share = (met + 1) / (seen + 1)  # one imagined step with demand: what was never seen is not ruled out
        chance[begin:end] = share[cell[begin:end]]
    return np.where(np.isnan(usual), 1.0, chance)


def _busy_today(busy: NDArray[np.bool_], day: NDArray[np.int64], lead: int) -> NDArray[np.bool_]:
    """Returns whether the day of each step had demand in the steps known when it is forecast."""
    so_far = np.cumsum(busy)
    begin = np.searchsorted(day, day)  # the first step of each step's day
    before = np.r_[0, so_far][begin]
    known = np.r_[0, so_far][np.clip(np.arange(busy.size) - lead + 1, 0, None)]
    result: NDArray[np.bool_] = known > before
    return result


def _usually_busy(
    busy: NDArray[np.bool_], day: NDArray[np.int64], phase: NDArray[np.int64], per_day: int
) -> tuple[Array, NDArray[np.bool_]]:
    """Returns the share of the open days before each day with demand at each time, and which days open.

    Returns:
        Shapes (days, steps of a day), NaN before the first open day, and (days,).
    """
    grid = np.zeros((int(day[-1]) + 1 if day.size else 0, per_day))
    grid[day, phase] = busy
    open_day = grid.any(axis=1)
    usual, opens = np.full(grid.shape, np.nan), np.ones(len(grid), dtype=np.bool_)
    total, weight = np.zeros(per_day), 0.0
    for number, row in enumerate(grid):
        if weight:
            usual[number] = total / weight
        same = open_day[number % 7 : number : 7]
        opens[number] = same.any() or same.size < MIN_QUIET_WEEKS
        if open_day[number]:
            total, weight = total * _PROFILE_DECAY + row, weight * _PROFILE_DECAY + 1
    return usual, opens


def _running_mean(values: Array) -> Array:
    busy = values > 0
    mean: Array = np.cumsum(np.where(busy, values, 0.0)) / np.maximum(np.cumsum(busy), 1)
    return mean


def _exponential_mean(values: Array, steps: float) -> Array:
    share = 1 - np.exp(-1 / steps)
    result, level = [], float(values[0]) if values.size else 0.0
    for value in values.tolist():
        level += share * (value - level)
        result.append(level)
    return np.array(result)


def _trailing_max(values: Array, width: int) -> Array:
    padded = np.r_[np.repeat(values[:1], width - 1), values]
    highest: Array = np.lib.stride_tricks.sliding_window_view(padded, width).max(axis=1)
    return highest


def _smooth(values: Array, width: int) -> Array:
    """Returns the mean over `width` steps around each, the day taken as a circle; width is odd."""
    half = width // 2
    around = np.r_[values[values.size - half :], values, values[:half]]
    smooth: Array = np.convolve(around, np.full(width, 1 / width), "valid")
    return smooth
