import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from perfopt_resource.leak import end_of_leak, find_leak

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


def began_at(*steps, size):
    began = np.zeros(size, dtype=bool)
    began[list(steps)] = True
    return began


RISE = np.linspace(300.0, 1020.0, 500)


def ended(*parts, at=500):
    values = np.concatenate([np.full(part, 300.0) if isinstance(part, int) else part for part in parts])
    return end_of_leak(values[None], began_at(*([] if at is None else [at]), size=values.size))


def test_a_leak_has_ended_where_its_successor_lived_as_long_and_stayed_low():
    assert ended(RISE, 500) == 500
    assert ended(RISE, 550, at=501) == 500
    assert ended(RISE, RISE, 500, at=1000) == 1000


@pytest.mark.parametrize(
    ("parts", "at"),
    [
        ((RISE, 300), 500),  # younger than the leak was: it may come back
        ((RISE, 500), None),  # nothing began anew: use fell
        ((RISE, 500), 510),
        ((RISE[250:], 500), 250),  # a rise older than the history
        ((RISE, RISE), 500),  # it leaks on
        ((RISE,), 499),
        ((np.full(500, 1020.0), 500), 500),  # no leak, only less
        ((np.r_[np.full(250, 300.0), np.full(250, 1020.0)], 500), 500),  # a step, as load makes one
        ((np.linspace(300.0, 1020.0, 40), 500), 40),  # a warm-up
        ((np.linspace(300.0, 430.0, 500), 500), 500),  # little
    ],
)
def test_what_may_come_back_or_was_no_leak_has_not_ended(parts, at):
    assert ended(*parts, at=at) is None


def test_gaps_do_not_hide_the_end_of_a_leak():
    values = np.r_[RISE, np.full(520, 300.0)]
    values[100:110] = values[600:700] = np.nan
    assert end_of_leak(values[None], began_at(500, size=values.size)) == 500
    assert end_of_leak(np.full((2, 50), np.nan), began_at(size=50)) is None
