import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from perfopt.metrics.counters import counter_increase

NAN = float("nan")


def increase(*values):
    growth, resets = counter_increase(np.array(values, dtype=float))
    return growth.tolist(), resets


def test_growth_is_what_was_added_in_each_step():
    assert increase(5, 5, 7, 10) == ([0, 0, 2, 3], 0)


def test_after_a_reset_the_counter_grew_to_its_new_value():
    assert increase(5, 8, 2, 3) == ([0, 3, 2, 1], 1)


def test_growth_across_a_gap_counts_once_after_it():
    growth, resets = counter_increase(np.array([1, NAN, NAN, 4.0]))
    assert np.isnan(growth[1:3]).all()
    assert (growth[0], growth[3], resets) == (0, 3, 0)


def test_a_counter_without_samples_has_no_growth():
    growth, resets = counter_increase(np.full(3, NAN))
    assert np.isnan(growth).all()
    assert resets == 0


@given(st.lists(st.integers(0, 1000), min_size=1), st.sets(st.integers(0, 50)), st.sets(st.integers(0, 50)))
def test_resets_and_gaps_lose_nothing_but_the_first_value(added, reset_at, missing):
    values, total = [], 0
    for step, amount in enumerate(added):
        total = amount if step in reset_at else total + amount
        values.append(float(total))
    growth, _ = counter_increase(np.array(values))
    assert (growth >= 0).all()
    whole = [v for step, v in enumerate(values) if step == 0 or step not in missing]
    kept = np.array([NAN if step in missing and step else v for step, v in enumerate(values)])
    assert np.nansum(counter_increase(kept)[0]) == counter_increase(np.array(whole))[0].sum()
    if not reset_at:
        assert growth.sum() == values[-1] - values[0]
