"""Enumeration, HiGHS and brute force give the same cost on small models."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfopt_cost.highs import solve_by_highs
from perfopt_cost.milp import OptimizationModel, enumerate_pairs
from perfopt_cost.solver import solve

PRICES = st.floats(0.01, 5.0)


@st.composite
def models(draw):
    periods, sizes, places = draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    most = draw(st.integers(1, 4))

    def table(rows, columns, values):
        return np.array([[draw(values) for _ in range(columns)] for _ in range(rows)], dtype=float)

    missing = st.one_of(PRICES, st.just(math.nan))
    return OptimizationModel(
        hours=np.array([draw(st.floats(1.0, 100.0)) for _ in range(periods)]),
        least=table(periods, sizes, st.integers(1, 5)),
        demand_price=table(sizes, places, missing),
        spot_price=table(sizes, places, missing),
        most=most,
        spot_share=draw(st.sampled_from([0.0, 0.5, 0.75, 1.0])),
        steady=draw(st.integers(0, 2)),
    )


def allowed(model, replicas, spot):
    return spot <= model.spot_share * replicas + 1e-9 and spot <= max(replicas - model.steady, 0)


def brute_force(model):
    """Tries every size, place, number of replicas and number of spot replicas."""
    best = math.inf
    sizes, places = model.demand_price.shape
    for size, place in itertools.product(range(sizes), range(places)):
        demand, spot = model.demand_price[size, place], model.spot_price[size, place]
        if math.isnan(demand):
            continue
        total = 0.0
        for period, hours in enumerate(model.hours):
            costs = [
                hours * (demand * (x - z) + (spot if z else 0.0) * z)
                for x in range(int(model.least[period, size]), model.most + 1)
                for z in range(x + 1)
                if allowed(model, x, z) and (z == 0 or not math.isnan(spot))
            ]
            total += min(costs, default=math.inf)
        best = min(best, total)
    return best


def feasible(model):
    """Spares brute force the case that steady replicas can't be had: there `x - steady < 0` binds x."""
    return bool((model.least >= model.steady).all())


@settings(max_examples=60, deadline=None)
@given(models())
def test_enumeration_and_highs_agree_with_brute_force(model):
    if not feasible(model):
        model = OptimizationModel(
            model.hours, np.maximum(model.least, model.steady), model.demand_price,
            model.spot_price, model.most, model.spot_share, model.steady,
        )  # fmt: skip
    expected = brute_force(model)
    for found in (enumerate_pairs(model), solve_by_highs(model, 10.0)):
        if math.isinf(expected):
            assert found is None
        else:
            assert found.cost == pytest.approx(expected, rel=1e-6)
            assert found.gap <= 1e-4
            for period, (x, z) in enumerate(zip(found.replicas, found.spot, strict=True)):
                assert model.least[period, found.size] <= x <= model.most
                assert allowed(model, x, z)


def large():
    rng = np.random.default_rng(1)
    prices = rng.uniform(1, 2, (6, 5))
    return OptimizationModel(
        hours=np.array([50.0, 118.0]),
        least=rng.integers(2, 8, (2, 6)).astype(float),
        demand_price=prices,
        spot_price=prices * 0.3,
        most=9,
        spot_share=0.5,
        steady=1,
    )


def test_a_large_model_goes_to_highs_and_states_its_gap():
    model = large()
    by_highs = solve(model, enumerated_most=10, time_limit=10.0)
    enumerated = solve(model)
    assert (by_highs.method, enumerated.method) == ("highs", "enumerated")
    assert by_highs.cost == pytest.approx(enumerated.cost)
    assert 0 <= by_highs.gap <= 1e-4
    assert enumerated.gap == 0


def test_no_time_is_no_answer_or_one_with_its_gap():
    found = solve(large(), enumerated_most=0, time_limit=0.0)
    assert found is None or 0 <= found.gap <= 1
