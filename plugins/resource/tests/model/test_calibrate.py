import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt_resource.model.calibrate import ConfidenceCalibration, fit, fit_lack, reliability


def test_overconfident_probabilities_are_brought_back():
    rng = np.random.default_rng(0)
    true = rng.uniform(0.5, 0.99, 20_000)
    stated = 1 / (1 + np.exp(-2 * np.log(true / (1 - true))))
    kept = rng.random(20_000) < true
    calibrated = fit(stated, kept)(stated)
    assert reliability(stated, kept).expected_error > 0.05
    assert reliability(calibrated, kept).expected_error < 0.015


def test_outcomes_that_are_all_alike_leave_probabilities_short_of_certain():
    calibrated = fit(np.full(50, 0.9), np.ones(50, dtype=bool))(np.array([0.9]))
    assert 0.9 < calibrated[0] < 1


def test_reliability_by_hand():
    found = reliability(np.array([0.9, 0.9, 0.5, 0.5]), np.array([True, True, True, False]), bins=2)
    assert found.bins == ((0.5, 0.5, 2), (0.9, 1.0, 2))
    assert found.expected_error == pytest.approx(0.05)
    assert found.auc == pytest.approx((1 * 2 + 0.5) / 3)
    assert found.brier_skill == pytest.approx(1 - ((0.01 * 2 + 0.25 * 2) / 4) / (0.75 * 0.25))


def test_reliability_of_all_alike_has_no_skill_figures():
    found = reliability(np.array([0.9, 0.8]), np.array([True, True]))
    assert found.auc is None
    assert found.brier_skill is None


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.05, 3), st.floats(-3, 3))
def test_calibration_keeps_the_order(one, other, slope, offset):
    low, high = sorted((one, other))
    calibrated = ConfidenceCalibration(slope, offset)(np.array([low, high]))
    assert calibrated[0] <= calibrated[1]


@given(st.floats(0, 1), st.floats(0.05, 1), st.floats(0.05, 1), st.floats(0, 3))
def test_of_less_history_never_more_is_said(probability, one, other, lack):
    short, long = sorted((one, other))
    stated = ConfidenceCalibration(1.0, 0.2, lack)(np.full(2, probability), np.array([short, long]))
    assert stated[0] <= stated[1]


def test_what_short_histories_lack_is_found_and_whole_ones_are_left_as_they_were():
    rng = np.random.default_rng(0)
    known = rng.choice([0.3, 0.5, 1.0], 20_000)
    stated = rng.uniform(0.7, 0.99, 20_000)
    kept = rng.random(20_000) < ConfidenceCalibration(lack=0.5)(stated, known)
    fitted = fit_lack(ConfidenceCalibration(), stated, known, kept)
    assert fitted.lack == pytest.approx(0.5, abs=0.08)
    assert fitted(stated) == pytest.approx(ConfidenceCalibration()(stated))


def test_short_histories_that_did_better_than_was_said_lower_nothing():
    stated, known = np.full(200, 0.8), np.full(200, 0.3)
    assert fit_lack(ConfidenceCalibration(), stated, known, np.ones(200, dtype=bool)).lack == 0
