"""What the fleet network is trained on: single steps ahead of random origins of series."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfopt.forecast.features import NetworkInputs, features
from perfopt.forecast.folding import FoldedHistory
from perfopt.forecast.training.generated import GENERATED
from perfopt.forecast.training.series import LOADS, TrainingSeries
from perfopt.metrics.snapshot import Array
from perfopt.plugin.calendar import DAY_SECONDS as DAY
from perfopt.plugin.calendar import Bools

Ints = NDArray[np.int64]
HISTORY_DAYS = (3, 5, 7, 10, 14, 14, 14, 21, 28)
PICKS = 12  # steps of each origin in the next hour, in the next day and in the next week
SEED = 6
ORIGINS_GENERATED = 10
MIN_ORIGINS, MAX_ORIGINS = 4, 150  # of a measured series
OTHERS_SHARE = 0.25  # of the origins of a load: memory and network tell less


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """All steps of all origins of all series.

    Attributes:
        inputs: see `perfopt.forecast.features`.
        outcome: (value - centre) / scale of the history, shape (n,).
        scale: of the history, in the unit of the series, shape (n,).
        series: number of the series, shape (n,).
        seconds: from the origin to the step, shape (n,).
        days: of history, shape (n,).
        names: metric and name of each series.
    """

    inputs: NetworkInputs
    outcome: Array
    scale: Array
    series: Ints
    seconds: Ints
    days: Ints
    names: tuple[tuple[str, str], ...]

    def of(self, metric: str) -> Ints:
        """Returns the numbers of the series of a metric that have rows."""
        present: Ints = np.unique(self.series)
        return np.array([n for n in present.tolist() if self.names[n][0] == metric], dtype=np.int64)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The measured metrics that have rows."""
        present = dict.fromkeys(self.names[number][0] for number in np.unique(self.series).tolist())
        return tuple(metric for metric in present if metric != GENERATED)

    def measured(self) -> Bools:
        """Returns which rows are of measured series, shape (n,)."""
        result: Bools = np.array([metric != GENERATED for metric, _ in self.names])[self.series]
        return result


@dataclass(frozen=True, slots=True)
class _OriginRows:
    """The rows of one origin."""

    inputs: NetworkInputs
    outcome: Array
    scale: float
    seconds: Ints
    days: int


def collect(
    series: Iterable[TrainingSeries],
    origins: int,
    each: Callable[[Sequence[TrainingSeries]], Iterable[TrainingSeries]] = iter,
) -> TrainingRows:
    """Returns the rows of random origins of all series; always the same for the same series.

    Args:
        series: measured, then generated.
        origins: of all series of a load together, spread evenly; of other metrics a quarter as many.
        each: goes through the series, to show how far it is.
    """
    series = list(series)
    rng = np.random.default_rng(SEED)
    counts = _counts(series, origins)
    by_origin: list[tuple[int, _OriginRows]] = []
    for number, one in enumerate(each(series)):
        day = (one.start + np.arange(one.values.size) * one.step) // DAY
        rest = (day + 3) % 7 >= 5
        drawn = (_origin(one, rest, rng) for _ in range(counts[one.metric]))
        by_origin += [(number, rows) for rows in drawn if rows is not None]
    return _joined(by_origin, tuple((one.metric, one.name) for one in series))


def _counts(series: Sequence[TrainingSeries], origins: int) -> dict[str, int]:
    """Returns how many origins each series of a metric gets."""
    numbers: dict[str, int] = {}
    for one in series:
        numbers[one.metric] = numbers.get(one.metric, 0) + 1
    shares = {metric: 1.0 if metric in LOADS else OTHERS_SHARE for metric in numbers}
    counts = {
        metric: min(max(round(origins * shares[metric] / count), MIN_ORIGINS), MAX_ORIGINS)
        for metric, count in numbers.items()
    }
    return {**counts, GENERATED: ORIGINS_GENERATED}


def _origin(one: TrainingSeries, rest: Bools, rng: np.random.Generator) -> _OriginRows | None:
    """Returns steps after a random origin; None where too little is known of before or after it."""
    size, values = DAY // one.step, one.values
    days = int(rng.choice(HISTORY_DAYS))
    first, last = min(days, values.size // size - 2) * size, values.size - size
    if first <= 0 or last <= first:
        return None
    origin = int(rng.integers(first, last))
    begin = max(origin - days * size, 0)
    folded = FoldedHistory.fold(values[begin:origin], rest[begin:origin], one.step)
    if folded is None:
        return None
    ranges = (max(3600 // one.step, 1), size, min(7 * size, values.size - origin))
    leads = np.unique(np.concatenate([rng.integers(0, until, PICKS) for until in ranges]))
    leads = leads[np.isfinite(values[origin + leads])]
    if not leads.size:
        return None
    outcome = (values[origin + leads] - folded.scaling.centre) / folded.scaling.scale
    inputs = features(folded, rest[origin + leads], leads)
    return _OriginRows(inputs, outcome, folded.scaling.scale, leads * one.step, len(folded.z))


def _joined(by_origin: Sequence[tuple[int, _OriginRows]], names: tuple[tuple[str, str], ...]) -> TrainingRows:
    sizes = [rows.outcome.size for _, rows in by_origin]
    inputs = NetworkInputs(
        *(
            np.concatenate([getattr(rows.inputs, name) for _, rows in by_origin])
            for name in ("features", "base", "unit", "experts")
        )
    )
    return TrainingRows(
        inputs,
        np.concatenate([rows.outcome for _, rows in by_origin]),
        np.repeat([rows.scale for _, rows in by_origin], sizes),
        np.repeat([number for number, _ in by_origin], sizes),
        np.concatenate([rows.seconds for _, rows in by_origin]),
        np.repeat([rows.days for _, rows in by_origin], sizes),
        names,
    )
