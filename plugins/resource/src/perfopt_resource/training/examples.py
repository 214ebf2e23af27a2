"""What there is to learn from: instants at which a history was known and what then came of it."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Self

import numpy as np

from perfopt.plugin import (
    MIN_HISTORY,
    SCORED_COVERAGE,
    Array,
    TimeGrid,
    smallest_cpu_request,
    smallest_memory_request,
)
from perfopt_resource.model.features import (
    FLOORS,
    NAMES,
    RESOURCES,
    ObservedUse,
    UseFeatures,
    extract,
)

if TYPE_CHECKING:
    import pandas as pd

_HOUR = 3600


@dataclass(frozen=True, slots=True)
class ContainerSeries:
    """One container from first to last sample.

    Attributes:
        name: of the series.
        grid: time grid of the arrays; steps of 5 minutes at least, or that divide 5 minutes.
        cpu_cores, memory_bytes: shape (pods, grid.size), NaN where missing; None where not measured.
        cpu_limit_cores, memory_limit_bytes: shape (grid.size,), as in force at each step; None where unknown.
    """

    name: str
    grid: TimeGrid
    cpu_cores: Array | None
    memory_bytes: Array | None
    cpu_limit_cores: Array | None = None
    memory_limit_bytes: Array | None = None


@dataclass(frozen=True, slots=True)
class OriginSampling:
    """Which instants of a series are learnt from.

    Attributes:
        validity_seconds: how long a size must hold.
        spacing_seconds: between instants.
        aligned: instants at whole days since the epoch; else from an offset drawn for each series.
        history: how much is known, in validities: four at most, as nothing older is looked at.
    """

    validity_seconds: int
    spacing_seconds: int
    aligned: bool
    history: float = 2.0


def samplings(validity: timedelta = timedelta(days=7)) -> tuple[OriginSampling, ...]:
    """Returns which instants to learn from, for a validity that is asked most.

    Shorter validities show the same laws sooner. For a week: every second day with two weeks of history, and
    in between examples with four weeks, of three days, one day and six hours, and some that know no more than
    three to ten days: of little history less can be stated, and a model must have seen how much less.
    """
    whole = int(validity.total_seconds())
    day = whole // 7
    return (
        OriginSampling(whole, 2 * day, aligned=2 * day >= 24 * _HOUR),
        OriginSampling(whole, 12 * day, aligned=False, history=4.0),
        OriginSampling(3 * day, 12 * day, aligned=False),
        OriginSampling(day, 18 * day, aligned=False),
        OriginSampling(day // 4, 18 * day, aligned=False),
        *(OriginSampling(whole, 20 * day, aligned=False, history=days / 7) for days in (3, 4, 5, 7, 10)),
    )


@dataclass(frozen=True, slots=True)
class TrainingExamples:
    """Examples, one a row.

    Attributes:
        features: shape (n, len(NAMES)).
        needs: resource to log(smallest accurate size / reference), NaN where not measured, shape (n,).
        series: names, shape (n,).
        at: instants in seconds since the epoch, shape (n,).
        validity: in seconds, shape (n,).
        given: logarithm of the limit over the reference, by resource, NaN where unknown, shape (n, 2).
        seen: references and ceilings of each.
    """

    features: Array
    needs: dict[str, Array]
    series: np.typing.NDArray[np.str_]
    at: Array
    validity: Array
    given: Array
    seen: tuple[UseFeatures, ...]

    def where(self, selected: np.typing.NDArray[np.bool_]) -> "TrainingExamples":
        """Returns the rows that are kept."""
        return TrainingExamples(
            self.features[selected],
            {resource: values[selected] for resource, values in self.needs.items()},
            self.series[selected],
            self.at[selected],
            self.validity[selected],
            self.given[selected],
            tuple(self.seen[row] for row in np.flatnonzero(selected)),
        )

    def to_frame(self) -> "pd.DataFrame":
        """Returns one row an example as a pandas DataFrame, to look at what a model learns from.

        Columns: series, at (instant), validity_seconds, need_RESOURCE (cores or bytes, the smallest
        accurate size; NaN where not measured) and each feature by its name.

        Raises:
            ImportError: pandas is not installed; it comes with the extra `perfopt[frames]`.
        """
        import pandas as pd

        needs = {
            f"need_{resource}": np.exp(logs)
            * np.array([seen.references.get(resource, np.nan) for seen in self.seen])
            for resource, logs in self.needs.items()
        }
        frame = pd.DataFrame(
            {
                "series": self.series,
                "at": pd.to_datetime(self.at, unit="s", utc=True),
                "validity_seconds": self.validity,
                **needs,
            }
        )
        return pd.concat([frame, pd.DataFrame(self.features, columns=list(NAMES))], axis=1)

    @classmethod
    def of(cls, rows: list["TrainingExample"]) -> Self:
        """Returns examples as arrays."""
        return cls(
            features=np.array([row.seen.values for row in rows]).reshape(len(rows), len(NAMES)),
            needs={r: np.array([_log_need(row, r) for row in rows]) for r in RESOURCES},
            series=np.array([row.series for row in rows], dtype=np.str_),
            at=np.array([row.at for row in rows]),
            validity=np.array([row.validity for row in rows]),
            given=np.array([[_log_given(row, r) for r in RESOURCES] for row in rows]).reshape(len(rows), -1),
            seen=tuple(row.seen for row in rows),
        )


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """One instant of one series: what was known, and what was needed after it."""

    series: str
    at: float
    validity: float
    seen: UseFeatures
    needs: dict[str, float]
    limits: dict[str, float | None]


def _log_need(row: TrainingExample, resource: str) -> float:
    if resource not in row.needs:
        return math.nan
    return math.log(row.needs[resource] / row.seen.references[resource])


def _log_given(row: TrainingExample, resource: str) -> float:
    limit = row.limits[resource]
    if not limit or resource not in row.seen.references:
        return math.nan
    return math.log(limit / row.seen.references[resource])


def collect(
    series: Iterable[ContainerSeries], sampled: Iterable[OriginSampling] | None = None, seed: int = 0
) -> TrainingExamples:
    """Returns the examples of a fleet: all whose history and outcome hold enough samples.

    Args:
        series: with no sample at or after the instant until which may be learnt.
        sampled: which instants; those of `samplings()` if None.
        seed: of the offsets.
    """
    rng = np.random.default_rng(seed)
    which = samplings() if sampled is None else tuple(sampled)
    rows: list[TrainingExample] = []
    for one in series:
        for sampling in which:
            rows.extend(_series_examples(one, sampling, rng))
    return TrainingExamples.of(rows)


def _series_examples(
    series: ContainerSeries, sampling: OriginSampling, rng: np.random.Generator
) -> Iterator[TrainingExample]:
    step = series.grid.step_seconds
    horizon, spacing = sampling.validity_seconds // step, sampling.spacing_seconds // step
    first = _min_history_steps(horizon)
    if sampling.aligned:
        day = 24 * _HOUR // step
        first += -(int(series.grid.start.timestamp()) // step + first) % day
    else:
        first += int(rng.integers(spacing))
    for index in range(first, series.grid.size - horizon + 1, spacing):
        training_example = example(series, index, sampling.validity_seconds, sampling.history)
        if training_example is not None:
            yield training_example


def example(
    series: ContainerSeries, index: int, validity_seconds: int, history: float = 2.0
) -> TrainingExample | None:
    """Returns the example of the instant before a step; None with too few samples on either side.

    Args:
        series: of which only what the arguments name is read.
        index: the step.
        validity_seconds: how long the size must hold.
        history: how much is known, in validities.
    """
    horizon = validity_seconds // series.grid.step_seconds
    begin = max(index - math.ceil(history * horizon), 0)
    needs: dict[str, float] = {}
    past: dict[str, Array | None] = {}
    for resource, values in (("cpu", series.cpu_cores), ("memory", series.memory_bytes)):
        past[resource] = None if values is None else values[:, begin:index]
        if values is None:
            continue
        before, after = values[:, begin:index], values[:, index : index + horizon]
        least = _min_history_steps(horizon) * SCORED_COVERAGE
        if np.isfinite(before).any(axis=0).sum() < least or _coverage(after) < SCORED_COVERAGE:
            return None
        needs[resource] = _need(resource, after, series.grid)
    if not needs:
        return None
    limits = {
        "cpu": _latest(series.cpu_limit_cores, index),
        "memory": _latest(series.memory_limit_bytes, index),
    }
    features = extract(
        ObservedUse(
            past["cpu"],
            past["memory"],
            series.grid.step_seconds,
            validity_seconds,
            limits["cpu"],
            limits["memory"],
        )
    )
    if not needs.keys() <= features.references.keys():
        return None
    at = series.grid.start.timestamp() + index * series.grid.step_seconds
    return TrainingExample(series.name, at, validity_seconds, features, needs, limits)


def _min_history_steps(horizon: int) -> int:
    """Returns the least length of history for a validity, in steps as that is."""
    parts, of = MIN_HISTORY
    return -(-horizon * parts // of)


def _coverage(values: Array) -> float:
    present = np.isfinite(values).any(axis=0)
    return float(present.mean()) if present.size else 0.0


def _need(resource: str, values: Array, grid: TimeGrid) -> float:
    need = smallest_cpu_request(values, grid) if resource == "cpu" else smallest_memory_request(values)
    assert need is not None
    return max(need, FLOORS[resource])


def _latest(limits: Array | None, index: int) -> float | None:
    """Returns the limit in force just before a step."""
    if limits is None or index == 0 or not np.isfinite(limits[index - 1]):
        return None
    return float(limits[index - 1])
