"""Forecasters compared on measured series: quantile loss at rolling origins, and what each is worth."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import msgspec
import numpy as np

from perfopt.datasets.series import MeasuredSeries
from perfopt.forecast.rolling import combined, past_quantiles, pinball_loss, weights_of
from perfopt.metrics.snapshot import Array, TimeGrid
from perfopt.plugin.forecasting import Forecaster, ForecastRequest, Prediction

LEVELS = (0.005, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.995)
DAY = timedelta(days=1)
MAX_HISTORY = 28 * DAY
MIN_KNOWN = 0.5
FIRST, SELECTED, WEIGHTED = "first", "selected", "weighted"
NAIVE = "yesterday"
HINDSIGHT = "hindsight"
INTERVALS = ((0.25, 0.75), (0.1, 0.9), (0.05, 0.95))
SMALLEST_RATIO = 1e-3  # of a loss to another: a series that is forecast exactly has no more say


class ComparedForecaster(msgspec.Struct, frozen=True, kw_only=True):
    """What one forecaster, or a choice among them, gave over a horizon.

    Attributes:
        horizon_seconds: how far was forecast.
        name: of the forecaster; "first" is the first that can forecast, "selected" the one with the
            least loss on the past, "weighted" all by their loss on the
            past, "weighted without NAME" the same without one; "hindsight" the distribution of what came, the
            same at every step: what knowing level and spread of the time ahead would give.
        series, origins: how many were forecast.
        loss: quantile loss over that of the value a day before with its errors' quantiles: ratio of the sums
            over series.
        loss_geometric: the same as geometric mean over series.
        loss_of_first: geometric mean over series of its loss over that of "first".
        coverage: share of the outcomes within the intervals of 50, 80 and 90 %, means over series.
        milliseconds: CPU time of a forecast; weights are counted where it is weighted.
    """

    horizon_seconds: float
    name: str
    series: int
    origins: int
    loss: float
    loss_geometric: float
    loss_of_first: float
    coverage: tuple[float, float, float]
    milliseconds: float


@dataclass
class _Losses:
    """Losses, covered shares and CPU seconds of one choice, by series and number of the origin."""

    losses: dict[tuple[str, int], float] = field(default_factory=dict)
    covered: dict[tuple[str, int], Array] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    def add(self, at: tuple[str, int], outcome: Array, quantiles: Array, seconds: float) -> None:
        self.losses[at] = pinball_loss(outcome, quantiles, LEVELS)
        self.covered[at] = covered(outcome, quantiles)
        self.seconds.append(seconds)

    def coverage(self) -> tuple[float, float, float]:
        """Returns the mean over series of the share of outcomes within each of INTERVALS."""
        shares: dict[str, list[Array]] = {}
        for at, share in self.covered.items():
            shares.setdefault(at[0], []).append(share)
        half, most, nearly = np.mean([np.mean(one, axis=0) for one in shares.values()], axis=0)
        return float(half), float(most), float(nearly)

    def by_series(self, origins: Collection[tuple[str, int]]) -> Array:
        """Returns the mean loss of each series over some origins, in order of name."""
        ratios: dict[str, list[float]] = {}
        for at in sorted(origins):
            ratios.setdefault(at[0], []).append(self.losses[at])
        return np.array([np.mean(losses) for losses in ratios.values()])


def compare(
    series: Iterable[MeasuredSeries],
    horizons: Sequence[timedelta],
    forecasters: Sequence[Forecaster],
    origins: int,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> list[ComparedForecaster]:
    """Compares forecasters at origins spread evenly over each series.

    Args:
        series: at least two days of history are before each origin, and 28 at most.
        horizons: how far is forecast.
        forecasters: in order of preference.
        origins: of each series.
        progress: takes how many series are done, over all horizons, and of how many.

    Returns:
        For each horizon a row for each forecaster at the origins that it can forecast, for the first, for the
        selected and the weighted, and for the weighted without each.
    """
    compared = list(series)
    total = len(compared) * len(horizons)
    rows: list[ComparedForecaster] = []
    for number, horizon in enumerate(horizons):
        done = number * len(compared)
        rows += _horizon(_counted(compared, done, total, progress), horizon, forecasters, origins)
    return rows


def _counted(
    series: Sequence[MeasuredSeries], done: int, total: int, progress: Callable[[int, int], object]
) -> Iterator[MeasuredSeries]:
    for number, one in enumerate(series):
        progress(done + number, total)
        yield one


def _horizon(
    series: Iterable[MeasuredSeries], horizon: timedelta, forecasters: Sequence[Forecaster], origins: int
) -> list[ComparedForecaster]:
    by_name: dict[str, _Losses] = {}
    for one in series:
        for number, (request, outcome) in enumerate(_cases(one, horizon, origins)):
            for name, quantiles, seconds in _forecasts(request, forecasters):
                by_name.setdefault(name, _Losses()).add((one.name, number), outcome, quantiles, seconds)
            if FIRST in by_name and (one.name, number) in by_name[FIRST].losses:
                quantiles = hindsight_quantiles(outcome)
                by_name.setdefault(HINDSIGHT, _Losses()).add((one.name, number), outcome, quantiles, 0.0)
    return [_row(name, losses, by_name, horizon) for name, losses in by_name.items() if name != NAIVE]


def _row(
    name: str, losses: _Losses, by_name: Mapping[str, _Losses], horizon: timedelta
) -> ComparedForecaster:
    at = losses.losses.keys()  # others are compared at the origins that this one forecasts
    own, naive, first = (one.by_series(at) for one in (losses, by_name[NAIVE], by_name[FIRST]))
    used = naive > 0
    return ComparedForecaster(
        horizon_seconds=horizon.total_seconds(),
        name=name,
        series=own.size,
        origins=len(at),
        loss=float(own.sum() / naive.sum()) if used.any() else float("nan"),
        loss_geometric=_geometric(own[used] / naive[used]),
        loss_of_first=_geometric(own[used] / np.maximum(first[used], 1e-300)),
        coverage=losses.coverage(),
        milliseconds=1e3 * float(np.mean(losses.seconds)),
    )


def covered(outcome: Array, quantiles: Array) -> Array:
    """Returns the share of the known outcomes within each of INTERVALS, shape (3,).

    Args:
        outcome: shape (steps,), NaN where missing.
        quantiles: at LEVELS, shape (levels, steps).
    """
    known = np.isfinite(outcome)
    at = {level: quantiles[number][known] for number, level in enumerate(LEVELS)}
    came = outcome[known]
    return np.array([np.mean((came >= at[low]) & (came <= at[high])) for low, high in INTERVALS])


def _geometric(ratios: Array) -> float:
    known = np.clip(ratios[np.isfinite(ratios)], SMALLEST_RATIO, 1 / SMALLEST_RATIO)
    return float(np.exp(np.log(known).mean())) if known.size else float("nan")


def _cases(
    series: MeasuredSeries, horizon: timedelta, origins: int
) -> Iterator[tuple[ForecastRequest, Array]]:
    """Yields what is known at each origin, and what came: each at another time of day."""
    step, per_day = series.grid.step, max(DAY // series.grid.step, 1)
    ahead = max(horizon // step, 1)
    first = min(14 * per_day, series.grid.size // 2)
    last = series.grid.size - ahead
    if first < 2 * per_day or last < first:
        return
    for number, place in enumerate(np.unique(np.linspace(first, last, origins).astype(np.int64)).tolist()):
        origin = place - number * 7919 % per_day if place > first + per_day else place
        begin = max(origin - MAX_HISTORY // step, 0)
        values, outcome = series.values[begin:origin], series.values[origin : origin + ahead]
        if min(np.isfinite(values).mean(), np.isfinite(outcome).mean()) < MIN_KNOWN:
            continue
        grid = TimeGrid(series.grid.start + begin * step, step, values.size)
        scale = float(np.nanmean(values))
        yield ForecastRequest(values, grid, TimeGrid(grid.end, step, ahead), LEVELS, scale), outcome


def _forecasts(
    request: ForecastRequest, forecasters: Sequence[Forecaster]
) -> Iterator[tuple[str, Array, float]]:
    """Yields name, quantiles and CPU seconds of each forecaster and each choice among them."""
    predictions: dict[str, Prediction] = {}
    seconds: dict[str, float] = {}
    losses: dict[str, float] = {}
    rolling = 0.0
    for forecaster in forecasters:
        began = time.process_time()
        prediction = forecaster.forecast(request)
        if prediction is None:
            continue
        seconds[forecaster.name] = time.process_time() - began
        predictions[forecaster.name] = prediction
        if len(forecasters) > 1:  # weights need it
            losses[forecaster.name] = _past_loss(forecaster, prediction, request)
        rolling += time.process_time() - began
        yield forecaster.name, _finished(prediction, request), seconds[forecaster.name]
    if not predictions:
        return
    first = next(iter(predictions))
    yield NAIVE, naive_quantiles(request), 0.0
    yield FIRST, _finished(predictions[first], request), seconds[first]
    if len(predictions) < 2:
        return
    best = min(losses, key=lambda name: losses[name] if np.isfinite(losses[name]) else np.inf)
    yield SELECTED, _finished(predictions[best], request), rolling
    yield WEIGHTED, _finished(combined(predictions, weights_of(losses)), request), rolling
    for left_out in predictions:
        rest = {name: one for name, one in predictions.items() if name != left_out}
        weights = weights_of({name: losses[name] for name in rest})
        yield f"{WEIGHTED} without {left_out}", _finished(combined(rest, weights), request), rolling


def _past_loss(forecaster: Forecaster, prediction: Prediction, request: ForecastRequest) -> float:
    past = prediction.past if prediction.past is not None else past_quantiles(forecaster, request)
    if past is None:
        return float("nan")
    steps = min(past.shape[1], 7 * max(DAY // request.grid.step, 1))
    values = request.values[request.grid.size - steps :]
    return pinball_loss(values, past[:, past.shape[1] - steps :], request.levels)


def _finished(prediction: Prediction, request: ForecastRequest) -> Array:
    low = 0.0 if np.nanmin(request.values) >= 0 else -np.inf
    finished: Array = np.sort(np.maximum(prediction.quantiles, low), axis=0)
    return finished


def hindsight_quantiles(outcome: Array) -> Array:
    """Returns the quantiles of what came at LEVELS, the same at every step, shape (levels, steps)."""
    known = np.quantile(outcome[np.isfinite(outcome)], LEVELS)
    return np.repeat(known[:, None], outcome.size, axis=1)


def naive_quantiles(request: ForecastRequest) -> Array:
    """Returns the value a day before with the quantiles of the errors that this had in the history."""
    per_day = max(DAY // request.grid.step, 1)
    values, size = request.values, request.ahead.size
    errors = values[per_day:] - values[:-per_day]
    errors = errors[np.isfinite(errors)]
    spread = np.quantile(errors, request.levels) if errors.size else np.zeros(len(request.levels))
    point = np.full(size, np.nan)
    for back in range(1, values.size // per_day + 1):  # a missing sample is that of the day before it
        earlier = values[values.size - back * per_day + np.arange(size) % per_day]
        point = np.where(np.isfinite(point), point, earlier)
    quantiles = np.where(np.isfinite(point), point, np.nanmedian(values)) + spread[:, None]
    return _finished(Prediction(quantiles), request)
