import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfopt_resource.model.features import NAMES, ObservedUse, extract

WEEK = 7 * 86400.0


def history(cpu, memory=None, validity=WEEK, **limits):
    return ObservedUse(cpu, memory, 300, validity, **limits)


def test_ten_times_the_demand_changes_only_the_level():
    rng = np.random.default_rng(0)
    cpu, memory = rng.uniform(0.1, 1, (1, 4032)), rng.uniform(1e9, 2e9, (1, 4032))
    small = extract(history(cpu, memory, cpu_limit_cores=2.0, memory_limit_bytes=4e9))
    large = extract(history(cpu * 10, memory * 10, cpu_limit_cores=20.0, memory_limit_bytes=4e10))
    changed = {n for n, a, b in zip(NAMES, small.values, large.values, strict=True) if not np.isclose(a, b)}
    assert changed == {"cpu_level", "memory_level"}
    assert large.references["cpu"] == pytest.approx(10 * small.references["cpu"])


def test_reference_is_what_the_history_itself_needed():
    cpu = np.full((1, 4032), 0.2)
    cpu[0, 10:50] = 0.9  # 40 of 4,032 samples: just within the 1 % that may be above
    memory = np.full((1, 4032), 1e9)
    memory[0, 7] = 3e9
    references = extract(history(cpu, memory)).references
    assert references == {"cpu": 0.2, "memory": 3e9}


def test_only_the_latest_two_validities_are_read():
    rng = np.random.default_rng(0)
    cpu = rng.uniform(0.1, 1, (1, 5000))
    other = cpu.copy()
    other[0, : 5000 - 4032] = 50.0
    np.testing.assert_array_equal(extract(history(cpu)).values, extract(history(other)).values)


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
