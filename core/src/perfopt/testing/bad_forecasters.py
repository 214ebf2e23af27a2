"""Forecasters that each break one property of the contract on purpose: the suite must find them."""

import os
from collections.abc import Mapping

import numpy as np

from perfopt.plugin import CostClass, ForecastRequest, Prediction


class Flat:
    """Repeats the last known value; keeps the contract."""

    name = "flat"
    cost = CostClass.FAST

    def forecast(self, request: ForecastRequest) -> Prediction | None:
        """Returns the value at every level."""
        last = request.values[np.isfinite(request.values)][-1]
        return Prediction(np.full((len(request.levels), request.ahead.size), last))


class Raises(Flat):
    """Raises for every history."""

    def forecast(self, request: ForecastRequest) -> Prediction | None:
        """Raises."""
        raise ValueError(f"{request.grid.size} steps are too many")


class Misshapen(Flat):
    """Returns quantiles of another shape."""

    def forecast(self, request: ForecastRequest) -> Prediction | None:
        """Returns one value."""
        return Prediction(np.zeros((1, 1)))


class NotFinite(Flat):
    """Returns NaN."""

    def forecast(self, request: ForecastRequest) -> Prediction | None:
        """Returns NaN everywhere."""
        return Prediction(np.full((len(request.levels), request.ahead.size), np.nan))


class Alters(Flat):
    """Writes to its input."""

    def forecast(self, request: ForecastRequest) -> Prediction | None:
        """Overwrites the first value."""
        request.values[0] = 7.0
        return super().forecast(request)


class Random(Flat):
    """Returns something else each time."""

    def forecast(self, request: ForecastRequest) -> Prediction | None:
        """Returns random values."""
        size = (len(request.levels), request.ahead.size)
        return Prediction(
            np.frombuffer(os.urandom(size[0] * size[1]), np.uint8).reshape(size).astype(np.float64)
        )


class Exits(Flat):
    """Ends its process."""

    def forecast(self, request: ForecastRequest) -> Prediction | None:
        """Exits."""
        os._exit(3)


class Unnamed(Flat):
    """Has a name that settings can't hold."""

    name = "Not A Name"


class WithoutCost:
    """Does not say how long it takes."""

    name = "without-cost"

    def forecast(self, request: ForecastRequest) -> Prediction | None:
        """Returns nothing."""
        return None


BAD_FORECASTERS: Mapping[str, tuple[object, ...]] = {
    "protocol": (Unnamed(), WithoutCost()),
    "survives": (Raises(),),
    "deadline": (Exits(),),
    "result": (Misshapen(), NotFinite()),
    "inputs": (Alters(),),
    "deterministic": (Random(),),
}
"""Property to the forecasters that lack it."""
