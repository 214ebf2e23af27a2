"""Confidence follows recorded outcomes: by how much, and that it means what it says afterwards."""

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest
from first_party import FIRST_PARTY
from hypothesis import given
from hypothesis import strategies as st

from perfopt.backtest.calibration import expected_calibration_error
from perfopt.config.loading import Config, EngineConfig
from perfopt.domain.enums import OptimizationType
from perfopt.domain.record import StrategyRecord
from perfopt.engine import Engine, probe_plugins
from perfopt.engine.records import HALF_LIFE, RecordedOutcome, fit, strategy_records
from perfopt.testing import make_snapshot

NOW = datetime(2026, 11, 23, tzinfo=UTC)
WEEK = timedelta(days=7)
KEY = "resource/resource"
PLUGIN = """
from perfopt.plugin import OptimizationType, Prior, Proposal, hookimpl

class Sure:
    name, optimization_type = "sure", OptimizationType.RESOURCE_OPTIMIZATION
    metrics, forecasts, prior = ("cpu_cores",), (), Prior()

    def propose(self, context):
        return Proposal(
            optimization_type=self.optimization_type, target=context.snapshot.workload.state,
            description="Keep.", no_change_needed=True, prior=Prior(mean=0.9, strength=1e6, source="told"),
        )

@hookimpl
def perfopt_strategies():
    return [Sure()]
"""


def outcome(number, *, stated=0.9, accurate=True, version="1", workload=None, ended=NOW, key=KEY):
    return RecordedOutcome(
        strategy=key,
        version=version,
        workload=workload or f"prod/deployment/s{number}",
        made_at=ended - WEEK,
        valid_until=ended,
        stated=stated,
        accurate=accurate,
        recorded_at=ended,
    )


def record(outcomes, **versions):
    return strategy_records(outcomes, versions or {KEY: "1"}, NOW).get(KEY)


def simulated(rng, count, truth):
    """Returns what was stated, and outcomes drawn from the truth behind it."""
    stated = rng.beta(6, 1.5, count)
    accurate = rng.random(count) < truth(stated)
    return stated, accurate


def paired(stated, accurate):
    pairs = zip(stated, accurate, strict=True)
    return [outcome(i, stated=s, accurate=bool(a)) for i, (s, a) in enumerate(pairs)]


def overconfident(stated):
    odds = 0.6 * np.log(stated / (1 - stated)) - 0.5
    return 1 / (1 + np.exp(-odds))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("count", "share"), [(100, 0.6), (400, 0.45), (2000, 0.3)])
def test_on_outcomes_not_fitted_to_the_error_of_calibration_falls(seed, count, share):
    rng = np.random.default_rng(seed)
    stated, accurate = simulated(rng, count, overconfident)
    known = record(paired(stated, accurate))
    later, came = simulated(rng, 4000, overconfident)
    told = np.array([known.recalibrated(each) for each in later])
    before, after = (expected_calibration_error(each, came) for each in (later, told))
    assert before > 0.12
    assert after < share * before


def test_where_confidence_was_right_it_stays_so():
    rng = np.random.default_rng(5)
    stated, accurate = simulated(rng, 400, lambda p: p)
    known = record(paired(stated, accurate))
    later, came = simulated(rng, 4000, lambda p: p)
    told = np.array([known.recalibrated(each) for each in later])
    assert expected_calibration_error(told, came) < 0.04


def test_no_outcome_is_no_record_and_a_few_move_a_little():
    assert record([]) is None
    missed = [record([outcome(i, accurate=False) for i in range(n)]).recalibrated(0.9) for n in (1, 3, 30)]
    assert 0.8 < missed[0] < 0.9
    assert missed[0] > missed[1] > missed[2]
    assert missed[2] < 0.4
    assert record([outcome(i) for i in range(30)]).recalibrated(0.9) > 0.92


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40),
    st.lists(st.floats(0, 1), min_size=2, max_size=10, unique=True),
)
def test_the_order_of_confidences_stays_and_each_is_a_probability(seen, probabilities):
    known = record([outcome(i, stated=s, accurate=a) for i, (s, a) in enumerate(seen)])
    told = [known.recalibrated(each) for each in sorted(probabilities)]
    assert told == sorted(told)
    assert all(0 <= each <= 1 for each in told)
    assert known.slope > 0


def test_overlapping_recommendations_of_one_workload_count_the_time_they_cover():
    daily = [outcome(0, ended=NOW + timedelta(days=i), workload="w") for i in range(8)]
    known = strategy_records(daily, {KEY: "1"}, NOW + timedelta(days=7))[KEY]
    assert known.outcomes == pytest.approx(2.0, rel=0.05)  # two weeks, a little of it discounted by age
    apart = [outcome(i) for i in range(8)]
    assert record(apart).outcomes == pytest.approx(8.0)


def test_old_outcomes_and_those_of_other_versions_weigh_less():
    assert record([outcome(0, ended=NOW - HALF_LIFE)]).outcomes == pytest.approx(0.5)
    assert record([outcome(0, version="0.9")]).outcomes == pytest.approx(0.25)
    assert record([outcome(0, version=None)]).outcomes == pytest.approx(0.25)


