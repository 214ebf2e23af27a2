import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from perfopt_resource.leak import find_leak

WEEK, DAY = 2016, 288
spec = spec_from_file_location("leak_report", Path(__file__).with_name("leak_report.py"))
report = module_from_spec(spec)
spec.loader.exec_module(report)


def peaks(*values):
    """Returns memory whose daily peaks these are."""
    return np.repeat(np.array(values, dtype=float), DAY)[None]


def test_a_saw_tooth_is_not_a_leak_and_a_line_is():
    line = np.linspace(100.0, 200.0, 4032)
    leak = find_leak(line[None], WEEK)
    assert leak.peak == pytest.approx(250, rel=0.01)
    assert leak.slope == leak.low == leak.high == pytest.approx(100 / 4032, rel=0.01)
    assert find_leak((line % 30 + 100)[None], WEEK) is None
    assert find_leak(np.full((1, 4032), 100.0), WEEK) is None
    assert find_leak(np.linspace(100.0, 103.0, 4032)[None], WEEK) is None
    assert find_leak(line[None, :600], WEEK) is None


def test_a_leak_that_scatters_is_found_with_an_interval_of_its_slope():
    rng = np.random.default_rng(1)
    days = 100 + 5 * np.arange(14) + rng.normal(0, 3.0, 14)  # some days lie below the one before them
    leak = find_leak(peaks(*days), WEEK)
    assert leak.slope * DAY == pytest.approx(5, rel=0.1)
    assert leak.low * DAY < 5 < leak.high * DAY
    assert 0.2 < (leak.high - leak.low) * DAY < 1.0
    assert leak.peak == pytest.approx(days[-1] + 7 * leak.slope * DAY)


def test_one_odd_day_does_not_hide_a_leak():
    days = 100 + 5 * np.arange(14.0) + np.tile([0.5, -0.5], 7)
    days[6] += 40
    leak = find_leak(peaks(*days), WEEK)
    assert leak.slope * DAY == pytest.approx(5, rel=0.1)


def test_a_step_to_a_higher_level_is_not_a_leak():
    assert find_leak(peaks(*[100, 101] * 3, *[150, 151] * 4), WEEK) is None


def test_a_rise_of_less_than_a_tenth_is_not_a_leak():
    assert find_leak(peaks(*(200 + 1.2 * np.arange(14))), WEEK) is None
    assert find_leak(peaks(*(200 + 2.0 * np.arange(14))), WEEK) is not None


def test_days_without_samples_or_less_than_five_days_are_no_leak():
    days = peaks(*(100 + 10.0 * np.arange(8)))
    assert find_leak(days[:, : 4 * DAY], WEEK) is None
    assert find_leak(days[:, : 5 * DAY], WEEK) is not None
    days[:, 2 * DAY : 3 * DAY] = np.nan
    assert find_leak(days, WEEK) is None


def days_of(rng, count, days, kept, climb):
    """Returns daily peaks about a climb, each day's noise keeping a share of that of the day before."""
    noise = np.zeros((count, days + 20))
    for day in range(1, days + 20):
        noise[:, day] = kept * noise[:, day - 1] + rng.normal(0, np.sqrt(1 - kept**2), count)
    return np.maximum(1e9 * (1 + 0.1 * noise[:, 20:] + climb * np.arange(days) / 14), 1e7)


def share_of_leaks(rule, climb, count):
    rng = np.random.default_rng(7)
    cases = [(days, kept) for days in (6, 10, 14) for kept in (0.0, 0.6, 0.9)]
    found = [rule(one) for days, kept in cases for one in days_of(rng, count, days, kept, climb)]
    return np.mean(found)


def test_noise_that_goes_on_from_day_to_day_is_less_often_taken_for_a_leak_than_by_a_straight_line():
    assert share_of_leaks(report.trend, 0.0, 1500) < share_of_leaks(report.line, 0.0, 1500) < 0.01
    assert share_of_leaks(report.trend, 1.2, 60) > share_of_leaks(report.line, 1.2, 60)


def test_memory_that_only_scatters_does_not_import_statsmodels(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsmodels", None)
    rng = np.random.default_rng(2)
    assert find_leak(100 + rng.normal(0, 10, (1, 14 * DAY)), WEEK) is None
