"""What baselines that are fitted to a fleet learn from: features of histories, and the need that followed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from perfopt.evaluation.baselines.base import ContainerHistory
from perfopt.metrics.need import five_minute_means
from perfopt.metrics.snapshot import Array, TimeGrid

RESOURCES = ("cpu", "memory")
WINDOW_DAYS = (1, 3, 7, 14)
PERCENTS = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9)
DAYS = 14
_DAY_SECONDS = 86_400
_SMALL = 1e-3  # of the maximum: below it the logarithm says nothing


@dataclass(frozen=True, slots=True)
class FleetExample:
    """One container at one origin.

    Attributes:
        service: of the container.
        ended: when the window ended that the needs are of; nothing before may learn from it.
        features: shape (features,).
        peaks: highest cpu in cores and memory in bytes of the history, shape (2,).
        needs: the smallest safe values of the window after it, shape (2,).
        limits: what caps each, infinite where nothing does, shape (2,).
        costs: a month of the current request of each, shape (2,).
        current: the current requests, shape (2,).
    """

    service: str
    ended: datetime
    features: Array
    peaks: Array
    needs: Array
    limits: Array
    costs: Array
    current: Array


@dataclass(frozen=True, slots=True)
class FleetTable:
    """Examples as columns, each of shape (examples, 2): cpu and memory; see FleetExample."""

    peaks: Array
    needs: Array
    limits: Array
    costs: Array
    current: Array

    @classmethod
    def of(cls, examples: Sequence[FleetExample]) -> "FleetTable":
        """Returns the columns of at least one example."""
        names = ("peaks", "needs", "limits", "costs", "current")
        return cls(**{name: np.array([getattr(one, name) for one in examples]) for name in names})

    def judge(self, sizes: Array) -> tuple[float, float]:
        """Returns the accuracy of sizes, and the sum of the three forms of their realised saving."""
        safe = (sizes >= self.needs).all(axis=1)
        units = self.costs / self.current
        before, after = self.costs.sum(axis=1), (units * sizes).sum(axis=1)
        least = (units * self.needs).sum(axis=1)
        memory, needed = sizes[:, 1] / self.current[:, 1], self.needs[:, 1] / self.current[:, 1]
        saved = (
            _ratio(safe * (before - after), before - least),
            _ratio(safe * (1 - after / before), 1 - least / before),
            _ratio(safe * (1 - memory), 1 - needed),
        )
        return float(safe.mean()), sum(saved)


def _ratio(saved: Array, possible: Array) -> float:
    total = float(possible.sum())
    return float(saved.sum()) / total if total > 0 else 0.0


def features_of(history: ContainerHistory) -> tuple[Array, Array] | None:
    """Returns features of the history and its peaks (cpu, memory); None where one of both has no sample.

    Of each resource: logarithms of percentiles of 1, 3, 7 and 14 days over the maximum; of the daily maxima
    their values, spread and trend, how often one beat all before it and by how much, days since the maximum;
    and the maximum itself.
    """
    if history.cpu is None or history.memory is None:
        return None
    cpu = np.fmax.reduce(five_minute_means(history.cpu, history.grid), axis=0)
    memory = np.fmax.reduce(history.memory, axis=0)
    steps = TimeGrid(history.grid.start, history.grid.step * (history.grid.size // cpu.size), cpu.size)
    parts = [_features(cpu, steps.step_seconds), _features(memory, history.grid.step_seconds)]
    peaks = np.array([np.nanmax(cpu), np.nanmax(memory)])
    return np.concatenate(parts), np.maximum(peaks, [1e-3, 1.0])


def _features(values: Array, step_seconds: int) -> Array:
    peak = float(np.nanmax(values))
    a_day = max(_DAY_SECONDS // step_seconds, 1)
    features: list[float] = [np.log(max(peak, 1e-9))]
    for days in WINDOW_DAYS:
        recent = values[-days * a_day :]
        recent = recent[np.isfinite(recent)]
        if recent.size:
            features += [*np.percentile(recent, PERCENTS), recent.mean(), recent.max()]
        else:
            features += [np.nan] * (len(PERCENTS) + 2)
    daily = daily_maxima(values, a_day)
    logs = _logs(daily, peak)
    features[1:] = _logs(np.array(features[1:]), peak).tolist()
    return np.array([*features, *logs, *_of_days(logs)])


def _logs(values: Array, peak: float) -> Array:
    shares: Array = np.log(np.maximum(np.nan_to_num(values) / max(peak, 1e-9), _SMALL))
    return shares


def daily_maxima(values: Array, a_day: int) -> Array:
    """Returns the maxima of the last 14 days, oldest first, NaN where a day has no sample; shape (14,)."""
    recent = values[-DAYS * a_day :]
    padded = np.full(DAYS * a_day, np.nan)
    padded[padded.size - recent.size :] = recent
    maxima: Array = np.fmax.reduce(padded.reshape(DAYS, a_day), axis=1)
    return maxima


def _of_days(logs: Array) -> list[float]:
    """Returns spread, trend and records of the logarithms of daily maxima."""
    before = np.maximum.accumulate(logs)[:-1]
    beaten = np.maximum(logs[1:] - before, 0.0)
    ordered = np.sort(logs)
    return [
        float(logs.std()),
        float(np.polyfit(np.arange(DAYS), logs, 1)[0]),
        float(np.count_nonzero(beaten > 0)),
        float(beaten.max()),
        float(beaten.mean()),
        float(DAYS - 1 - logs.argmax()),
        float(ordered[-2]),
        float(ordered[-3]),
        float(np.abs(np.diff(logs)).mean()),
        float(np.abs(np.diff(logs)).max()),
    ]
