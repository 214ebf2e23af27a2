"""Turns the history of one container into the numbers that sizing models learn from.

Everything is relative: values to a reference (what the history itself needed), time to the validity
asked for. So one model serves a VM of 32 cores for a week and a job of a tenth of a core for six hours, and
use that is k times as high gives sizes that are. No feature knows a limit: it caps a size (`SizeCeiling`).
"""

import math
from dataclasses import dataclass, field

import numpy as np

from perfopt.plugin import CPU_FLOOR_CORES, MEMORY_FLOOR_BYTES, Array

RESOURCES = ("cpu", "memory")
FLOORS = {"cpu": CPU_FLOOR_CORES, "memory": float(MEMORY_FLOOR_BYTES)}
OVER_LIMIT_HEADROOM = 1.1
# Of 1,271 windows under a cpu limit never passed before none needed more, of 1,359 of memory one, and of 158
# above a limit passed before none needed over a tenth more; of 201 idle ones 97.5 % stayed so. Tuning half of
# bitbrains_rnd.
_HELD_AT_LIMIT, _HELD_IDLE = 0.99, 0.97
ALLOWED = {"cpu": 0.01, "memory": 0.0}
"""Share of samples that may lie above the request."""
LATEST_VALIDITIES = 4
"""So many of the latest validities of a history are read."""
REFERENCE_VALIDITIES = 2
"""The reference is what the latest two validities needed."""
_BLOCKS_PER_VALIDITY = 7
_BLOCKS = LATEST_VALIDITIES * _BLOCKS_PER_VALIDITY
_REFERENCE_BLOCKS = REFERENCE_VALIDITIES * _BLOCKS_PER_VALIDITY
# Of so many on a model is not too sure of itself: out of fold, all VMs of bitbrains_rnd.
_ENOUGH_BLOCKS = 10
_TINY = 1e-3  # values below this share of the reference count as this share: logarithms need a floor
_CONSTANT = 1e-9  # variance, in logarithms, below which a series is constant
_RECORD = 0.02  # a block beats the validity before it by more than this, in logarithms
_WINDOWS = {1: (0.5, 0.99, 1.0), 3: (0.5, 0.99, 1.0), 7: (0.5, 0.9, 0.98, 0.99, 1.0)}
_WINDOWS |= {14: _WINDOWS[7], 28: (0.99, 1.0)}
_BEFORE = (0.99, 1.0)  # quantiles of the validity before the latest
_SPREAD = ("hill0.9", "hill0.98", "roughness", "near0.1", "near0.4", "mean", "std")
_SERIES = ("needs", "peaks", "middles")
_OF_SERIES = (
    *("top1", "top2", "top3", "mid", "std", "low", "step", "shift", "change"),
    *("records", "record_size", "age", "gap", "count", "weekly", "rise_max", "rise_mean"),
)
_PER_RESOURCE = (
    *(f"v{window}_q{level}" for window, levels in _WINDOWS.items() for level in levels),
    *(f"before_q{level}" for level in _BEFORE),
    *_SPREAD,
    *(f"{series}_{name}" for series in _SERIES for name in _OF_SERIES),
)
NAMES = tuple(f"{resource}_{name}" for resource in RESOURCES for name in _PER_RESOURCE)

_COUNT_AT = {resource: NAMES.index(f"{resource}_needs_count") for resource in RESOURCES}


@dataclass(frozen=True, slots=True)
class ObservedUse:
    """What is known of one container when it is sized.

    Attributes:
        cpu_cores: 5-minute means, shape (pods, steps), NaN where missing; None where not measured.
        memory_bytes: step maxima, shape (pods, steps), NaN where missing; None where not measured.
        step_seconds: length of a step.
        validity_seconds: how long the size must hold. The latest four validities of history are read.
        cpu_limit_cores, memory_limit_bytes: the limits (or the capacity) in force now; None where unknown.
    """

    cpu_cores: Array | None
    memory_bytes: Array | None
    step_seconds: int
    validity_seconds: float
    cpu_limit_cores: float | None = None
    memory_limit_bytes: float | None = None


@dataclass(frozen=True, slots=True)
class SizeCeiling:
    """A size that no more than is needed of, whatever a model says of the history.

    Attributes:
        size: cores or bytes.
        held: the share of such cases in which it was enough.
    """

    size: float
    held: float


@dataclass(frozen=True, slots=True)
class UseFeatures:
    """A feature vector with what it is relative to.

    Attributes:
        values: shape (len(NAMES),), NaN where a feature does not apply.
        references: resource to the size that its history needed, in cores or bytes; the sizes that
            models speak of are factors of it. A resource that was not measured is absent.
        peaks: resource to the highest value of the latest two validities, in cores or bytes.
        ceilings: resource to the size that its limit or its idleness makes enough, where there is one.
    """

    values: Array
    references: dict[str, float]
    peaks: dict[str, float] = field(default_factory=dict)
    ceilings: dict[str, SizeCeiling] = field(default_factory=dict)

    @property
    def known(self) -> float:
        """The share of a history of 10/7 of the validity that the least known resource has, in (0, 1]."""
        blocks = min(self.values[_COUNT_AT[resource]] for resource in self.references)
        return float(np.clip(blocks, 1, _ENOUGH_BLOCKS)) / _ENOUGH_BLOCKS


