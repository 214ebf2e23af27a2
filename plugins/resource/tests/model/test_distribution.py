import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt_resource.model.calibrate import ConfidenceCalibration
from perfopt_resource.model.distribution import NeedDistribution
from perfopt_resource.model.features import NAMES, ObservedUse, SizeCeiling, UseFeatures, extract
from perfopt_resource.model.forest import CELLS, GRID
from perfopt_resource.model.sizing_model import shipped_model

WEEK = 7 * 86400.0
GIB = 2.0**30
ZERO = int(np.searchsorted(GRID, 0.0))


def extracted(cpu, memory=None, **limits):
    known = None if memory is None else np.array(memory)[None]
    return extract(ObservedUse(np.array(cpu)[None], known, 300, WEEK, **limits))


def distribution(pairs, given=(4.0, 4.0), **changed):
    """Equally likely needs, as cells, of a container whose history needed a core and a GiB."""
    cells = np.zeros((CELLS, CELLS))
    for cpu, memory in pairs:
        cells[cpu, memory] += 1 / len(pairs)
    values = np.full(len(NAMES), np.nan)  # of a history of which nothing but its length is known
    for resource in ("cpu", "memory"):
        values[NAMES.index(f"{resource}_needs_count")] = 14
    seen = UseFeatures(values, {"cpu": 1.0, "memory": GIB}, **changed)
    return NeedDistribution(cells, np.array(given), seen, ConfidenceCalibration())


def test_a_limit_that_was_never_passed_is_the_ceiling():
    found = extracted(
        np.full(2016, 0.5), np.full(2016, GIB), cpu_limit_cores=0.8, memory_limit_bytes=1.2 * GIB
    )
    assert (found.ceilings["cpu"].size, found.ceilings["memory"].size) == (0.8, 1.2 * GIB)


def test_use_above_a_limit_may_rise_a_tenth_more():
    assert extracted(np.full(2016, 0.5), cpu_limit_cores=0.4).ceilings["cpu"].size == pytest.approx(0.55)


def test_an_idle_container_needs_no_more_than_the_floor():
    assert extracted(np.full(2016, 0.001)).ceilings["cpu"].size == 0.010


def test_without_a_limit_there_is_no_ceiling():
    assert extracted(np.full(2016, 0.5)).ceilings == {}


def test_both_resources_are_safe_together_only_where_their_needs_are():
    both = distribution([(ZERO, ZERO), (ZERO + 5, ZERO + 5)])
    either = distribution([(ZERO, ZERO + 5), (ZERO + 5, ZERO)])
    sizes = {"cpu": np.array([1.0]), "memory": np.array([GIB])}
    assert both.probabilities(sizes).item() == pytest.approx(0.5)
    assert either.probabilities(sizes).item() == pytest.approx(0.0)
    assert either.enough("cpu", 1.0) == either.enough("memory", GIB) == pytest.approx(0.5)


def test_no_size_is_below_the_floor_or_above_the_ceiling():
    capped = distribution([(ZERO, ZERO)], ceilings={"cpu": SizeCeiling(1.3, 0.99)})
    sizes = capped.sizes("cpu")
    assert sizes[-1] == pytest.approx(1.3)
    assert (np.diff(sizes) > 0).all()
    assert distribution([(ZERO, ZERO)]).sizes("cpu")[-1] > 20


def test_a_size_at_the_ceiling_is_as_probable_as_the_ceiling_whatever_the_need():
    capped = distribution([(ZERO + 20, ZERO)], ceilings={"cpu": SizeCeiling(1.3, 0.99)})
    assert capped.enough("cpu", 1.3) == pytest.approx(0.99)
    assert capped.enough("cpu", 1.29) == pytest.approx(0.0)


def test_what_is_typically_given_stays_within_bounds_and_is_four_times_the_use_if_unknown():
    typical = [distribution([(0, 0)], (given, np.nan)).typical("cpu") for given in (1.0, 5.0, 99.0)]
    assert typical == [1.5, 5.0, 12.0]
    assert distribution([(0, 0)], (1.0, np.nan)).typical("memory") == 4 * GIB


def test_an_interval_of_higher_level_is_wider():
    needs = distribution([(ZERO + step, ZERO) for step in range(20)])
    narrow, wide = needs.interval("cpu", 0.5), needs.interval("cpu", 0.9)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


@given(st.floats(0.02, 30), st.floats(1.0, 2.0))
def test_a_larger_size_is_never_less_probable(size, factor):
    needs = distribution([(ZERO + step, ZERO) for step in range(0, 40, 3)])
    assert needs.enough("cpu", size) <= needs.enough("cpu", size * factor) + 1e-12


def test_what_lies_unused_is_the_expected_logarithm_of_the_size_over_the_need():
    needs = distribution([(ZERO, ZERO), (ZERO + 5, ZERO)])
    size = float(np.exp(GRID[ZERO + 5]))
    # what is missing is not unused
    assert needs.unused("cpu", np.array([size, 1.0])) == pytest.approx([GRID[ZERO + 5] / 2, 0])
    assert needs.unused("memory", np.array([2 * GIB])) == pytest.approx([np.log(2)])


def test_of_a_history_that_moves_all_sizes_are_worth_considering_alike():
    sizes = np.exp(GRID[ZERO : ZERO + 10])
    assert distribution([(ZERO, ZERO)]).needed("cpu", sizes) == pytest.approx(np.zeros(10))


def test_of_a_flat_history_sizes_that_nobody_needs_are_hardly_considered():
    flat = extracted(np.full(4032, 0.5), np.full(4032, GIB))
    needs = shipped_model().distribution(flat)
    near, far = needs.needed("cpu", np.array([0.5, 0.52, 0.54, 1.5, 1.6]))[[1, 4]]
    assert near > far + 2
