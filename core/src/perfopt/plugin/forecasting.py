"""The protocol of forecasters, the forecasts that strategies request, and those that they get."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Literal, Protocol, runtime_checkable

import msgspec
import numpy as np

from perfopt.metrics.snapshot import Array, TimeGrid
from perfopt.plugin.calendar import Bools, SessionCalendar, weekend

DEFAULT_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


class CostClass(StrEnum):
    """How long a forecast of one series takes on one core, as an order of magnitude."""

    FAST = "fast"
    """Under 20 ms: it may run at each of many origins."""
    SLOW = "slow"
    """Up to seconds: it runs only where a user or a strategy names it."""


class ForecastSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A forecast that a strategy requests, where the name of a metric is not enough.

    Attributes:
        name: its key in `AnalysisContext.forecasts`, unique within the strategy.
        metric: name from the metric catalogue; for "total" it is "cpu_cores".
        of: "hottest" pod of each step (of the only container, or of the first by name), or "total" over all
            containers and replicas.
        block: length of the steps forecast; a step's value is the highest in it. None is the history's step.
        levels: increasing quantile levels in (0, 1).
        forecasters: names of forecasters to use, in this order, where the user names none.
        past: whether quantiles of past steps are needed too, `Forecast.past`.
    """

    name: str
    metric: str
    of: Literal["hottest", "total"] = "hottest"
    block: timedelta | None = None
    levels: tuple[float, ...] = DEFAULT_LEVELS
    forecasters: tuple[str, ...] = ()
    past: bool = False


def metric_of(forecast: str | ForecastSpec) -> str:
    """Returns the name of the metric of a requested forecast."""
    return forecast if isinstance(forecast, str) else forecast.metric


@dataclass(frozen=True, slots=True)
class ForecastRequest:
    """The input of a forecaster: one series up to now, and what is known of its future.

    Attributes:
        values: shape (grid.size,), NaN where missing, at least 24 known. Read-only.
        grid: of the history.
        ahead: the steps to forecast, right after the grid and of its step.
        levels: increasing, in (0, 1).
        scale: mean of the series where it is measured; below a few hundredths of it values are alike.
        calendar: of the exchange whose sessions the series follows, known over `ahead` too; None for none.
    """

    values: Array
    grid: TimeGrid
    ahead: TimeGrid
    levels: tuple[float, ...]
    scale: float
    calendar: SessionCalendar | None = None

    @property
    def closed(self) -> Bools:
        """Steps of the history on a weekend, or with a calendar while the market is closed that day."""
        return self.closed_at(self.grid)

    @property
    def closed_ahead(self) -> Bools:
        """As `closed`, for the steps to forecast: shape (ahead.size,)."""
        return self.closed_at(self.ahead)

    def closed_at(self, grid: TimeGrid) -> Bools:
        """As `closed`, for any grid."""
        return weekend(grid) if self.calendar is None else self.calendar.closed(grid)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer of a forecaster.

    Attributes:
        quantiles: shape (len(levels), ahead.size). They may cross: they are sorted afterwards.
        expected: the value expected at each step where that is not the median, shape (ahead.size,).
        past: quantiles that the forecaster gives for the last steps of the history from what came before
            each, shape (len(levels), steps), NaN where there was too little; None where it does not know.
        recent_exceedance: share of the steps of the last two days above what 98 in 100 steps should have
            stayed below, by a tenth or more; None where it does not know.
    """

    quantiles: Array
    expected: Array | None = None
    past: Array | None = None
    recent_exceedance: float | None = None


@runtime_checkable
class Forecaster(Protocol):
    """A way to forecast one series. Stateless, deterministic, picklable; no I/O, no clock."""

    @property
    def name(self) -> str:
        """Its name, unique among what is installed, [a-z0-9_-]+."""

    @property
    def cost(self) -> CostClass:
        """How long it takes."""

    def forecast(self, request: ForecastRequest) -> Prediction | None:
        """Returns quantiles of each step ahead, or None where it can't forecast this series.

        Must not raise for any history.
        """


@runtime_checkable
class ModelForecaster(Forecaster, Protocol):
    """A forecaster that reads a trained model (`perfopt_models`) where an analysis has one of its kind."""

    def with_models(self, models: Mapping[str, bytes]) -> Forecaster:
        """Returns a forecaster that reads from these models, kind to content; called once an analysis.

        It reads a model only where it forecasts with it: which kinds were read stands in recommendations.
        """


@dataclass(frozen=True, slots=True)
class Forecast:
    """Predictive quantiles of one series on a regular future grid.

    Attributes:
        unit: of the values.
        grid: the steps forecast; grid.start is the end of the history it was made from.
        levels: quantile levels, increasing, in (0, 1).
        values: shape (len(levels), grid.size), non-decreasing along the first axis.
        center: what is expected at each step, shape (grid.size,); None is the median.
        past, recent_exceedance: as in `Prediction`.
        weights: forecaster to its weight in this forecast; they add up to 1.
        failed: forecaster to why it was left out, where it raised or gave something impossible.
    """

    unit: str
    grid: TimeGrid
    levels: tuple[float, ...]
    values: Array
    center: Array | None = None
    past: Array | None = None
    recent_exceedance: float | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)

    def quantile(self, level: float) -> Array:
        """Returns the values of a level, linear between the requested ones, shape (grid.size,)."""
        return _at_level(self.values, self.levels, level)

    def past_quantile(self, level: float) -> Array:
        """Returns the quantiles of the last steps of the history, as `past`; shape (steps,), maybe none."""
        return np.empty(0) if self.past is None else _at_level(self.past, self.levels, level)

    @property
    def expected(self) -> Array:
        """What is expected at each step, shape (grid.size,)."""
        return self.quantile(0.5) if self.center is None else self.center


def _at_level(values: Array, levels: tuple[float, ...], level: float) -> Array:
    position = float(np.interp(level, levels, np.arange(len(levels))))
    low = min(int(position), len(levels) - 1)
    high = min(low + 1, len(levels) - 1)
    if position == low or high == low:
        exact: Array = values[low]
        return exact
    result: Array = values[low] + (position - low) * (values[high] - values[low])
    return result
