import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.metrics.catalogue import METRICS, Metric
from perfopt.metrics.grid import GridReport, merge_reports, step_aligned, to_grid
from perfopt.metrics.snapshot import TimeGrid

START = datetime(2026, 11, 2, tzinfo=UTC)
GRID = TimeGrid(START, timedelta(minutes=5), 12)
ORIGIN = int(START.timestamp()) * 1000
CPU = METRICS["cpu_cores"]


def on_grid(samples, metric=CPU, grid=GRID, **more):
    """Puts (seconds after the start, value) pairs on the grid."""
    times = np.array([ORIGIN + round(second * 1000) for second, _ in samples], dtype=np.int64)
    return to_grid(times, np.array([value for _, value in samples], dtype=float), grid, metric, **more)


def test_a_sample_at_a_boundary_belongs_to_the_step_that_begins_there():
    values, _ = on_grid([(0, 1.0), (299.999, 3.0), (300, 10.0)])
    assert values[:2].tolist() == [2.0, 10.0]


@pytest.mark.parametrize(
    ("how", "expected"), [("mean", 4.0), ("max", 9.0), ("min", 1.0), ("last", 2.0), ("sum", 12.0)]
)
def test_several_samples_in_a_step_become_one(how, expected):
    metric = Metric(name="x", unit="", aggregation=how)
    values, _ = on_grid([(0, 1.0), (60, 9.0), (120, 2.0)], metric)
    assert values[0] == expected


def test_out_of_order_samples_are_put_in_order():
    metric = Metric(name="x", unit="", aggregation="last")
    values, report = on_grid([(200, 3.0), (0, 1.0), (100, 2.0)], metric)
    assert values[0] == 3.0
    assert report.dropped == {}


def test_a_duplicate_counts_once_and_is_reported():
    values, report = on_grid([(0, 1.0), (0, 1.0), (60, 3.0)])
    assert values[0] == 2.0
    assert report.dropped == {"duplicate": 1}


def test_of_contradicting_duplicates_the_larger_counts():
    values, _ = on_grid([(0, 5.0), (0, 1.0)])
    assert values[0] == 5.0


def test_nonsense_is_dropped_and_reported_by_reason():
    samples = [(0, 1.0), (1, float("nan")), (2, float("inf")), (3, -0.5), (3600, 7.0), (999999, 8.0)]
    values, report = on_grid(samples)
    assert values[0] == 1.0
    assert report.dropped == {"nan": 2, "negative": 1, "future": 2}


def test_gaps_stay_gaps_and_lower_the_coverage():
    values, report = on_grid([(0, 1.0), (900, 1.0)])
    assert np.isnan(values[1:3]).all()
    assert report.coverage().fraction == pytest.approx(2 / 12)


def test_a_series_that_began_late_is_not_missing_before():
    _, report = on_grid([(1800 + 300 * i, 1.0) for i in range(6)])
    assert (report.expected, report.present) == (6, 6)


def test_a_series_that_ended_early_is_missing_after():
    _, report = on_grid([(300 * i, 1.0) for i in range(6)])
    assert (report.expected, report.present) == (12, 6)


def test_a_pod_that_was_replaced_is_not_missing_after_its_last_sample():
    _, report = on_grid([(300 * i, 1.0) for i in range(6)], alive=(0, 6))
    assert report.coverage().fraction == 1.0


def test_what_is_written_when_it_changes_holds_until_the_next_and_is_reported_as_filled():
    values, report = on_grid([(-86400, 4.0), (1500, 8.0)], METRICS["memory_limit_bytes"])
    assert values.tolist() == [4.0] * 5 + [8.0] * 7
    assert (report.expected, report.present, report.filled) == (12, 1, 11)


def test_a_value_is_carried_forward_only_while_the_series_existed():
    values, _ = on_grid([(300, 4.0)], METRICS["cpu_limit_cores"], alive=(1, 3))
    assert np.isnan(values).tolist() == [True, False, False] + [True] * 9


def test_no_sample_at_all_gives_no_value():
    values, report = on_grid([])
    assert np.isnan(values).all()
    assert report == GridReport(expected=0, present=0)
    assert report.coverage().fraction == 0.0


def test_reports_of_pods_add_up():
    merged = merge_reports(
        [GridReport(10, 5, 1, {"nan": 1}, 2), GridReport(10, 10, 0, {"nan": 2, "future": 1})]
    )
    assert (merged.expected, merged.present, merged.fraction, merged.filled) == (20, 15, 0.75, 1)
    assert (merged.dropped, merged.resets) == ({"future": 1, "nan": 3}, 2)


def test_instants_are_aligned_to_the_step_below():
    assert step_aligned(START + timedelta(seconds=299), GRID.step) == START


def test_three_months_of_five_minutes_take_under_two_milliseconds():
    grid = TimeGrid(START, timedelta(minutes=5), 25_000)
    times = ORIGIN + 300_000 * np.arange(25_000, dtype=np.int64)
    values = np.random.default_rng(1).random(25_000)
    fastest = min(_seconds(lambda: to_grid(times, values, grid, CPU)) for _ in range(20))
    assert fastest < 0.002


def _seconds(run):
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


samples = st.lists(
    st.tuples(
        st.integers(-3600, 7200),
        st.one_of(st.floats(-1, 1e12), st.sampled_from([float("nan"), float("inf"), 0.0])),
    ),
    max_size=60,
)
metrics = st.sampled_from(
    [METRICS["cpu_cores"], METRICS["memory_bytes"], METRICS["oom_kills"], METRICS["replicas"]]
)


@given(samples, metrics, st.randoms(use_true_random=False))
def test_the_order_of_samples_changes_nothing(given_samples, metric, random):
    shuffled = list(given_samples)
    random.shuffle(shuffled)
    first, report = on_grid(given_samples, metric)
    second, other = on_grid(shuffled, metric)
    np.testing.assert_array_equal(first, second)
    assert report == other


@given(samples, metrics, st.data())
def test_duplicated_samples_change_no_value(given_samples, metric, data):
    again = data.draw(st.lists(st.sampled_from(given_samples))) if given_samples else []
    np.testing.assert_array_equal(
        on_grid(given_samples, metric)[0], on_grid(given_samples + again, metric)[0]
    )


@given(samples, metrics, samples)
def test_what_comes_at_or_after_the_end_never_matters(given_samples, metric, later):
    future = [(3600 + abs(second), value) for second, value in later]
    first, report = on_grid(given_samples, metric)
    second, other = on_grid(given_samples + future, metric)
    np.testing.assert_array_equal(first, second)
    assert (report.expected, report.present, report.filled) == (other.expected, other.present, other.filled)


@given(samples)
def test_means_and_maxima_lie_within_the_valid_samples(given_samples):
    valid = [value for second, value in given_samples if 0 <= second < 3600 and 0 <= value < float("inf")]
    for metric in (METRICS["cpu_cores"], METRICS["memory_bytes"]):
        values, report = on_grid(given_samples, metric)
        there = values[~np.isnan(values)]
        assert len(there) == report.present <= report.expected
        if len(there):
            assert there.min() >= min(valid) * (1 - 1e-9)
            assert there.max() <= max(valid) * (1 + 1e-9)
    if valid:
        assert np.nanmax(values) == max(valid)


@given(samples, metrics)
def test_every_step_is_present_filled_or_missing(given_samples, metric):
    values, report = on_grid(given_samples, metric)
    assert int((~np.isnan(values)).sum()) == report.present + report.filled
