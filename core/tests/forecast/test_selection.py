"""Which forecasters make a forecast: the first that can, or all by their loss on the past."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from perfopt.forecast import BUILT_IN, InstalledForecasters, forecast_series
from perfopt.forecast.rolling import past_quantiles, pinball_loss, weights_of
from perfopt.plugin import CostClass, ForecastRequest, Prediction, TimeGrid

STEP = timedelta(minutes=30)
GRID = TimeGrid(datetime(2026, 1, 5, tzinfo=UTC), STEP, 14 * 48)
VALUES = 5 + np.sin(2 * np.pi * np.arange(GRID.size) / 48)
DAY = timedelta(days=1)


class Constant:
    """Forecasts one value with a narrow interval."""

    cost = CostClass.FAST

    def __init__(self, name, value, cost=CostClass.FAST):
        self.name, self.value, self.cost = name, value, cost

    def forecast(self, request: ForecastRequest) -> Prediction | None:
        width = 0.01 * np.arange(len(request.levels))[:, None]
        return Prediction(np.full((len(request.levels), request.ahead.size), self.value) + width)


class Periodic(Constant):
    """Repeats the last day: exact here."""

    def forecast(self, request):
        return Prediction(
            np.tile(np.resize(request.values[-48:], request.ahead.size), (len(request.levels), 1))
        )


class Raising(Constant):
    def forecast(self, request):
        raise ZeroDivisionError("by nothing")


class Declining(Constant):
    def forecast(self, request):
        return None


def forecast(*forecasters, chosen=(), weighted=False, names=(), horizon=DAY, past=False):
    installed = {one.name: one for one in (*BUILT_IN, *forecasters)}
    return forecast_series(
        VALUES, GRID, horizon, "cores",
        forecasters=InstalledForecasters(installed, chosen, weighted), names=names, past=past,
    )  # fmt: skip


def test_the_first_that_can_forecast_is_used_alone():
    made = forecast(Declining("a", 0.0), Constant("b", 3.0), Constant("c", 9.0), chosen=("a", "b", "c"))
    assert made.weights == {"b": 1.0}
    assert made.values[0] == pytest.approx(np.full(48, 3.0))


def test_what_a_user_chose_goes_before_what_a_strategy_wants():
    one, two = Constant("one", 1.0), Constant("two", 2.0)
    assert forecast(one, two, names=("two",)).weights == {"two": 1.0}
    assert forecast(one, two, names=("two",), chosen=("one",)).weights == {"one": 1.0}


def test_without_choice_the_fleet_network_forecasts():
    assert forecast().weights == {"fleet": 1.0}


def test_one_that_raises_is_left_out_with_the_reason():
    made = forecast(Raising("bad", 0.0), Constant("good", 3.0), chosen=("bad", "good"))
    assert made.weights == {"good": 1.0}
    assert made.failed == {"bad": "ZeroDivisionError: by nothing"}


def test_seasonal_quantiles_stand_in_where_no_chosen_one_can_forecast():
    assert forecast(Declining("a", 0.0), chosen=("a",)).weights == {"seasonal": 1.0}


@pytest.mark.parametrize("horizon", [timedelta(hours=2), DAY, 7 * DAY])
def test_weights_follow_the_loss_on_the_past(horizon):
    near, far = Constant("near", 5.0), Constant("far", 50.0)
    made = forecast(near, far, chosen=("near", "far"), weighted=True, horizon=horizon)
    assert "far" not in made.weights
    assert sum(made.weights.values()) == pytest.approx(1.0)


def test_weighted_without_choice_all_fast_ones_take_part_and_slow_ones_do_not():
    fast, slow = Periodic("fast", 0.0), Periodic("slow", 0.0, CostClass.SLOW)
    made = forecast(fast, slow, weighted=True)
    assert "fast" in made.weights
    assert "slow" not in made.weights
    assert forecast(fast, slow, weighted=True, chosen=("slow",)).weights["slow"] > 0.9


def test_past_quantiles_are_made_at_origins_where_the_forecaster_gives_none():
    assert forecast(Periodic("p", 0.0), chosen=("p",)).past is None
    made = forecast(Periodic("p", 0.0), chosen=("p",), past=True)
    assert made.past.shape == (5, 7 * 48)
    assert made.past[2] == pytest.approx(VALUES[-7 * 48 :])
    assert made.recent_exceedance == 0.0


def test_past_quantiles_know_nothing_of_what_came_after_their_origin():
    ahead = TimeGrid(GRID.end, STEP, 48)
    altered = VALUES.copy()
    altered[-48:] *= 10
    pasts = [
        past_quantiles(Periodic("p", 0.0), ForecastRequest(values, GRID, ahead, (0.5,), 5.0))
        for values in (VALUES, altered)
    ]
    assert pasts[0] == pytest.approx(pasts[1])


def test_beyond_a_day_the_past_is_forecast_from_a_day_further_back():
    ahead = TimeGrid(GRID.end, STEP, 7 * 48)
    altered = VALUES.copy()
    altered[-2 * 48 :] *= 10
    pasts = [
        past_quantiles(Periodic("p", 0.0), ForecastRequest(values, GRID, ahead, (0.5,), 5.0))
        for values in (VALUES, altered)
    ]
    assert pasts[0] == pytest.approx(pasts[1])


def test_a_load_above_what_was_forecast_lately_shows_as_exceedance():
    values = VALUES.copy()
    values[-48:] *= 3
    made = forecast_series(
        values,
        GRID,
        DAY,
        "cores",
        forecasters=InstalledForecasters({"p": Periodic("p", 0.0)}, ("p",)),
        past=True,
    )
    assert made.recent_exceedance == pytest.approx(0.5)


def test_pinball_loss_weighs_both_sides_by_the_level():
    assert pinball_loss(np.array([3.0]), np.array([[1.0]]), (0.9,)) == pytest.approx(1.8)
    assert pinball_loss(np.array([1.0]), np.array([[3.0]]), (0.9,)) == pytest.approx(0.2)
    assert np.isnan(pinball_loss(np.array([np.nan]), np.array([[3.0]]), (0.9,)))


def test_weights_leave_out_what_is_far_worse_and_unknown():
    weights = weights_of({"a": 1.0, "b": 2.0, "c": 10.0, "d": float("nan")})
    assert weights == pytest.approx({"a": 16 / 17, "b": 1 / 17})
    assert weights_of({"a": float("nan"), "b": float("nan")}) == {"a": 0.5, "b": 0.5}
