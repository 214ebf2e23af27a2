"""Calibration of a fleet network by what networks trained without a service forecast of it."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from perfopt.forecast.conformal import transform
from perfopt.forecast.experts import LEVELS
from perfopt.forecast.features import NetworkInputs
from perfopt.forecast.model_file import fleet_network
from perfopt.forecast.network import GROUPS, FleetNetwork, group_of
from perfopt.forecast.training.fit import EnsembleFit, ensemble, typical_error
from perfopt.forecast.training.rows import Ints, TrainingRows
from perfopt.forecast.training.series import LOADS
from perfopt.metrics.snapshot import Array

FOLDS = 4
HALF_WEIGHT_ROWS = 300  # of a group: with so many its calibration counts half
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """What networks gave for services that they were not trained on.

    Attributes:
        theta: calibration by group, see `perfopt.forecast.conformal`.
        losses: metric to the mean quantile loss over the mean error of the day's shape, geometric mean over
            series.
        losses_of_shipped: the same of the network of the package.
    """

    theta: Array
    losses: dict[str, float]
    losses_of_shipped: dict[str, float]


def folds(rows: TrainingRows) -> Ints:
    """Returns the fold of each row: series of one name share one; -1 for generated series."""
    measured = sorted({rows.names[number][1] for metric in rows.metrics for number in rows.of(metric)})
    of_name = {name: number % FOLDS for number, name in enumerate(measured)}
    of_series = [of_name.get(name, -1) if metric in rows.metrics else -1 for metric, name in rows.names]
    result: Ints = np.array(of_series, dtype=np.int64)[rows.series]
    return result


def out_of_fold(rows: TrainingRows, weights: Array, fit: EnsembleFit) -> OutOfFold:
    """Trains without each fold, forecasts it, and returns calibration and losses."""
    fold = folds(rows)
    quantiles = np.full((rows.series.size, len(LEVELS)), np.nan)
    for number in range(FOLDS):
        held = np.flatnonzero(fold == number)
        if held.size:
            others, seed = np.flatnonzero(fold != number), 100 * number + 7
            arrays = ensemble(rows, weights, others, fit, seed, part=f"without-fold-{number}")
            quantiles[held] = FleetNetwork.from_arrays(arrays).z_quantiles(_picked(rows.inputs, held))
    measured = np.flatnonzero(fold >= 0)
    shipped = np.full_like(quantiles, np.nan)
    shipped[measured] = fleet_network().z_quantiles(_picked(rows.inputs, measured))
    return OutOfFold(_thetas(rows, quantiles), _losses(rows, quantiles), _losses(rows, shipped))


def _picked(inputs: NetworkInputs, chosen: NDArray[np.int64]) -> NetworkInputs:
    return NetworkInputs(
        inputs.features[chosen], inputs.base[chosen], inputs.unit[chosen], inputs.experts[chosen]
    )


def _thetas(rows: TrainingRows, quantiles: Array) -> Array:
    probits = transform(quantiles, np.arcsinh(rows.outcome), LEVELS)
    probits[~np.isfinite(quantiles).all(axis=1)] = np.nan
    groups = group_of(rows.seconds, rows.inputs, rows.days)
    loads = np.array([metric in LOADS for metric, _ in rows.names])[rows.series]
    return np.array([theta(probits, rows.series, loads & (groups == group)) for group in range(GROUPS)])


def theta(probits: Array, series: Ints, chosen: NDArray[np.bool_]) -> Array:
    """Returns the levels that hold LEVELS of the outcomes, every series alike, shrunk to LEVELS.

    Args:
        probits: at which level, as a probit, the outcome of each row was; NaN where not known.
        series: number of the series of each row.
        chosen: the rows that count.
    """
    used = chosen & np.isfinite(probits)
    if not used.any():
        return np.array(LEVELS)
    known, numbers = probits[used], series[used]
    order = np.argsort(known, kind="stable")
    share = np.cumsum((1 / np.bincount(numbers)[numbers])[order])
    at = known[order][np.searchsorted(share / share[-1], LEVELS)]
    held = np.array([_NORMAL.cdf(value) for value in at])
    weight = known.size / (known.size + HALF_WEIGHT_ROWS)
    result: Array = np.maximum.accumulate(weight * held + (1 - weight) * np.array(LEVELS))
    return result


def _losses(rows: TrainingRows, quantiles: Array) -> dict[str, float]:
    tau = np.array(LEVELS)
    error = rows.outcome[:, None] - np.sinh(quantiles)
    loss = np.maximum(tau * error, (tau - 1) * error).mean(axis=1)
    base = np.abs(rows.outcome - np.sinh(rows.inputs.base))
    losses = {}
    for metric in rows.metrics:
        own = [rows.series == number for number in rows.of(metric)]
        ratios = [typical_error(loss[at]) / max(typical_error(base[at]), 1e-9) for at in own]
        losses[metric] = float(np.exp(np.log(np.clip(ratios, 1e-3, 1e3)).mean()))
    return losses