def extract(history: ObservedUse) -> UseFeatures:
    """Returns the features of a history; those of a resource without any sample are NaN.

    Logarithms of values are relative to the reference, times to blocks of a seventh of the validity.
    `v7_q0.99` is a quantile of the latest seven blocks, `before_` of the validity before the latest;
    `needs_`, `peaks_` and `middles_` speak of what each block needed, its highest value and its median.
    """
    named: dict[str, float] = {}
    references: dict[str, float] = {}
    peaks: dict[str, float] = {}
    ceilings: dict[str, SizeCeiling] = {}
    series = {"cpu": history.cpu_cores, "memory": history.memory_bytes}
    limits = {"cpu": history.cpu_limit_cores, "memory": history.memory_limit_bytes}
    block = max(math.floor(history.validity_seconds / history.step_seconds / _BLOCKS_PER_VALIDITY), 1)
    for resource, whole in series.items():
        latest = None if whole is None else whole[:, -_REFERENCE_BLOCKS * block :]
        if whole is not None and latest is not None and np.isfinite(latest).any():
            values = whole[:, -_BLOCKS * block :]
            references[resource], row = _resource(resource, values, block)
            peaks[resource] = float(np.nanmax(latest))
            ceiling = _ceiling(resource, latest, limits[resource])
            ceilings |= {} if ceiling is None else {resource: ceiling}
            named |= {f"{resource}_{name}": value for name, value in row.items()}
    vector = np.array([named.get(name, math.nan) for name in NAMES], dtype=np.float32)
    return UseFeatures(vector.astype(np.float64), references, peaks, ceilings)  # trees are of 32 bits


def _ceiling(resource: str, values: Array, limit: float | None) -> SizeCeiling | None:
    """Returns the floor where use stays within it, the limit where it holds use down, or None.

    Use above the limit shows that the limit does not hold it; then no more than a tenth above the highest
    ever seen is assumed.
    """
    peak, floor = float(np.nanmax(values)), FLOORS[resource]
    seldom = ALLOWED["cpu"] * np.isfinite(values).sum()
    if resource == "cpu" and (peak <= floor or (values > floor / 2).sum() <= seldom):
        return SizeCeiling(floor, _HELD_IDLE)
    if limit is None or limit <= 0:
        return None
    return SizeCeiling(max(limit if peak <= limit else peak * OVER_LIMIT_HEADROOM, floor), _HELD_AT_LIMIT)


def _resource(resource: str, values: Array, block: int) -> tuple[float, dict[str, float]]:
    """Returns the reference and the features of one resource.

    Args:
        resource: "cpu" or "memory".
        values: of the latest blocks, shape (pods, steps).
        block: steps of a block.
    """
    allowed = ALLOWED[resource]
    latest = values[:, -_REFERENCE_BLOCKS * block :]
    reference = max(_quantile(np.sort(latest[np.isfinite(latest)]), 1 - allowed), FLOORS[resource])
    logs = np.log(np.maximum(values, reference * _TINY) / reference)
    row = _windows(logs, block) | _spread(logs[:, -_REFERENCE_BLOCKS * block :])
    for name, series in _block_series(np.fmax.reduce(logs, axis=0), block, allowed).items():
        row |= {f"{name}_{key}": value for key, value in _of_series(series).items()}
    return reference, row


def _rank(size: int, level: float) -> int:
    """Returns the index of the smallest ordered value that covers the level."""
    return max(math.ceil(level * size - 1e-9) - 1, 0)


def _quantile(ordered: Array, level: float) -> float:
    return float(ordered[_rank(len(ordered), level)]) if len(ordered) else math.nan


def _windows(logs: Array, block: int) -> dict[str, float]:
    """Returns quantiles of the latest blocks; of less than a validity against the same blocks one before.

    So a load that repeats each validity, as one with quiet weekends does, is the same on every day of it.
    """
    row: dict[str, float] = {}
    validity = _BLOCKS_PER_VALIDITY * block
    for window, levels in _WINDOWS.items():
        ordered = _ordered(logs[:, -window * block :])
        row |= {f"v{window}_q{level}": _quantile(ordered, level) for level in levels}
        if window < _BLOCKS_PER_VALIDITY:
            same = _ordered(logs[:, -validity - window * block : -validity])
            row |= {
                f"v{window}_q{level}": row[f"v{window}_q{level}"] - _quantile(same, level) for level in levels
            }
    before = _ordered(logs[:, -2 * validity : -validity])
    return row | {f"before_q{level}": _quantile(before, level) for level in _BEFORE}


