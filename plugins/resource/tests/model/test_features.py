import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfopt_resource.model.features import NAMES, ObservedUse, extract

WEEK = 7 * 86400.0


def history(cpu, memory=None, validity=WEEK, **limits):
    return ObservedUse(cpu, memory, 300, validity, **limits)


def test_ten_times_the_demand_changes_no_feature():
    rng = np.random.default_rng(0)
    cpu, memory = rng.uniform(0.1, 1, (1, 4032)), rng.uniform(1e9, 2e9, (1, 4032))
    small = extract(history(cpu, memory, cpu_limit_cores=2.0, memory_limit_bytes=4e9))
    large = extract(history(cpu * 10, memory * 10, cpu_limit_cores=20.0, memory_limit_bytes=4e10))
    np.testing.assert_allclose(small.values, large.values, atol=1e-5)
    assert large.references["cpu"] == pytest.approx(10 * small.references["cpu"])


def test_reference_is_what_the_history_itself_needed():
    cpu = np.full((1, 4032), 0.2)
    cpu[0, 10:50] = 0.9  # 40 of 4,032 samples: just within the 1 % that may be above
    memory = np.full((1, 4032), 1e9)
    memory[0, 7] = 3e9
    references = extract(history(cpu, memory)).references
    assert references == {"cpu": 0.2, "memory": 3e9}


def test_no_feature_knows_a_limit():
    cpu, memory = np.full((1, 4032), 0.5), np.full((1, 4032), 1e9)
    bare, limited = extract(history(cpu, memory)), extract(history(cpu, memory, cpu_limit_cores=0.6))
    np.testing.assert_array_equal(bare.values, limited.values)
    assert bare.references == limited.references


def test_only_the_latest_four_validities_are_read():
    rng = np.random.default_rng(0)
    cpu = rng.uniform(0.1, 1, (1, 9000))
    other = cpu.copy()
    other[0, : 9000 - 8064] = 50.0
    np.testing.assert_array_equal(extract(history(cpu)).values, extract(history(other)).values)


def feature(values, name):
    return extract(history(values)).values[NAMES.index(f"cpu_{name}")]


def daily(levels):
    """A history in which each day keeps one level."""
    return np.repeat(np.array(levels, dtype=float), 288)[None]


def test_records_are_days_that_beat_the_week_before_them():
    levels = [1.0] * 7 + [2.0, 1.0, 3.0, 1.0, 1.0, 1.0, 1.0]
    assert feature(daily(levels), "peaks_records") == pytest.approx(2 / 7)
    assert feature(daily(levels), "peaks_record_size") == pytest.approx(np.log(3) / 2, abs=1e-5)
    assert feature(daily(levels), "peaks_age") == 0
    assert feature(daily(levels[::-1]), "peaks_age") == 1
    assert feature(daily([2.0] * 14), "peaks_records") == 0


def test_a_load_that_repeats_weekly_correlates_with_itself():
    week = [1.0, 2.0, 3.0, 2.0, 1.0, 0.5, 0.4]
    assert feature(daily(week * 2), "needs_weekly") == pytest.approx(1.0, abs=1e-5)
    assert feature(daily([1.0] * 14), "needs_weekly") == 0


def test_a_change_is_what_a_week_needed_more_on_average():
    assert feature(daily([1.0] * 7 + [2.0] * 7), "needs_change") == pytest.approx(np.log(2), abs=1e-5)
    spike = daily([1.0] * 6 + [4.0] + [1.0] * 7)
    assert feature(spike, "needs_change") == pytest.approx(-np.log(4) / 7, abs=1e-5)


def test_a_load_that_repeats_weekly_has_the_same_features_on_each_weekday():
    noise = np.random.default_rng(0).uniform(1, 1.1, 2016)
    week = np.repeat([1.0, 1.1, 1.2, 1.1, 1.0, 0.5, 0.4], 288) * noise
    seen = [extract(history(np.tile(week, 3)[None, day * 288 :][:, :4032])).values for day in range(7)]
    np.testing.assert_allclose(seen, [seen[0]] * 7, atol=0.01)


def test_rises_are_what_a_week_needed_more_than_the_week_before():
    assert feature(daily([1.0] * 7 + [2.0] * 7), "needs_rise_max") == pytest.approx(np.log(2), abs=1e-5)


def test_a_resource_that_was_not_measured_has_no_reference_and_no_features():
    features = extract(history(np.full((1, 600), 0.5)))
    assert set(features.references) == {"cpu"}
    assert all(np.isnan(v) for n, v in zip(NAMES, features.values, strict=True) if n.startswith("memory_"))


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.one_of(st.just(float("nan")), st.floats(0, 64)), min_size=1, max_size=400),
    st.sampled_from([1800.0, 6 * 3600.0, WEEK]),
)
def test_any_history_with_a_sample_gives_finite_references(values, validity):
    cpu = np.array([values])
    features = extract(history(cpu, validity=validity))
    assert features.values.shape == (len(NAMES),)
    assert not np.isinf(features.values).any()
    assert ("cpu" in features.references) == bool(np.isfinite(cpu).any())
    assert all(value >= 0.01 for value in features.references.values())
