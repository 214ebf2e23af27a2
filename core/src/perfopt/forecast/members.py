"""Forecasters for any metric: the fleet network, and decayed seasonal quantiles for the rest."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

import numpy as np

from perfopt.forecast.changes import climb, relevant
from perfopt.forecast.conformal import probits
from perfopt.forecast.experts import LEVELS
from perfopt.forecast.folding import FoldedHistory
from perfopt.forecast.model_file import fleet_network, read_network
from perfopt.forecast.own_levels import at_levels, own_levels
from perfopt.forecast.seasonal import seasonal_quantiles
from perfopt.metrics.snapshot import Array
from perfopt.plugin.forecasting import CostClass, ForecastRequest, Prediction

NETWORK_FROM = timedelta(days=3)


@dataclass(frozen=True)
class FleetForecaster:
    """The network trained over a fleet, calibrated; for three days of history or more.

    Attributes:
        models: kind of model to content: one of the kind "forecast" takes the place of the shipped network.
        calibrated: by the series' own hours, up to an hour ahead.
    """

    name: str = "fleet"
    cost: CostClass = CostClass.FAST
    models: Mapping[str, bytes] = field(default_factory=dict)
    calibrated: bool = True

    @property
    def uncalibrated(self) -> "FleetForecaster":
        """The same as the network states it."""
        return replace(self, calibrated=False)

    def with_models(self, models: Mapping[str, bytes]) -> "FleetForecaster":
        """Returns this forecaster with the models of an analysis."""
        return replace(self, models=models)

    def forecast(self, request: ForecastRequest) -> Prediction | None:
        """Returns quantiles, or None for short, constant or oddly spaced histories.

        Up to an hour ahead they are calibrated by the series' own hours before (own_levels.py).
        """
        quantiles = self._stated(request)
        if quantiles is None:
            return None
        at_own_levels = replace(request, levels=LEVELS)
        stretched = own_levels(self._stated, at_own_levels) if self.calibrated else None
        if stretched is None:
            return Prediction(quantiles)
        prediction = self._stated(at_own_levels)
        assert prediction is not None
        own = np.interp(probits(request.levels), probits(LEVELS), stretched)
        return Prediction(at_levels(np.sort(prediction, axis=0), LEVELS, own))

    def _stated(self, request: ForecastRequest) -> Array | None:
        """Returns quantiles as the network states them."""
        if request.grid.size * request.grid.step < NETWORK_FROM:
            return None
        steady, slope = without_changes(request)
        folded = FoldedHistory.fold(steady.values, request.closed, request.grid.step_seconds)
        if folded is None:
            return None
        trained = self.models.get("forecast")
        network = fleet_network() if trained is None else read_network(trained)
        quantiles = network.forecast(folded, request.closed_ahead, request.levels)
        added: Array = quantiles + climbing(slope, request)
        return added


class SeasonalForecaster:
    """Decayed seasonal quantiles: needs no fleet, and forecasts everything that the network can't."""

    name = "seasonal"
    cost = CostClass.FAST

    def forecast(self, request: ForecastRequest) -> Prediction | None:
        """Returns quantiles; never None."""
        steady, slope = without_changes(request)
        quantiles = seasonal_quantiles(steady.values, request.grid, request.ahead, request.levels)
        return Prediction(quantiles + climbing(slope, request))


def without_changes(request: ForecastRequest) -> tuple[ForecastRequest, float]:
    """Returns the history as if what holds now had always held, and what a leak adds in a step.

    A steady climb is taken out, dead periods that are over are left out, and what was before a level shift
    that is for good is brought to the level of after.
    """
    slope, levelling = climb(request.values, request.grid)
    values = relevant(request.values + levelling, request.grid)
    return replace(request, values=values), slope


def climbing(slope: float, request: ForecastRequest) -> Array:
    """Returns what a steady climb adds at each step ahead, shape (ahead.size,)."""
    added: Array = slope * np.arange(1.0, request.ahead.size + 1)
    return added
