"""Fits upper bounds of need: the least mean margin for a price of each window that needs more.

A smoothed chance constraint (Charnes and Cooper 1959, in its Lagrangian form). `held` is the share of windows
in which bounds hold on workloads that they were not fitted on: five folds by name.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from perfopt.plugin import Array
from perfopt_cost.calibration import LOCATION_CLIP, MARGIN_LOGS, SPREAD_CLIP
from perfopt_cost.features import LOCATION
from perfopt_cost.training.windows import FLOORS, LEVELS, FleetWindows

MISS_PRICES = {"batch": 4.0, "standard": 10.0, "critical": 20.0}  # in logarithms of margin, by service class
# "standard" is priced so that recommendations hold as often, out of fold, as RESOURCE_OPTIMIZATION's: 90.0 %.
_SMOOTHING = (0.2, 0.1, 0.05)  # width of the step from held to missed, ever sharper
_RIDGE = 1e-3
_MIN_SCALE = 0.1  # a feature that hardly varies over the fleet is not magnified
FOLDS = 5


def fold_of(name: str) -> int:
    """Returns the fold of a workload."""
    return sum(name.encode()) % FOLDS


def fit(windows: FleetWindows, resource: str) -> dict[str, Any]:
    """Returns what is shared (level, floor, centre and scale of the features), and weights by class."""
    count = len(LOCATION)
    spread = windows.features[:, count:]
    centre, scale = spread.mean(axis=0), np.maximum(spread.std(axis=0), _MIN_SCALE)
    location = np.clip(windows.features[:, :count], -LOCATION_CLIP, LOCATION_CLIP)
    x = np.column_stack([location, np.clip((spread - centre) / scale, -SPREAD_CLIP, SPREAD_CLIP)])
    fold = np.array([fold_of(name) for name in windows.names])
    shared = {
        "centre": centre.round(5).tolist(),
        "scale": scale.round(5).tolist(),
        "level": LEVELS[resource],
        "floor": FLOORS[resource],
    }
    classes = {
        kind: _weighted(weights(x, windows.needs, price), held(x, windows.needs, fold, price))
        for kind, price in MISS_PRICES.items()
    }
    return {"shared": shared, **classes}


def _weighted(values: Array, held_in: NDArray[np.bool_]) -> dict[str, Any]:
    count, rounded = len(LOCATION), values.round(5).tolist()
    return {
        "location": rounded[:count],
        "spread": rounded[count + 1 :],
        "intercept": rounded[count],
        "held": round(float(held_in.mean()), 4),
    }


def held(x: Array, y: Array, fold: NDArray[np.int64], price: float) -> NDArray[np.bool_]:
    """Returns in which windows bounds of the other folds hold, shape (n,)."""
    margin = np.empty(y.size)
    for number in np.unique(fold):
        out = fold == number
        margin[out] = predicted(weights(x[~out], y[~out], price), x[out])
    result: NDArray[np.bool_] = margin >= y
    return result


def predicted(w: Array, x: Array) -> Array:
    """Returns log(bound / reference) for features of shape (n, location + spread)."""
    count = len(LOCATION)
    margin = np.exp(np.clip(w[count] + x[:, count:] @ w[count + 1 :], *MARGIN_LOGS))
    result: Array = x[:, :count] @ w[:count] + margin
    return result


def weights(x: Array, y: Array, price: float) -> Array:
    """Returns the weights (location, intercept, spread) of the least margin plus price of misses."""
    w: Array = np.zeros(x.shape[1] + 1)
    w[len(LOCATION)] = -0.5
    for width in _SMOOTHING:

        def loss(w: Array, width: float = width) -> float:
            margin = predicted(w, x)
            missed = 1 / (1 + np.exp(-np.clip((y - margin) / width, -50, 50)))
            return float(margin.mean() + price * missed.mean() + _RIDGE * (w @ w))

        w = minimize(loss, w, method="BFGS", options={"maxiter": 150}).x
    return w
