"""How a plan becomes a schedule of few entries."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt_scaling.settings import entries_allowed, entries_needed, with_fewer_entries

COUNTS = st.lists(st.integers(0, 20), min_size=1, max_size=60)


@given(COUNTS, st.integers(1, 20))
def test_fewer_entries_never_lower_replicas_nor_pass_the_highest(counts, most):
    planned = np.array(counts)
    fewer = with_fewer_entries(planned, most)
    assert entries_needed(fewer) <= most
    assert (fewer >= planned).all()
    assert fewer.max() == planned.max()
    if entries_needed(planned) <= most:
        assert fewer.tolist() == counts


def test_neighbours_that_add_the_least_are_joined_first():
    planned = np.array([2, 2, 3, 3, 3, 9, 9, 2, 2])
    assert with_fewer_entries(planned, 3).tolist() == [3, 3, 3, 3, 3, 9, 9, 2, 2]
    assert with_fewer_entries(planned, 2).tolist() == [3, 3, 3, 3, 3, 9, 9, 9, 9]
    assert with_fewer_entries(np.array([2, 9, 2, 2]), 2).tolist() == [9, 9, 2, 2]


@pytest.mark.parametrize(("days", "entries"), [(0.01, 1), (1, 8), (1.5, 12), (7, 56)])
def test_eight_entries_a_day_are_allowed(days, entries):
    assert entries_allowed(timedelta(days=days)) == entries


def test_entries_are_spans_of_equal_replicas():
    assert entries_needed(np.array([1, 1, 2, 1])) == 3
