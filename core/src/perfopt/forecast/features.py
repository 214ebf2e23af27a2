"""What a history says about each future step, as numbers without unit: the input of the fleet network.

A future step sees its column of the folded history: the samples of past days at its time of day, split in
two kinds of day (weekday or weekend; session or closed with an exchange calendar), and how far the last
hours were from what such columns made expect.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfopt.forecast.experts import LEVELS, experts, sorted_quantiles
from perfopt.forecast.folding import FoldedHistory
from perfopt.metrics.snapshot import Array
from perfopt.plugin.calendar import Bools

Steps = NDArray[np.int64]
FEATURES = 82  # how many numbers the network reads of a step
HALF_LIFE_DAYS = 5.0
_PHASE_READ = [LEVELS.index(level) for level in (0.05, 0.25, 0.5, 0.75, 0.95)]
# of all of the history, its last week and its last hours: expert and level
_SUGGESTIONS_READ = ((1, 3), (1, 5), (2, 3), (2, 5), (2, 7), (2, 10), (3, 3), (3, 7))
_TAILS = (0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
_NEAR_SECONDS = 900
_LEVEL_HOURS = (0.2, 1.0, 6.0, 24.0)
_FADE_HOURS = (1.0, 6.0, 36.0)
_RECENT_DAYS = 3
_OTHER_KIND = 0.02  # weight of all days in the mean of a kind of day that was hardly seen
_SMALL = 0.01
_STILL = -11  # the feature that is the share of samples that repeat the one before
_STILL_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class _DayShape:
    """What days look like.

    Attributes:
        overall: decayed mean by time of day over all days, shape (size,).
        means: the same for each kind of day, shape (2, size).
        masses: decayed number of samples behind `means`, shape (2, size).
        residual: z less the mean of its kind, shape (days, size), NaN where missing.
        off: the same with 0 where missing.
        deviation: decayed root mean square of the residual by time of day, shape (size,).
    """

    overall: Array
    means: Array
    masses: Array
    residual: Array
    off: Array
    deviation: Array


def _shape(folded: FoldedHistory) -> _DayShape:
    weights = 0.5 ** (np.arange(len(folded.z) - 1, -1, -1) / HALF_LIFE_DAYS)
    known = np.isfinite(folded.z)
    filled = np.where(known, folded.z, 0.0)
    mass = weights @ known
    overall = np.where(
        mass > 0, (weights @ filled) / np.maximum(mass, 1e-9), filled.sum() / max(known.sum(), 1)
    )
    kinds = [known & ~folded.rest, known & folded.rest]
    sums = np.stack([weights @ np.where(kind, filled, 0.0) for kind in kinds])
    masses = np.stack([weights @ kind for kind in kinds])
    means = (sums + _OTHER_KIND * overall) / (masses + _OTHER_KIND)
    residual = folded.z - np.where(folded.rest, means[1], means[0])
    off = np.where(known, residual, 0.0)
    squares = off**2
    deviation = np.sqrt((weights @ squares + 0.05 * squares.mean()) / (mass + 0.05))
    return _DayShape(overall, means, masses, residual, off, deviation)


@dataclass(frozen=True, slots=True)
class NetworkInputs:
    """What the network reads, of n steps.

    Attributes:
        features: shape (n, features).
        base: what its own quantiles are counted from, in z, shape (n,).
        unit: the unit of spread that they are counted in, in z, shape (n,).
        experts: quantiles that the history suggests, in z, shape (n, experts, levels); see experts.py.
    """

    features: NDArray[np.float32]
    base: Array
    unit: Array
    experts: NDArray[np.float32]

    def still(self) -> Bools:
        """Returns of which steps the series often repeats a sample exactly, shape (n,)."""
        result: Bools = self.features[:, _STILL] > _STILL_SHARE
        return result


def features(folded: FoldedHistory, rest: Bools, leads: Steps) -> NetworkInputs:
    """Returns what the network reads.

    Args:
        folded: the history.
        rest: which of the steps asked for lie on a weekend or closed day, shape (n,).
        leads: steps after the origin, 0 is the first, shape (n,).
    """
    ordered = np.sort(folded.z[np.isfinite(folded.z)])
    shape = _shape(folded)
    size, step = folded.z.shape[1], folded.step
    column, kind = leads % size, rest.astype(np.int64)
    base = shape.means[kind, column]
    phases = _at_phase(folded, kind, column, base)
    at_phase = phases[_PHASE_READ]
    known = np.isfinite(shape.residual)
    spread_all = float(np.abs(shape.residual[known]).mean())
    unseen = shape.masses[kind, column] < 0.5
    deviation = shape.deviation[column]
    unit = 0.25 * (at_phase[4] - at_phase[0]) + 0.5 * deviation + spread_all * (_SMALL + 0.1 * unseen)
    unit = np.maximum(unit, 1e-12)
    hours = (leads + 1) * (step / 3600.0)
    fades = [0.5 ** (hours / fade) for fade in _FADE_HOURS]
    suggested = experts(folded, phases, ordered)
    by_series, offsets = _by_series(folded, shape, ordered), _offsets(folded, shape)
    slopes = _slopes(shape.residual)
    columns = [
        *(at_phase - base),
        base,
        *_by_step(folded, shape, leads, base),
        deviation,
        np.log(unit),
        np.minimum(shape.masses[kind, column], 5.0),
        *(fade * offset for offset in offsets[:4] for fade in fades),
        *(level - base for level in _levels(folded, ordered)),
        *(suggested[:, which, level] - base for which, level in _SUGGESTIONS_READ),
        *(slope * np.minimum(hours / 24, 7.0) for slope in slopes),
        np.log(hours),
        *fades,
        np.minimum(hours / 24, 7.0),
        rest * 1.0,
    ]
    result = np.empty((leads.size, len(columns) + len(by_series) + len(offsets) + len(slopes)), np.float32)
    for number, values in enumerate(columns):
        result[:, number] = values
    result[:, len(columns) :] = np.array([*by_series, *offsets, *slopes])
    return NetworkInputs(result, base, unit, suggested)


def _at_phase(folded: FoldedHistory, kind: NDArray[np.int64], column: Steps, base: Array) -> Array:
    """Returns quantiles of past days of the step's kind near its time of day, shape (levels, n)."""
    table = np.full((2, len(LEVELS), folded.z.shape[1]), np.nan)
    for number in np.unique(kind):
        table[number] = _phase_quantiles(folded, bool(number))
    values = table[kind, :, column].T
    return np.where(np.isfinite(values), values, base)


