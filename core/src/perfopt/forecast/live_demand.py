"""The short-term forecaster of live demand as a forecaster of series, for an hour ahead at most."""

from datetime import timedelta

import numpy as np

from perfopt.forecast.short_term import LEVELS, short_term_forecasts
from perfopt.metrics.snapshot import Array
from perfopt.plugin.forecasting import CostClass, ForecastRequest, Prediction

LONGEST = timedelta(hours=1)
MAX_HISTORY = timedelta(days=14)
MIN_HISTORY = timedelta(days=2)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


class ShortTermForecaster:
    """What is needed within the hour, from the latest minutes and the days before; never negative series."""

    name = "short-term"
    cost = CostClass.SLOW

    def forecast(self, request: ForecastRequest) -> Prediction | None:
        """Returns quantiles, or None beyond an hour, for steps of other than minutes, or short histories."""
        step, ahead = request.grid.step, request.ahead
        if ahead.size * step > LONGEST or step % MINUTE or DAY % step:
            return None
        recent = request.values[-(MAX_HISTORY // step) :]
        if recent.size * step < MIN_HISTORY or np.nanmin(recent) < 0:
            return None
        known = _held(recent[int(np.isfinite(recent).argmax()) :])
        minutes = step // MINUTE
        first = int((request.grid.end - known.size * step).timestamp()) // 60
        quantiles = np.empty((len(request.levels), ahead.size))
        for lead in range(1, ahead.size + 1):
            demand = np.r_[known, np.full(lead, np.nan)]
            forecasts = short_term_forecasts(demand, minutes, first, lead, since=demand.size - 1)
            quantiles[:, lead - 1] = _with_chance(
                forecasts.quantiles[0], float(forecasts.chance[0]), request.levels
            )
        return Prediction(quantiles)


def _held(values: Array) -> Array:
    """Returns the values with gaps filled by the last one known: a gap is not zero."""
    last = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(values.size), 0))
    held: Array = values[last]
    return held


def _with_chance(quantiles: Array, chance: float, levels: tuple[float, ...]) -> Array:
    """Returns quantiles of a demand that there is with this chance, and that is zero otherwise."""
    within = (np.array(levels) - (1 - chance)) / max(chance, 1e-9)
    result: Array = np.where(within > 0, np.interp(within, LEVELS, quantiles), 0.0)
    return result
