"""Turns the history of one container into the numbers that sizing models learn from.

Everything is relative: values to a reference (what the history itself needed), time to the validity
asked for. So one model serves a VM of 32 cores for a week and a job of a tenth of a core for six hours.
Few on purpose: with some hundred series, more features fit the series (docs/research/sizing-model.md).
"""

import math
import warnings
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
_ALLOWED = {"cpu": 0.01, "memory": 0.0}  # share of samples that may lie above the request
LATEST_VALIDITIES = 2
"""So many of the latest validities of a history are read."""
_BLOCKS = 14
# Of so many on a model is not too sure of itself: out of fold, all VMs of bitbrains_rnd.
_ENOUGH_BLOCKS = 10
_TINY = 1e-3  # values below this share of the reference count as this share: logarithms need a floor
_PER_RESOURCE = (
    *("level", "q0.5", "q0.9", "q0.998", "q1.0", "hill0.9", "hill0.98", "roughness", "limit"),
    *("before_q0.99", "before_q1.0", "v1_q0.99", "v1_q1.0", "v7_q1.0"),
    *("needs_top1", "needs_top2", "needs_top3", "needs_mid", "needs_std", "needs_step", "needs_shift"),
    "blocks",
)
NAMES = (*(f"{resource}_{name}" for resource in RESOURCES for name in _PER_RESOURCE), "validity")

_BLOCKS_AT = {resource: NAMES.index(f"{resource}_blocks") for resource in RESOURCES}


@dataclass(frozen=True, slots=True)
class ObservedUse:
    """What is known of one container when it is sized.

    Attributes:
        cpu_cores: 5-minute means, shape (pods, steps), NaN where missing; None where not measured.
        memory_bytes: step maxima, shape (pods, steps), NaN where missing; None where not measured.
        step_seconds: length of a step.
        validity_seconds: how long the size must hold. The latest two validities of history are read.
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
        ceilings: resource to the size that its limit or its idleness makes enough, where there is one.
    """

    values: Array
    references: dict[str, float]
    ceilings: dict[str, SizeCeiling] = field(default_factory=dict)

    @property
    def known(self) -> float:
        """The share of a history of 10/7 of the validity that the least known resource has, in (0, 1]."""
        blocks = min(self.values[_BLOCKS_AT[resource]] for resource in self.references)
        return float(np.clip(blocks, 1, _ENOUGH_BLOCKS)) / _ENOUGH_BLOCKS


def extract(history: ObservedUse) -> UseFeatures:
    """Returns the features of a history; those of a resource without any sample are NaN.

    Logarithms of values are relative to the reference, ages to the validity; `needs_` speaks of what
    each seventh of a validity needed, `blocks` is how many of these are known, `before_`, `v1_` and `v7_`
    speak of all but the latest validity, of that, and of its last seventh.
    """
    named: dict[str, float] = {"validity": math.log(history.validity_seconds)}
    references: dict[str, float] = {}
    ceilings: dict[str, SizeCeiling] = {}
    series = {"cpu": history.cpu_cores, "memory": history.memory_bytes}
    limits = {"cpu": history.cpu_limit_cores, "memory": history.memory_limit_bytes}
    horizon = max(history.validity_seconds / history.step_seconds, 1.0)
    for resource, whole in series.items():
        values = None if whole is None else whole[:, -math.ceil(LATEST_VALIDITIES * horizon) :]
        if values is not None and np.isfinite(values).any():
            reference, found = _resource(resource, values, limits[resource], horizon)
            references[resource] = reference
            ceiling = _ceiling(resource, values, limits[resource])
            ceilings |= {} if ceiling is None else {resource: ceiling}
            named |= {f"{resource}_{name}": value for name, value in found.items()}
    values = np.array([named.get(name, math.nan) for name in NAMES], dtype=np.float32)
    values = values.astype(np.float64)  # rounded, since trees are trained on 32 bits
    return UseFeatures(values, references, ceilings)


