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
from perfopt_cost.confidence import rows
from perfopt_cost.features import LOCATION
from perfopt_cost.training.windows import FLOORS, LEVELS, FleetWindows

MISS_PRICES = {"batch": 4.0, "standard": 10.0, "critical": 20.0}  # in logarithms of margin, by service class
# "standard" is priced so that recommendations hold as often, out of fold, as RESOURCE_OPTIMIZATION's: 90.0 %.
_SMOOTHING = (0.2, 0.1, 0.05)  # width of the step from held to missed, ever sharper
_RIDGE = 1e-3
_MIN_SCALE = 0.1  # a feature that hardly varies over the fleet is not magnified
FOLDS = 5
SIZE_STEPS = (-0.7, -0.35, 0.0, 0.0, 0.35, 0.7, 1.4)  # logarithms around a bound; at the bound twice


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
    for kind, price in MISS_PRICES.items():
        fitted = confidence_weights(x, windows, fold, price, FLOORS[resource]).round(5)
        classes[kind]["confidence"] = fitted.tolist()
    return {"shared": shared, **classes}


def confidence_weights(
    x: Array, windows: FleetWindows, fold: NDArray[np.int64], price: float, floor: float
) -> Array:
    """Returns the weights of `perfopt_cost.confidence`, by sizes around bounds of the other folds.

    Args:
        x: features, shape (n, location + spread).
        windows: that the features are of.
        fold: of each window, shape (n,).
        price: of a miss, which bounds of the class are fitted with.
        floor: the least size there is.
    """
    count, y = len(LOCATION), windows.needs
    expected, margin = np.empty(y.size), np.empty(y.size)
    for number in np.unique(fold):
        out = fold == number
        w = weights(x[~out], y[~out], price)
        expected[out] = x[out, :count] @ w[:count]
        margin[out] = predicted(w, x[out]) - expected[out]
    above = (margin[:, None] + np.array(SIZE_STEPS)).ravel()
    known = (expected + windows.references, margin, x[:, count:], y - expected)
    at, margins, spread, needs = (np.repeat(values, len(SIZE_STEPS), axis=0) for values in known)
    above = np.maximum(above, np.log(floor) - at)
    table = rows(above, margins, floor / np.exp(above + at), spread)
    enough = above >= needs - 1e-9

    def loss(w: Array) -> tuple[float, Array]:
        odds = table @ w
        gradient = table.T @ (1 / (1 + np.exp(-np.clip(odds, -50, 50))) - enough) / enough.size
        value = float((np.logaddexp(0.0, odds) - enough * odds).mean() + _RIDGE * (w @ w))
        return value, gradient + 2 * _RIDGE * w

    fitted: Array = minimize(loss, np.zeros(table.shape[1]), jac=True, method="L-BFGS-B").x
    return fitted


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
