"""Calibration of a forecast of up to an hour by the series' own hours before it.

The forecaster is asked at 24 earlier instants, 97 minutes apart so that they meet each phase of the hour, and
at which of its levels each outcome came is noted. A level then stands where that share of the outcomes stayed
below it, drawn towards what was stated by the weight of four such instants: recalibration (Kuleshov et al.
2018) on the series itself. Fleet-wide calibration cannot know how noisy one series is from minute to minute.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Protocol, runtime_checkable

import numpy as np

from perfopt.forecast.conformal import mixing, probits, transform
from perfopt.metrics.snapshot import Array, TimeGrid
from perfopt.plugin.forecasting import Forecaster, ForecastRequest

MAX_HORIZON = timedelta(hours=1)
INSTANTS = 24
APART = timedelta(minutes=97)
PRIOR_INSTANTS = 4
MIN_INSTANTS, MIN_OUTCOMES = 12, 100
MIN_HISTORY = timedelta(days=3)


@runtime_checkable
class CalibratesItself(Protocol):
    """A forecaster that asks itself at earlier instants: who does that too asks it without."""

    @property
    def uncalibrated(self) -> Forecaster:
        """The same without its own calibration."""
        ...


Quantiles = Callable[[ForecastRequest], Array | None]
"""Quantiles at the levels of a request, shape (levels, ahead.size), or None."""


def own_levels(forecast: Quantiles, request: ForecastRequest) -> Array | None:
    """Returns the probits to read for each level of the request, shape (levels,).

    Args:
        forecast: is asked at earlier instants of the history, each time with less of it.
        request: of up to MAX_HORIZON.

    Returns:
        None for a longer horizon, or where too few earlier outcomes are known.
    """
    if request.ahead.size * request.ahead.step > MAX_HORIZON:
        return None
    errors = [
        levels for levels in (_outcome(forecast, one, came) for one, came in _earlier(request)) if levels.size
    ]
    if len(errors) < MIN_INSTANTS or sum(levels.size for levels in errors) < MIN_OUTCOMES:
        return None
    seen = np.quantile(np.concatenate(errors), request.levels)
    weight = len(errors) / (len(errors) + PRIOR_INSTANTS)
    mixed: Array = weight * seen + (1 - weight) * probits(request.levels)
    return mixed


def _earlier(request: ForecastRequest) -> list[tuple[ForecastRequest, Array]]:
    """Returns what was asked at earlier instants, and what came."""
    step, ahead = request.grid.step, request.ahead.size
    apart = max(APART // step, 1)
    replays = []
    for number in range(INSTANTS):
        size = request.grid.size - ahead - number * apart
        if size * step < MIN_HISTORY:
            break
        grid = TimeGrid(request.grid.start, step, size)
        earlier = replace(
            request, values=request.values[:size], grid=grid, ahead=TimeGrid(grid.end, step, ahead)
        )
        replays.append((earlier, request.values[size : size + ahead]))
    return replays


def _outcome(forecast: Quantiles, request: ForecastRequest, came: Array) -> Array:
    """Returns at which levels the outcomes came, as probits."""
    known = np.isfinite(came)
    quantiles = forecast(request) if known.any() else None
    if quantiles is None:
        return np.empty(0)
    levels = transform(np.sort(quantiles, axis=0).T[known], came[known], request.levels)
    finite: Array = levels[np.isfinite(levels)]
    return finite


def at_levels(quantiles: Array, levels: Sequence[float], targets: Array) -> Array:
    """Returns quantiles read at other levels, shape (len(targets), steps).

    Args:
        quantiles: at the levels, shape (levels, steps).
        levels: increasing.
        targets: probits.
    """
    read: Array = (quantiles.T @ mixing(levels, targets)).T
    return read
