from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.domain.recommendation import Evidence, ReplayWindow
from perfopt.domain.record import StrategyRecord
from perfopt.engine.confidence import confidence
from perfopt.plugin import Prior

START = datetime(2026, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
PRIOR = Prior(mean=0.8, strength=4, source="a measurement")


def window(day, accurate):
    made_at = START + timedelta(days=day)
    outcome = "not_scored" if accurate is None else "accurate" if accurate else "inaccurate"
    return ReplayWindow(made_at=made_at, scored_until=made_at + WEEK, outcome=outcome, accurate=accurate)


def test_without_a_record_it_is_the_prior():
    sure, detail = confidence(Evidence(windows=(window(0, None),)), PRIOR, WEEK)
    assert sure == 0.8
    assert (detail.n_effective, detail.accurate_share, detail.prior_source) == (0, None, "a measurement")


def test_overlapping_windows_count_their_time_once():
    evidence = Evidence(windows=tuple(window(day, day != 1) for day in range(5)))  # 11 days in all
    sure, detail = confidence(evidence, PRIOR, WEEK)
    assert detail.n_effective == pytest.approx(11 / 7, abs=1e-4)
    assert detail.accurate_share == 0.8
    assert sure == 0.8


def test_windows_apart_count_one_each():
    evidence = Evidence(windows=(window(0, True), window(20, True)))
    sure, detail = confidence(evidence, PRIOR, WEEK)
    assert detail.n_effective == 2
    assert sure == pytest.approx((0.8 * 4 + 2) / 6, abs=1e-4)


@given(st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=12), st.floats(0, 1))
def test_it_is_a_probability_between_prior_and_record(made, mean):
    prior = Prior(mean=mean, strength=2, source="test")
    sure, detail = confidence(Evidence(windows=tuple(window(*one) for one in made)), prior, WEEK)
    share = mean if detail.accurate_share is None else detail.accurate_share
    assert min(mean, share) - 1e-3 <= sure <= max(mean, share) + 1e-3


def test_a_window_within_another_adds_no_time():
    long = ReplayWindow(made_at=START, scored_until=START + 3 * WEEK, outcome="accurate", accurate=True)
    evidence = Evidence(windows=(long, window(3, True), window(20, True)))  # the last reaches to day 27
    assert confidence(evidence, PRIOR, WEEK)[1].n_effective == pytest.approx(27 / 7, abs=1e-4)
    after = Evidence(windows=(long, window(3, True), window(12, True)))
    assert confidence(after, PRIOR, WEEK)[1].n_effective == 3


def test_the_detail_says_what_the_prior_is_and_that_no_outcome_was_recorded():
    detail = confidence(Evidence(windows=()), PRIOR, WEEK)[1]
    assert (detail.prior, detail.prior_strength) == (0.8, 4)
    assert (detail.recorded_outcomes, detail.recorded_accuracy, detail.before_record) == (0.0, None, None)


def test_recorded_outcomes_map_the_probability_and_are_stated():
    record = StrategyRecord(slope=1.0, intercept=-1.0, outcomes=40.123456, accuracy=0.612345, stated=0.9)
    prior = Prior(mean=0.8123456, strength=4, source="a measurement", record=record)
    sure, detail = confidence(Evidence(windows=()), prior, WEEK)
    assert sure == round(record.recalibrated(0.8123456), 4) < 0.8
    assert detail.before_record == 0.8123
    assert (detail.recorded_outcomes, detail.recorded_accuracy) == (40.1235, 0.6123)
