"""One way to ask for a forecast: of one series, or of many on one grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import numpy as np

from perfopt.forecast.changes import climb, relevant
from perfopt.forecast.folding import Bools, Folded, weekend
from perfopt.forecast.network import fleet_network
from perfopt.forecast.seasonal import seasonal_quantiles
from perfopt.forecast.sessions import SessionCalendar
from perfopt.metrics.snapshot import Array, TimeGrid
from perfopt.plugin import Forecast

DEFAULT_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
MINIMUM_SAMPLES = 24
NETWORK_FROM = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Question:
    """What a forecaster is asked.

    Attributes:
        values: shape (grid.size,), NaN where missing, at least MINIMUM_SAMPLES known.
        grid: of the history.
        ahead: the steps to forecast, right after the grid.
        levels: increasing, in (0, 1).
        rest, rest_ahead: known in advance: which steps of the grid and ahead lie on a weekend, or with an
            exchange calendar where the market is closed that is open on other days.
    """

    values: Array
    grid: TimeGrid
    ahead: TimeGrid
    levels: tuple[float, ...]
    rest: Bools
    rest_ahead: Bools


class Forecaster(Protocol):
    """A way to forecast. Pure and deterministic."""

    name: str

    def quantiles(self, question: Question) -> Array | None:
        """Returns quantiles of shape (len(levels), ahead.size), or None where it can't answer."""
        ...


class FleetForecaster:
    """The network trained over a fleet, calibrated; for three days of history or more."""

    name = "fleet"

    def quantiles(self, question: Question) -> Array | None:
        """Returns quantiles, or None for short, constant or oddly spaced histories."""
        if question.grid.size * question.grid.step < NETWORK_FROM:
            return None
        folded = Folded.fold(question.values, question.rest, question.grid.step_seconds)
        if folded is None:
            return None
        return fleet_network().forecast(folded, question.rest_ahead, question.levels)


class SeasonalForecaster:
    """Decayed seasonal quantiles: needs no fleet, and answers everything that the network can't."""

    name = "seasonal"

    def quantiles(self, question: Question) -> Array | None:
        """Returns quantiles; never None."""
        return seasonal_quantiles(question.values, question.grid, question.ahead, question.levels)


# The first that answers is asked alone: no mixture of the two was better (docs/reference/forecasts.md).
FORECASTERS: tuple[Forecaster, ...] = (FleetForecaster(), SeasonalForecaster())


def forecast_metric(
    values: Array,
    grid: TimeGrid,
    horizon: timedelta,
    unit: str,
    levels: Sequence[float] = DEFAULT_LEVELS,
    *,
    calendar: SessionCalendar | None = None,
) -> Forecast | None:
    """Forecasts one series from the end of its grid.

    Args:
        values: shape (grid.size,), NaN where missing.
        grid: the grid of the values.
        horizon: how far; rounded up to whole steps.
        unit: of the values.
        levels: increasing quantile levels in (0, 1).
        calendar: of the exchange whose sessions the series follows, known over the horizon too.

    Returns:
        Quantiles on [grid.end, grid.end + horizon), non-crossing and, for a series that never was
        negative, never negative; None with fewer than 24 samples or an empty horizon.
    """
    steps = -(-horizon // grid.step)
    finite = np.isfinite(values)
    if finite.sum() < MINIMUM_SAMPLES or steps <= 0:
        return None
    # a steady climb is taken out of the history and goes on in the forecast
    slope, levelling = climb(values, grid)
    question = _question(
        values + levelling, grid, TimeGrid(grid.end, grid.step, steps), tuple(levels), calendar
    )
    answers = (forecaster.quantiles(question) for forecaster in FORECASTERS)
    quantiles = next(answer for answer in answers if answer is not None) + slope * np.arange(1, steps + 1)
    low = 0.0 if values[finite].min() >= 0 else -np.inf
    # shifted levels may cross; sorting them is never worse (Chernozhukov et al. 2010)
    quantiles = np.sort(np.maximum(quantiles, low), axis=0)
    return Forecast(unit=unit, grid=question.ahead, levels=question.levels, values=quantiles)


def forecast_batch(
    batch: Sequence[Array],
    grid: TimeGrid,
    horizon: timedelta,
    unit: str,
    levels: Sequence[float] = DEFAULT_LEVELS,
    *,
    calendar: SessionCalendar | None = None,
) -> list[Forecast | None]:
    """Forecasts many series of one grid, each as `forecast_metric` does, in their order."""
    return [forecast_metric(values, grid, horizon, unit, levels, calendar=calendar) for values in batch]


def _question(
    values: Array,
    grid: TimeGrid,
    ahead: TimeGrid,
    levels: tuple[float, ...],
    calendar: SessionCalendar | None,
) -> Question:
    living = relevant(values, grid)
    if calendar is None:
        return Question(living, grid, ahead, levels, weekend(grid), weekend(ahead))
    aligned = calendar.align(living, grid)
    return Question(aligned, grid, ahead, levels, calendar.closed(grid), calendar.closed(ahead))