def test_strategies_that_do_not_run_have_no_record_and_the_order_of_outcomes_is_no_matter():
    some = [outcome(i, accurate=i % 3 > 0, stated=0.5 + i / 30) for i in range(12)]
    assert strategy_records(some, {"other/x": "1"}, NOW) == {}
    assert record(some) == record(some[::-1])


def test_the_fit_is_where_the_gradient_vanishes():
    rng = np.random.default_rng(1)
    odds, accurate, weights = rng.normal(2, 1, 50), (rng.random(50) < 0.7).astype(float), rng.random(50)
    slope, intercept = fit(odds, accurate, weights)
    residual = weights * (1 / (1 + np.exp(-(slope * odds + intercept))) - accurate)
    assert residual.sum() + intercept / 0.25 == pytest.approx(0, abs=1e-4)
    assert slope * (residual @ odds) + np.log(slope) / 0.0625 == pytest.approx(0, abs=1e-3)


def test_the_engine_states_what_the_record_calls_for_and_shows_it(install):
    install("sure", {"sure": "sure_plugin"}, files={"sure_plugin.py": PLUGIN})
    known = StrategyRecord(slope=1.0, intercept=-1.0, outcomes=12.5, accuracy=0.7, stated=0.9)
    types = (OptimizationType.RESOURCE_OPTIMIZATION,)
    config = Config(engine=EngineConfig(processes=1, deadline_seconds=20))
    with Engine(probe_plugins(disabled=FIRST_PARTY), config) as engine:
        (before,) = engine.analyze(make_snapshot(), types, WEEK).recommendations
        engine.use_records({"sure/sure": known, "other/x": known})
        (after,) = engine.analyze(make_snapshot(), types, WEEK).recommendations
    assert before.expected_improvement.confidence == pytest.approx(0.9, abs=1e-3)
    assert before.confidence_detail.before_record is None
    odds = np.log(0.9 / 0.1) - 1
    assert after.expected_improvement.confidence == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-3)
    detail = after.confidence_detail
    assert detail.before_record == before.expected_improvement.confidence
    assert (detail.recorded_outcomes, detail.recorded_accuracy) == (12.5, 0.7)


def weeks_of(shares, size=60, stated=0.9, last=NOW):
    """Returns outcomes of weeks in turn, of which these shares were accurate."""
    return [
        outcome(number, stated=stated, accurate=number < share * size, ended=last - age * WEEK)
        for age, share in enumerate(reversed(shares))
        for number in range(size)
    ]


def test_a_week_that_went_wrong_lowers_the_confidence_of_the_next():
    steady = record(weeks_of([0.9] * 8))
    broken = record(weeks_of([0.9] * 7 + [0.6]))
    assert abs(steady.shift) < 0.05
    assert broken.shift < -0.3
    assert broken.recalibrated(0.9) < steady.recalibrated(0.9) - 0.05
    long_record = msgspec.structs.replace(broken, shift=0.0)
    assert (
        long_record.recalibrated(0.9) > steady.recalibrated(0.9) - 0.05
    )  # one week in eight moves it little


def test_the_shift_fades_with_the_weeks_after():
    shifts = [record(weeks_of([0.9] * 7 + [0.6] + [0.9] * after)).shift for after in range(4)]
    assert shifts == sorted(shifts)
    assert shifts[0] < -0.3
    assert shifts[3] > -0.1


def test_a_fleet_that_moves_together_counts_as_few():
    few, many = (record(weeks_of([0.9] * 7 + [0.6], size=size)).shift for size in (60, 600))
    assert few - 0.3 < many < few  # ten times the workloads, hardly more evidence of a week
    spread = weeks_of([0.9] * 7)
    spread += [
        outcome(number, accurate=number % 10 < 6, ended=NOW - timedelta(days=number % 7))
        for number in range(60)
    ]
    assert record(spread).shift < record(weeks_of([0.9] * 7 + [0.6])).shift


def loss_by_shift(seed, persistence, size):
    """Returns by how much the shift raises the log loss of the next week, over simulated weeks of a fleet."""
    rng, level, past, losses = np.random.default_rng(seed), 0.0, [], []
    for week in range(16):
        level = persistence * level + rng.normal(0, size)
        stated = rng.beta(18, 2, 60)
        accurate = rng.random(60) < 1 / (1 + np.exp(-np.log(stated / (1 - stated)) - level))
        now = NOW + (week - 16) * WEEK
        known = strategy_records(past, {KEY: "1"}, now).get(KEY)
        if known is not None and week > 3:
            for one in (known, msgspec.structs.replace(known, shift=0.0)):
                p = np.array([one.recalibrated(value) for value in stated])
                losses.append(-np.log(np.where(accurate, p, 1 - p)).mean())
        past += [
            outcome(number, stated=value, accurate=bool(hit), ended=now + WEEK)
            for number, (value, hit) in enumerate(zip(stated, accurate, strict=True))
        ]
    return np.mean(losses[::2]) - np.mean(losses[1::2])


def test_weeks_that_drift_are_stated_better_with_the_shift_and_steady_ones_hardly_worse():
    assert np.mean([loss_by_shift(seed, 0.0, 0.0) for seed in range(6)]) < 0.001
    assert np.mean([loss_by_shift(seed, 0.8, 0.6) for seed in range(6)]) < -0.0015
