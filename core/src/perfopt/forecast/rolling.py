"""Forecasters on a series' own past: quantiles of past steps, and the weights that follow from their loss."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np

from perfopt.forecast.own_levels import CalibratesItself
from perfopt.metrics.snapshot import Array, TimeGrid
from perfopt.plugin.forecasting import Forecaster, ForecastRequest, Prediction

DAY = timedelta(days=1)
DAYS = 7  # forecast a day at a time: a whole week, so that weekends count as often as they come
SHORT_ORIGINS = 24  # for horizons under a day
POWER = 4.0  # of the inverse loss: half the loss is sixteen times the weight
MIN_WEIGHT = 0.02


def past_quantiles(forecaster: Forecaster, request: ForecastRequest) -> Array | None:
    """Returns quantiles of the last steps of a history, each forecast from what came before it.

    Origins are as far apart as the horizon, a day at most; for horizons of more than a day each day is
    forecast from the end of the day before the last, since the middle of a longer horizon is some days away.

    Args:
        forecaster: asked at each origin.
        request: up to now.

    Returns:
        Shape (len(levels), steps), NaN where nothing could be forecast; None where nothing could at any
        origin.
    """
    forecaster = forecaster.uncalibrated if isinstance(forecaster, CalibratesItself) else forecaster
    per_day = max(DAY // request.grid.step, 1)
    span = min(request.ahead.size, per_day)
    gap = span if request.ahead.size > per_day else 0
    count = min(DAYS if span == per_day else SHORT_ORIGINS, (request.grid.size - gap) // span - 1)
    parts = [_part(forecaster, request, number * span, span, gap) for number in range(count, 0, -1)]
    if all(part is None for part in parts):
        return None
    empty = np.full((len(request.levels), span), np.nan)
    return np.concatenate([empty if part is None else part for part in parts], axis=1)


def _part(forecaster: Forecaster, request: ForecastRequest, before: int, span: int, gap: int) -> Array | None:
    """Returns the quantiles of `span` steps that begin `before` steps before the end of the history."""
    size = request.grid.size - before - gap
    grid = TimeGrid(request.grid.start, request.grid.step, size)
    ahead = TimeGrid(grid.end, grid.step, gap + span)
    known = request.values[:size]
    if not np.isfinite(known).any():
        return None
    answer = forecaster.forecast(replace(request, values=known, grid=grid, ahead=ahead))
    return None if answer is None else np.sort(answer.quantiles, axis=0)[:, gap:]


def pinball_loss(values: Array, quantiles: Array, levels: Sequence[float]) -> float:
    """Returns the mean quantile loss over the levels and the steps in which both are known; NaN for none.

    Args:
        values: shape (n,).
        quantiles: shape (len(levels), n).
        levels: of the quantiles.
    """
    errors = values - quantiles
    errors = errors[:, np.isfinite(errors).all(axis=0)]
    if not errors.size:
        return float("nan")
    tau = np.asarray(levels)[:, None]
    return float(np.maximum(tau * errors, (tau - 1) * errors).mean())


def weights_of(losses: Mapping[str, float]) -> dict[str, float]:
    """Returns the weight of each forecaster by its loss; those under MIN_WEIGHT are left out.

    Args:
        losses: by name, NaN where not known. Where none is known all weigh the same.
    """
    known = {name: max(loss, 1e-300) for name, loss in losses.items() if np.isfinite(loss)}
    if not known:
        return {name: 1 / len(losses) for name in losses}
    best = min(known.values())
    shares = {name: (best / loss) ** POWER for name, loss in known.items()}
    total = sum(shares.values())
    remaining = {name: share for name, share in shares.items() if share >= MIN_WEIGHT * total}
    total = sum(remaining.values())
    return {name: share / total for name, share in remaining.items()}


def combined(predictions: Mapping[str, Prediction], weights: Mapping[str, float]) -> Prediction:
    """Returns the mean of the quantiles at each level, by weight.

    Args:
        predictions: by forecaster, at least one that `weights` names.
        weights: by forecaster; those without a prediction are left out.

    Returns:
        One prediction; its `past` covers the steps that all of them know, or is None.
    """
    weighted = [(weight, predictions[name]) for name, weight in weights.items() if name in predictions]
    if len(weighted) == 1:
        return weighted[0][1]
    shares = [weight / sum(weight for weight, _ in weighted) for weight, _ in weighted]
    past = [one.past for _, one in weighted if one.past is not None]
    return Prediction(
        quantiles=_mean(shares, [np.sort(one.quantiles, axis=0) for _, one in weighted]),
        past=_mean(shares, past) if len(past) == len(weighted) else None,
    )


def _mean(shares: Sequence[float], arrays: Sequence[Array]) -> Array:
    """Returns the weighted mean of arrays over the last steps that all of them have."""
    steps = min(array.shape[-1] for array in arrays)
    total = np.zeros((*arrays[0].shape[:-1], steps))
    for share, array in zip(shares, arrays, strict=True):
        total += share * array[..., array.shape[-1] - steps :]
    return total
