"""One way to ask for a forecast: of one series, or of many on one grid."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import numpy as np

from perfopt.forecast.blocks import highest_in_blocks
from perfopt.forecast.daily_profile import DailyProfileForecaster
from perfopt.forecast.live_demand import ShortTermForecaster
from perfopt.forecast.local_time import on_local_time
from perfopt.forecast.members import FleetForecaster, SeasonalForecaster
from perfopt.forecast.rolling import combined, past_quantiles, pinball_loss, weights_of
from perfopt.metrics.snapshot import Array, TimeGrid
from perfopt.plugin.calendar import SessionCalendar
from perfopt.plugin.forecasting import (
    DEFAULT_LEVELS,
    CostClass,
    Forecast,
    Forecaster,
    ForecastRequest,
    ModelForecaster,
    Prediction,
)

MIN_SAMPLES = 24
RECENT = timedelta(days=2)
JUDGED_LEVEL, TOLERANCE = 0.98, 1.1
BUILT_IN: tuple[Forecaster, ...] = (
    FleetForecaster(),
    SeasonalForecaster(),
    DailyProfileForecaster(),
    ShortTermForecaster(),
)
# The first that can forecast a series is asked alone: no mixture of the two was better
# (docs/research/forecasts.md).
DEFAULT_ORDER = ("fleet", "seasonal")
LAST_RESORT = "seasonal"


@dataclass(frozen=True, slots=True)
class InstalledForecasters:
    """The forecasters that are installed, and which of them the user wants.

    Attributes:
        installed: by name.
        chosen: names in order of preference; empty leaves the choice to who asks.
        weighted: whether all that can forecast a series are weighted by their loss on its past, in place of
            the first alone. Those that are slow take part where they are chosen by name.
    """

    installed: Mapping[str, Forecaster] = field(
        default_factory=lambda: {forecaster.name: forecaster for forecaster in BUILT_IN}
    )
    chosen: tuple[str, ...] = ()
    weighted: bool = False

    def with_models(self, models: Mapping[str, bytes]) -> "InstalledForecasters":
        """Returns the same with forecasters that read from these models, kind to content."""
        installed = {
            name: one.with_models(models) if isinstance(one, ModelForecaster) else one
            for name, one in self.installed.items()
        }
        return replace(self, installed=installed)

    def forecast(
        self, request: ForecastRequest, names: Sequence[str] = (), *, past: bool = False
    ) -> "WeightedPrediction | None":
        """Returns a prediction, or None where no forecaster can make one.

        Args:
            request: the series.
            names: to ask where the user chose none; empty is DEFAULT_ORDER.
            past: whether quantiles of past steps are needed; a forecaster that does not give them is asked
                at origins in the past.
        """
        predictions = _CollectedPredictions({}, {})
        for forecaster in self._selected(names):
            predictions.add(forecaster, request, past=past or self.weighted)
            if predictions.predictions and not self.weighted:
                break
        if not predictions.predictions and LAST_RESORT in self.installed:
            predictions.add(self.installed[LAST_RESORT], request, past=past)
        if not predictions.predictions:
            return None
        weights = _weights(predictions.predictions, request)
        return WeightedPrediction(combined(predictions.predictions, weights), weights, predictions.failed)

    def _selected(self, preferred: Sequence[str]) -> Iterator[Forecaster]:
        names = [*(self.chosen or preferred or DEFAULT_ORDER)]
        if self.weighted and not self.chosen:
            names += [name for name, one in self.installed.items() if one.cost is CostClass.FAST]
        return (self.installed[name] for name in dict.fromkeys(names) if name in self.installed)


@dataclass(frozen=True, slots=True)
class _CollectedPredictions:
    """What forecasters gave so far, by name: predictions, and why there is none."""

    predictions: dict[str, Prediction]
    failed: dict[str, str]

    def add(self, forecaster: Forecaster, request: ForecastRequest, *, past: bool) -> None:
        try:
            prediction = _asked_once(forecaster, request, past=past)
        except Exception as error:  # a third party's may raise anything; the next one is asked
            self.failed[forecaster.name] = f"{type(error).__name__}: {error}"
            return
        if prediction is not None:
            self.predictions[forecaster.name] = prediction


@dataclass(frozen=True, slots=True)
class WeightedPrediction:
    """A prediction, the weight of each forecaster in it, and why others were left out."""

    prediction: Prediction
    weights: Mapping[str, float]
    failed: Mapping[str, str]


def _asked_once(forecaster: Forecaster, request: ForecastRequest, *, past: bool) -> Prediction | None:
    return on_local_time(request, lambda one: _asked_on_clock(forecaster, one, past=past))


def _asked_on_clock(forecaster: Forecaster, request: ForecastRequest, *, past: bool) -> Prediction | None:
    prediction = forecaster.forecast(request)
    if prediction is None:
        return None
    _check_shape(prediction, request)
    if not past or prediction.past is not None:
        return prediction
    return replace(prediction, past=past_quantiles(forecaster, request))


def _check_shape(prediction: Prediction, request: ForecastRequest) -> None:
    shape = (len(request.levels), request.ahead.size)
    if prediction.quantiles.shape != shape or not np.isfinite(prediction.quantiles).all():
        raise ValueError(f"its quantiles are not {shape[0]} by {shape[1]} finite values")


def _weights(predictions: Mapping[str, Prediction], request: ForecastRequest) -> dict[str, float]:
    """Weighs forecasters by their loss on the past steps that all of those know which know any."""
    if len(predictions) == 1:
        return dict.fromkeys(predictions, 1.0)
    past = {name: one.past for name, one in predictions.items() if one.past is not None}
    steps = min((quantiles.shape[1] for quantiles in past.values()), default=0)
    values = request.values[request.grid.size - steps :]
    losses = dict.fromkeys(predictions, float("nan"))
    for name, quantiles in past.items():
        losses[name] = pinball_loss(values, quantiles[:, quantiles.shape[1] - steps :], request.levels)
    return weights_of(losses)


def forecast_series(
    values: Array,
    grid: TimeGrid,
    horizon: timedelta,
    unit: str,
    levels: Sequence[float] = DEFAULT_LEVELS,
    *,
    block: timedelta | None = None,
    calendar: SessionCalendar | None = None,
    forecasters: InstalledForecasters | None = None,
    names: Sequence[str] = (),
    past: bool = False,
) -> Forecast | None:
    """Forecasts one series from the end of its grid.

    Args:
        values: shape (grid.size,), NaN where missing.
        grid: the grid of the values.
        horizon: how far; rounded up to whole steps.
        unit: of the values.
        levels: increasing quantile levels in (0, 1).
        block: length of the steps forecast, whose values are the highest in each; None is the grid's step.
        calendar: of the exchange whose sessions the series follows, known over the horizon too.
        forecasters: what is installed and chosen; None is what perfopt brings.
        names: of forecasters to ask where none is chosen.
        past: whether quantiles of past steps are needed.

    Returns:
        Quantiles on [grid.end, grid.end + horizon), non-crossing and, for a series that never was
        negative, never negative; None with fewer than 24 samples or an empty horizon.
    """
    known = values[np.isfinite(values)]
    scale = float(known.mean()) if known.size else 0.0
    if block is not None:
        values, grid = highest_in_blocks(values, grid, block)
    steps = -(-horizon // grid.step)
    if known.size < MIN_SAMPLES or steps <= 0 or not np.isfinite(values).any():
        return None
    ahead = TimeGrid(grid.end, grid.step, steps)
    request = ForecastRequest(values, grid, ahead, tuple(levels), scale, calendar)
    prediction = (forecasters or InstalledForecasters()).forecast(request, names, past=past)
    return None if prediction is None else _finished(prediction, request, unit)


def forecast_metric(
    values: Array,
    grid: TimeGrid,
    horizon: timedelta,
    unit: str,
    levels: Sequence[float] = DEFAULT_LEVELS,
    *,
    calendar: SessionCalendar | None = None,
) -> Forecast | None:
    """Forecasts one series at its own step by what perfopt brings, as `forecast_series` does."""
    return forecast_series(values, grid, horizon, unit, levels, calendar=calendar)


def forecast_batch(
    batch: Sequence[Array],
    grid: TimeGrid,
    horizon: timedelta,
    unit: str,
    levels: Sequence[float] = DEFAULT_LEVELS,
    *,
    calendar: SessionCalendar | None = None,
) -> list[Forecast | None]:
    """Forecasts many series of one grid, each as `forecast_metric` does, in their order."""
    return [forecast_metric(values, grid, horizon, unit, levels, calendar=calendar) for values in batch]


def _finished(answer: WeightedPrediction, request: ForecastRequest, unit: str) -> Forecast:
    prediction = answer.prediction
    low = 0.0 if np.nanmin(request.values) >= 0 else -np.inf
    # shifted levels may cross; sorting them is never worse (Chernozhukov et al. 2010)
    quantiles = np.sort(np.maximum(prediction.quantiles, low), axis=0)
    recent = prediction.recent_exceedance
    if recent is None and prediction.past is not None:
        recent = _exceedance(prediction.past, request)
    return Forecast(
        unit=unit,
        grid=request.ahead,
        levels=request.levels,
        values=quantiles,
        center=prediction.expected,
        past=prediction.past,
        recent_exceedance=recent,
        weights=answer.weights,
        failed=answer.failed,
    )


def _exceedance(past: Array, request: ForecastRequest) -> float:
    """Returns the share of recent steps a tenth or more above what 98 in 100 should stay below."""
    steps = min(past.shape[1], max(RECENT // request.grid.step, 1))
    bound = np.array(
        [np.interp(JUDGED_LEVEL, request.levels, at) for at in past[:, past.shape[1] - steps :].T]
    )
    values = request.values[request.grid.size - steps :]
    known = np.isfinite(values) & np.isfinite(bound)
    return float((values[known] > TOLERANCE * bound[known]).mean()) if known.any() else 0.0