def _ceiling(resource: str, values: Array, limit: float | None) -> SizeCeiling | None:
    """Returns the floor where use stays within it, the limit where it holds use down, or None.

    Use above the limit shows that the limit does not hold it; then no more than a tenth above the highest
    ever seen is assumed.
    """
    peak, floor = float(np.nanmax(values)), FLOORS[resource]
    seldom = _ALLOWED["cpu"] * np.isfinite(values).sum()
    if resource == "cpu" and (peak <= floor or (values > floor / 2).sum() <= seldom):
        return SizeCeiling(floor, _HELD_IDLE)
    if limit is None or limit <= 0:
        return None
    return SizeCeiling(max(limit if peak <= limit else peak * OVER_LIMIT_HEADROOM, floor), _HELD_AT_LIMIT)


def _resource(
    resource: str, values: Array, limit: float | None, horizon: float
) -> tuple[float, dict[str, float]]:
    """Returns the reference and the features of one resource; the horizon is the validity in steps."""
    allowed = math.floor(_ALLOWED[resource] * round(horizon)) / round(horizon)
    ordered = np.sort(values[np.isfinite(values)])
    reference = max(_quantile(ordered, 1 - allowed), FLOORS[resource])
    hottest = np.fmax.reduce(values, axis=0)
    logs = np.log(np.maximum(hottest, reference * _TINY) / reference)
    whole = np.log(np.maximum(ordered, reference * _TINY) / reference)
    row = {f"q{level}": _quantile(whole, level) for level in (0.5, 0.9, 0.998, 1.0)}
    row["level"] = math.log(reference / FLOORS[resource])
    row["limit"] = math.log(limit / reference) if limit else math.nan
    for level in (0.9, 0.98):  # mean excess over a level: Hill's estimator of how heavy the tail is
        above = whole[_rank(len(whole), level) :]
        row[f"hill{level}"] = float(above.mean() - above[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where no neighbours have samples it stays NaN
        row["roughness"] = float(np.nanstd(np.diff(logs)))
    row |= _windows(logs, horizon)
    return reference, row | _needs(logs, horizon, allowed)


def _rank(size: int, level: float) -> int:
    """Returns the index of the smallest ordered value that covers the level."""
    return max(math.ceil(level * size - 1e-9) - 1, 0)


def _quantile(ordered: Array, level: float) -> float:
    return float(ordered[_rank(len(ordered), level)]) if len(ordered) else math.nan


def _windows(logs: Array, horizon: float) -> dict[str, float]:
    last = math.ceil(horizon)
    ordered = {
        name: np.sort(cut[np.isfinite(cut)])
        for name, cut in (
            ("before", logs[:-last]),
            ("v1", logs[-last:]),
            ("v7", logs[-math.ceil(horizon / 7) :]),
        )
    }
    return {
        f"{name}_q{level}": _quantile(cut, level) for name, cut in ordered.items() for level in (0.99, 1.0)
    }


def _needs(logs: Array, horizon: float, allowed: float) -> dict[str, float]:
    """Returns how what each seventh of a validity needed is spread, and how it moved."""
    needs = _block_needs(logs, max(math.floor(horizon / 7), 1), allowed)
    finite = needs[np.isfinite(needs)]
    steps = np.diff(needs)
    steps = steps[np.isfinite(steps)]
    row = {
        "needs_step": float(np.abs(steps).mean()) if len(steps) else math.nan,
        "blocks": float(len(finite)),
    }
    if len(finite) < 2:
        return row
    top, half = np.sort(finite)[::-1], len(finite) // 2
    return row | {
        "needs_top1": float(top[0]),
        "needs_top2": float(top[1]),
        "needs_top3": float(top[min(2, len(top) - 1)]),
        "needs_mid": float(np.median(top)),
        "needs_std": float(finite.std()),
        "needs_shift": float(np.median(finite[:half]) - np.median(finite[half:])),
    }


def _block_needs(logs: Array, length: int, allowed: float) -> Array:
    """Returns what each of the latest 14 blocks needed, latest first; NaN with under a quarter of samples."""
    padded = np.full(_BLOCKS * length, np.nan)
    used = logs[-padded.size :]
    padded[padded.size - used.size :] = used
    table = np.sort(padded.reshape(_BLOCKS, length)[::-1], axis=1)  # NaN last
    counts = np.isfinite(table).sum(axis=1)
    ranks = np.maximum(np.ceil((1 - allowed) * counts - 1e-9).astype(int) - 1, 0)
    needs: Array = np.where(counts > length // 4, table[np.arange(_BLOCKS), ranks], np.nan)
    return needs
