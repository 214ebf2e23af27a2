"""Forecasters that each break one property of the contract on purpose: the suite must find them."""

import os
from collections.abc import Mapping

import numpy as np

from perfopt.plugin import CostClass, ForecastRequest, Prediction


class FlatForecaster:
    """Repeats the last known value; keeps the contract."""

    name = "flat"
    cost = CostClass.FAST

    def forecast(self, request: ForecastRequest) -> Prediction | None:
        """Returns the value at every level."""
        last = request.values[np.isfinite(request.values)][-1]
        return Prediction(np.full((len(request.levels), request.ahead.size), last))


class RaisingForecaster(FlatForecaster):
    """RaisingForecaster for every history."""

    def forecast(self, request: ForecastRequest) -> Prediction | None:
        """RaisingForecaster."""
        raise ValueError(f"{request.grid.size} steps are too many")


class MisshapenForecaster(FlatForecaster):
    """Returns quantiles of another shape."""

    def forecast(self, request: ForecastRequest) -> Prediction | None:
        """Returns one value."""
        return Prediction(np.zeros((1, 1)))


class NotFinite(FlatForecaster):
    """Returns NaN."""

    def forecast(self, request: ForecastRequest) -> Prediction | None:
        """Returns NaN everywhere."""
        return Prediction(np.full((len(request.levels), request.ahead.size), np.nan))


class MutatingForecaster(FlatForecaster):
    """Writes to its input."""

    def forecast(self, request: ForecastRequest) -> Prediction | None:
        """Overwrites the first value."""
        request.values[0] = 7.0
        return super().forecast(request)


class RandomForecaster(FlatForecaster):
    """Returns something else each time."""

    def forecast(self, request: ForecastRequest) -> Prediction | None:
        """Returns random values."""
        size = (len(request.levels), request.ahead.size)
        return Prediction(
            np.frombuffer(os.urandom(size[0] * size[1]), np.uint8).reshape(size).astype(np.float64)
        )


class ExitingForecaster(FlatForecaster):
    """Ends its process."""

    def forecast(self, request: ForecastRequest) -> Prediction | None:
        """ExitingForecaster."""
        os._exit(3)


class UnnamedForecaster(FlatForecaster):
    """Has a name that settings can't hold."""

    name = "Not A Name"


class WithoutCost:
    """Does not say how long it takes."""

    name = "without-cost"

    def forecast(self, request: ForecastRequest) -> Prediction | None:
        """Returns nothing."""
        return None


BAD_FORECASTERS: Mapping[str, tuple[object, ...]] = {
    "protocol": (UnnamedForecaster(), WithoutCost()),
    "survives": (RaisingForecaster(),),
    "deadline": (ExitingForecaster(),),
    "result": (MisshapenForecaster(), NotFinite()),
    "inputs": (MutatingForecaster(),),
    "deterministic": (RandomForecaster(),),
}
"""Property to the forecasters that lack it."""
