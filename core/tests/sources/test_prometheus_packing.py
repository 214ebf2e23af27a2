"""Rows hold pods that came one after another; at each step there is what there was before."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from perfopt.metrics.snapshot import PodSeries
from perfopt.sources.prometheus.packing import in_rows

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


@given(lives)
def test_each_step_holds_the_same_values_in_the_fewest_rows(spans):
    before, lifetimes = series_of(spans)
    after = in_rows({("main", "cpu_cores"): before}, lifetimes)["main", "cpu_cores"]
    for step in range(SIZE):
        expected = before.values[:, step][np.isfinite(before.values[:, step])]
        found = after.values[:, step][np.isfinite(after.values[:, step])]
        assert sorted(found) == sorted(expected)
    together = max(int(np.isfinite(before.values[:, step]).sum()) for step in range(SIZE))
    assert len(after.pods) == together
    assert list(after.pods) == sorted(set(after.pods))


def test_a_row_is_named_for_its_first_pod_in_all_metrics():
    before, lifetimes = series_of([(0, 10), (10, 24)])
    metrics = {("main", "cpu_cores"): before, ("main", "memory_bytes"): before}
    assert {one.pods for one in in_rows(metrics, lifetimes).values()} == {("pod-00",)}


def test_pods_that_lived_at_the_same_time_keep_their_rows():
    before, lifetimes = series_of([(0, 11), (10, 24)])
    assert in_rows({("main", "cpu_cores"): before}, lifetimes)["main", "cpu_cores"] is before