def _phase_quantiles(folded: FoldedHistory, kind: bool) -> Array:
    """Returns quantiles by time of day over days of one kind, (levels, size); quarter hours are pooled."""
    size = folded.z.shape[1]
    stride = max(_NEAR_SECONDS // folded.step, 1)
    z = np.where(folded.rest == kind, folded.z, np.nan)
    if stride > 1:
        rows = -(-size // stride)
        padded = np.concatenate([z[:, -stride:], z, z[:, : stride * (rows + 1) - size]], axis=1)
        picks = np.arange(rows)[:, None] * stride + np.arange(0, 3 * stride, max(stride // 5, 1))
        pooled = padded[:, picks].transpose(1, 0, 2).reshape(rows, -1)
    else:
        pooled = z.T
    ordered = np.sort(pooled, axis=1)  # NaN last
    count = np.isfinite(ordered).sum(axis=1)
    table = np.stack([_pick(ordered, count, level) for level in LEVELS])
    return table[:, np.arange(size) // stride]


def _pick(ordered: Array, count: Steps, level: float) -> Array:
    """Returns a quantile of each row's first `count` values, which are sorted; NaN where there are none."""
    place = level * np.maximum(count - 1, 0)
    low = place.astype(np.int64)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    rows = np.arange(len(ordered))
    share = place - low
    below, above = ordered[rows, low], ordered[rows, high]
    return np.where(count > 0, below + share * (above - below), np.nan)


def _by_step(folded: FoldedHistory, shape: _DayShape, leads: Steps, base: Array) -> list[Array]:
    """Returns what single days say of each step: yesterday, and the same weekday."""
    days, size = folded.z.shape
    column = leads % size
    reach = max(_NEAR_SECONDS // folded.step, 1)
    last = folded.z[-1]
    yesterday = np.where(np.isfinite(last), last, shape.overall)
    near = _smooth(last, reach)
    near = np.where(np.isfinite(near), near, shape.overall)
    row = days - 7 + leads // size % 7  # the same weekday in the last seven days
    seen = row >= 0
    week = np.where(seen, folded.z[np.maximum(row, 0), column], np.nan)
    weekly = np.isfinite(week)
    return [
        yesterday[column] - base,
        near[column] - base,
        np.where(weekly, week - base, 0.0),
        _same_weekday(folded, row * size + column, reach, base) - base,
        weekly * 1.0,
        shape.overall[column] - base,
    ]


def _smooth(row: Array, reach: int) -> Array:
    """Returns the mean of each value and its neighbours within reach, over what is known."""
    known = np.isfinite(row)
    kernel = np.ones(2 * reach + 1)[: row.size]
    sums = np.convolve(np.where(known, row, 0.0), kernel, mode="same")
    counts = np.convolve(known.astype(np.float64), kernel, mode="same")
    return np.where(counts > 0.5, sums / np.maximum(counts, 1), np.nan)


def _same_weekday(folded: FoldedHistory, place: Steps, reach: int, base: Array) -> Array:
    """Returns the mean near the same time of the same weekday, a week half as heavy as the next."""
    flat = folded.z.ravel()
    known = np.isfinite(flat)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, flat, 0.0))])
    counts = np.concatenate([[0.0], np.cumsum(known)])
    total, mass = np.zeros(place.size), np.zeros(place.size)
    for week in range(-(-len(folded.z) // 7)):
        centre = place - week * 7 * folded.z.shape[1]
        low = np.clip(centre - reach, 0, flat.size)
        high = np.where(centre >= 0, np.clip(centre + reach + 1, 0, flat.size), low)
        total += 0.5**week * (sums[high] - sums[low])
        mass += 0.5**week * (counts[high] - counts[low])
    return np.where(mass > 1e-9, total / np.maximum(mass, 1e-9), base)


def _levels(folded: FoldedHistory, ordered: Array) -> list[float]:
    """Returns where the series was last, and its tails."""
    recent = folded.z[-_RECENT_DAYS:].ravel()
    finite = folded.z[np.isfinite(folded.z)]
    tails = sorted_quantiles(ordered, (0.01, 0.9, 0.999))
    return [float(finite[-1]), *(_decayed(recent, folded.step, hours) for hours in _LEVEL_HOURS), *tails]


def _offsets(folded: FoldedHistory, shape: _DayShape) -> list[float]:
    """Returns by how much the last hours were off what their time of day made expect."""
    recent = shape.residual[-_RECENT_DAYS:].ravel()
    known = recent[np.isfinite(recent)]
    last = float(known[-1]) if known.size else 0.0
    return [last, *(_decayed(recent, folded.step, hours) for hours in _LEVEL_HOURS)]


def _slopes(residual: Array) -> list[float]:
    """Returns the change a day over the last days, half the days and all days: leaks and growth."""
    by_day = np.array([_mean(day) for day in residual])
    days = by_day.size
    slopes = []
    for length in (3, max(days // 2, 2), days):
        used = by_day[-min(length, days) :]
        time = np.arange(used.size) - (used.size - 1) / 2
        slopes.append(float(time @ used / (time @ time)))
    return slopes


def _by_series(folded: FoldedHistory, shape: _DayShape, ordered: Array) -> list[float]:
    """Returns what kind of series it is: tails, spread, how alike days, weeks and hours are, drift."""
    z, step = folded.z, folded.step
    off, residual = shape.off, shape.residual
    finite = z[np.isfinite(z)]
    recent = np.abs(residual[-_RECENT_DAYS:].ravel())
    moves = np.abs(np.diff(z.ravel()))
    by_day = np.array([_mean(day) for day in residual])
    total = max(float(((finite - finite.mean()) ** 2).sum()), 1e-9)
    square = max(float((off**2).sum()), 1e-9)
    return [
        *sorted_quantiles(ordered, _TAILS),
        *(np.log(_SMALL + _decayed(recent, step, hours)) for hours in _LEVEL_HOURS),
        np.log(_SMALL + _mean(np.abs(residual))),
        np.log(_SMALL + _decayed(moves[-_RECENT_DAYS * z.shape[1] :], step, 6.0)),
        np.log(_SMALL + _mean(moves)),
        1 - square / total,
        float((off[1:] * off[:-1]).sum()) / square,
        float((off[7:] * off[:-7]).sum()) / square if len(z) > 7 else 0.0,
        _autocorrelation(off.ravel(), max(3600 // step, 1)),
        float(by_day[-1] - by_day[:-1].mean()),
        float(np.abs(np.diff(by_day)).mean()),
        float((np.abs(np.diff(finite)) < 1e-9).mean()),
        float(np.log(len(z))),
        float(np.log(step / 300.0)),
    ]


def _decayed(recent: Array, step: int, hours: float) -> float:
    """Returns the mean of the known values, half as heavy for every `hours` of age (newest last)."""
    known = np.isfinite(recent)
    age = np.arange(recent.size - 1, -1, -1) * (step / 3600.0)
    weights = np.where(known, 0.5 ** (age / hours), 0.0)
    total = float(weights.sum())
    return float(weights @ np.where(known, recent, 0.0)) / total if total > 1e-9 else 0.0


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else 0.0


def _autocorrelation(values: Array, lag: int) -> float:
    later, earlier = values[lag:], values[: values.size - lag]
    return float((later * earlier).sum()) / max(float((values**2).sum()), 1e-9)
