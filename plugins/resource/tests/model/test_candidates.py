import numpy as np
import pytest

from perfopt_resource.model.candidates import candidates, probability
from perfopt_resource.model.features import ObservedUse, SizeCeiling, extract

WEEK = 7 * 86400.0
GIB = 2.0**30


def extracted(cpu, memory=None, **limits):
    known = None if memory is None else np.array(memory)[None]
    return extract(ObservedUse(np.array(cpu)[None], known, 300, WEEK, **limits))


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


def test_no_size_is_below_the_floor_or_above_the_ceiling(model):
    found = extracted(np.full(2016, 0.02))
    curve = model.distribution(found).curves["cpu"]
    offered = candidates("cpu", curve, 0.02, model.grid, SizeCeiling(0.03, 0.99))
    assert offered.sizes[0] >= 0.01
    assert offered.sizes[-1] == pytest.approx(0.03)
    assert offered.probabilities[-1] >= 0.99
    assert (np.diff(offered.slacks) >= 0).all()


def test_what_is_given_at_the_ceiling_is_as_sure_as_the_ceiling(model):
    curve = model.distribution(extracted(np.full(2016, 0.02))).curves["cpu"]
    assert probability("cpu", curve, 0.02, 0.03, SizeCeiling(0.03, 0.99)) >= 0.99
    assert probability("cpu", curve, 0.02, 0.021, SizeCeiling(0.03, 0.99)) < 0.99
