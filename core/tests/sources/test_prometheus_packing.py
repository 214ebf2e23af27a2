"""Rows hold pods that came one after another; at each step there is what there was before."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from perfopt.metrics.snapshot import PodSeries
from perfopt.sources.prometheus.packing import PodRows

SIZE = 24
lives = st.lists(
    st.tuples(st.integers(0, SIZE - 1), st.integers(1, SIZE)).map(lambda a: (a[0], min(a[0] + a[1], SIZE))),
    min_size=1,
    max_size=12,
)


def series_of(spans):
    names = tuple(f"pod-{number:02d}" for number in range(len(spans)))
    values = np.full((len(spans), SIZE), np.nan)
    for number, (first, last) in enumerate(spans):
        values[number, first:last] = number + 1 + np.arange(first, last) / SIZE
    lifetimes = {("main", name): span for name, span in zip(names, spans, strict=True)}
    return PodSeries(names, values), lifetimes


def packed(before, lifetimes):
    after = PodRows(lifetimes).series(before.pods, SIZE)
    for pod, values in zip(before.pods, before.values, strict=True):
        after.add(pod, values)
    return after.done()


@given(lives)
def test_each_step_holds_the_same_values_in_the_fewest_rows(spans):
    before, lifetimes = series_of(spans)
    after = packed(before, lifetimes)
    for step in range(SIZE):
        expected = before.values[:, step][np.isfinite(before.values[:, step])]
        found = after.values[:, step][np.isfinite(after.values[:, step])]
        assert sorted(found) == sorted(expected)
    together = max(int(np.isfinite(before.values[:, step]).sum()) for step in range(SIZE))
    assert len(after.pods) == together
    assert list(after.pods) == sorted(set(after.pods))


def test_a_row_is_named_for_its_first_pod():
    before, lifetimes = series_of([(0, 10), (10, 24)])
    assert packed(before, lifetimes).pods == ("pod-00",)


def test_pods_that_lived_at_the_same_time_keep_their_rows():
    before, lifetimes = series_of([(0, 11), (10, 24)])
    after = packed(before, lifetimes)
    assert after.pods == before.pods
    np.testing.assert_array_equal(after.values, before.values)


def test_a_metric_that_some_pods_have_has_rows_for_these_only():
    before, lifetimes = series_of([(0, 10), (0, 24), (10, 24)])
    some = PodSeries(before.pods[1:], before.values[1:])
    assert packed(some, lifetimes).pods == ("pod-01", "pod-02")
