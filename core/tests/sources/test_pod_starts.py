"""Which starts of pods count: plausible ones, once each, and none that was not known yet."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.metrics.snapshot import PodStart
from perfopt.sources.pod_starts import known_starts, starts_of_pods
from perfopt.sources.prometheus.answer import InstantSample

T0 = datetime(2026, 7, 1, tzinfo=UTC)


def told(pod, created, ready, uid="u"):
    """Samples of the query `pod_starts`; seconds after T0."""
    labels = {"namespace": "trading", "pod": pod, "uid": uid}
    times = {"created": created, "ready": ready}
    return [
        InstantSample(labels | {"what": what}, T0.timestamp() + at)
        for what, at in times.items()
        if at is not None
    ]


def seconds(samples):
    return [start.seconds for _, start in starts_of_pods(samples, "cluster")]


def start(pod, created, took):
    return PodStart(pod, T0 + timedelta(seconds=created + took), float(took))


def test_a_start_lasts_from_creation_to_the_first_readiness():
    assert seconds(told("api-1", 10, 52)) == [42]


def test_a_pod_that_came_back_under_its_name_is_two_starts():
    assert seconds([*told("db-0", 0, 30, "a"), *told("db-0", 900, 975, "b")]) == [30, 75]


@pytest.mark.parametrize(("created", "ready"), [(None, 30), (30, None), (0, 2 * 86400), (0, 3601), (60, 30)])
def test_what_is_no_start_up_is_left_out(created, ready):
    assert seconds(told("api-1", created, ready)) == []


def test_of_two_accounts_of_one_start_the_earlier_counts():
    by_metrics, by_kubernetes = start("api-1", 0, 40), start("api-1", 1, 900)
    assert known_starts([by_kubernetes, by_metrics], T0 + timedelta(days=1)) == (by_metrics,)


starts = st.builds(start, st.sampled_from("abc"), st.integers(0, 10_000), st.integers(0, 3600))


@given(found=st.lists(starts), at=st.integers(0, 14_000))
def test_nothing_after_the_instant_is_known_and_later_starts_change_nothing(found, at):
    end = T0 + timedelta(seconds=at)
    known = known_starts(found, end)
    assert all(one.ready < end for one in known)
    assert known == known_starts([one for one in found if one.ready < end], end)
    assert list(known) == sorted(known, key=lambda one: one.ready)