def _ordered(values: Array) -> Array:
    return np.sort(values[np.isfinite(values)])


def _spread(logs: Array) -> dict[str, float]:
    """Returns how samples are spread: tails, roughness, and the share of them near the highest."""
    ordered = _ordered(logs)
    row = {f"near{below}": float((ordered > ordered[-1] - below).mean()) for below in (0.1, 0.4)}
    row |= {"mean": math.log(np.exp(ordered).mean()), "std": float(ordered.std())}
    for level in (0.9, 0.98):  # mean excess over a level: Hill's estimator of how heavy the tail is
        above = ordered[_rank(len(ordered), level) :]
        row[f"hill{level}"] = float(above.mean() - above[0])
    hottest = np.fmax.reduce(logs, axis=0)
    steps = hottest[1:] - hottest[:-1]
    steps = steps[np.isfinite(steps)]
    return row | {"roughness": float(steps.std()) if len(steps) else math.nan}


def _block_series(logs: Array, block: int, allowed: float) -> dict[str, Array]:
    """Returns needs and medians of the latest 14 blocks and peaks of 28, latest first.

    NaN where a block has under a quarter of its samples.

    Args:
        logs: of the hottest pod, shape (steps,).
        block: steps of a block.
        allowed: share of samples that may lie above what a block needs.
    """
    padded = np.full(_BLOCKS * block, np.nan)
    padded[padded.size - logs.size :] = logs
    table = np.sort(padded.reshape(_BLOCKS, block)[::-1], axis=1)  # NaN last
    counts = np.isfinite(table).sum(axis=1)

    def at(share: float) -> Array:
        ranks = np.maximum(np.ceil(share * counts - 1e-9).astype(int) - 1, 0)
        ranked: Array = np.where(counts > block // 4, table[np.arange(_BLOCKS), ranks], np.nan)
        return ranked

    latest = _REFERENCE_BLOCKS
    return {"needs": at(1 - allowed)[:latest], "peaks": at(1.0), "middles": at(0.5)[:latest]}


def _of_series(values: Array) -> dict[str, float]:
    """Returns spread, trend and records of a series of blocks, latest first."""
    finite = values[np.isfinite(values)]
    count = len(finite)
    row = {"count": float(count)}
    if count < 2:
        return row
    length, half, top = _BLOCKS_PER_VALIDITY, count // 2, np.sort(finite)[::-1]
    steps = np.abs(values[1:] - values[:-1])
    steps = steps[np.isfinite(steps)]
    steps = steps[: len(steps) // length * length or None]  # of whole validities
    latest, before = finite[:length], finite[length : 2 * length]
    return row | {
        "top1": float(top[0]),
        "top2": float(top[1]),
        "top3": float(top[min(2, count - 1)]),
        "mid": _middle(top),
        "std": math.sqrt(_covariance(finite, finite)),
        "low": float(top[-1]),
        "step": float(steps.sum()) / len(steps) if len(steps) else math.nan,
        "shift": _middle(np.sort(finite[:half])) - _middle(np.sort(finite[half:])),
        "change": float(latest.mean() - before.mean()) if len(before) else math.nan,
        "age": float(np.argmax(finite) // length),
        "gap": float(top[0] - top[1]),
        "weekly": _weekly(finite),
        **_rises(finite[::-1]),
    }


def _middle(ordered: Array) -> float:
    """Returns the median of ordered values."""
    return float(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _covariance(one: Array, other: Array) -> float:
    count = len(one)
    return max(float(one @ other) / count - float(one.sum()) * float(other.sum()) / count**2, 0.0)


def _weekly(values: Array) -> float:
    """Returns the correlation of blocks with those a validity before; 0 of a constant, or if negative."""
    if len(values) < _BLOCKS_PER_VALIDITY + 3:
        return math.nan
    one, other = values[:-_BLOCKS_PER_VALIDITY], values[_BLOCKS_PER_VALIDITY:]
    spread = math.sqrt(_covariance(one, one) * _covariance(other, other))
    return _covariance(one, other) / spread if spread > _CONSTANT else 0.0


def _rises(values: Array) -> dict[str, float]:
    """Returns how often a block beat the validity before it and by how much, and by how much a validity did.

    Args:
        values: of blocks that are known, oldest first.
    """
    length = _BLOCKS_PER_VALIDITY
    if len(values) <= length:
        return {}
    highest = np.lib.stride_tricks.sliding_window_view(values, length).max(axis=1)
    beats = values[length:] - highest[:-1]
    count, beats = len(beats), beats[beats > _RECORD]
    row = {"records": len(beats) / count, "record_size": float(beats.sum()) / max(len(beats), 1)}
    rises = highest[length:] - highest[:-length]
    if len(rises):
        row |= {"rise_max": float(rises.max()), "rise_mean": float(rises.sum()) / len(rises)}
    return row
