"""How long a replica takes to be ready: stated, else learnt from the starts of its pods, else assumed."""

from dataclasses import replace
from datetime import datetime, timedelta

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.plugin import PodStart, ServiceClass
from perfopt.testing import make_snapshot
from perfopt_scaling.startup import ASSUMED_SECONDS, FEW, startup

SECONDS = st.floats(0, 3600, allow_nan=False)


def started(snapshot, *seconds, ready=None):
    """The snapshot, with a start of a pod for each of the seconds: an hour ago, or at `ready`."""
    last = ready or snapshot.grid.end - timedelta(hours=1)
    return replace(snapshot, starts=tuple(PodStart(f"p-{n}", last, each) for n, each in enumerate(seconds)))


def with_workload(snapshot, **fields):
    return replace(snapshot, workload=msgspec.structs.replace(snapshot.workload, **fields))


def said(proposal):
    (reason,) = [reason for reason in proposal.reasons if reason.code == "startup"]
    return reason


def test_of_few_starts_the_longest_counts_and_the_recommendation_says_how_many(bench):
    reason = said(bench.ask(started(bench.snapshot(), 40, 75.4, 52)))
    assert "after 76 s, which the longest of 3 starts of its pods took" in reason.text
    assert reason.data == {"startup_seconds": 76, "basis": "learnt", "starts": 3}


def test_the_annotation_goes_before_what_was_learnt(bench):
    stated = with_workload(bench.snapshot(), annotations={"perfopt.io/startup-seconds": "300"})
    reason = said(bench.ask(started(stated, 40, 50)))
    assert "after 300 s, as the annotation perfopt.io/startup-seconds states" in reason.text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1", 1), ("3600", 3600), ("0", None), ("3601", None), ("-5", None), ("1.5", None), ("\u0663", None)],
)
def test_an_annotation_counts_that_is_a_number_of_one_second_to_an_hour(bench, text, seconds):
    startup_time = startup(with_workload(bench.snapshot(), annotations={"perfopt.io/startup-seconds": text}))
    assert (startup_time.seconds, startup_time.basis) == (
        (ASSUMED_SECONDS, "assumed") if seconds is None else (seconds, "stated")
    )


def test_without_any_start_two_minutes_are_taken_and_said_to_be(bench):
    reason = said(bench.ask())
    assert f"taken to be ready after {ASSUMED_SECONDS} s: no start of its pods was seen" in reason.text
    assert reason.data["basis"] == "assumed"


def test_minima_rise_as_early_as_pods_took(bench):
    learnt = bench.ask(started(bench.snapshot(), 600, 590))
    begins = [datetime.fromisoformat(span["start"]) for span in learnt.target.extra["schedule"]]
    assert any((begin + timedelta(seconds=600)).minute % 30 == 0 and begin.minute % 30 for begin in begins)


@pytest.mark.parametrize(
    ("service_class", "seconds"),
    [(ServiceClass.CRITICAL, 100), (ServiceClass.STANDARD, 95), (ServiceClass.BATCH, 90)],
)
def test_of_many_starts_a_quantile_by_class_counts(bench, service_class, seconds):
    many = started(bench.snapshot(), *range(1, 101))
    learnt = startup(with_workload(many, service_class=service_class))
    assert learnt.seconds == pytest.approx(seconds, abs=1)
    assert "of 100 starts of its pods took at most" in learnt.reason().text


def test_a_replay_does_not_know_of_starts_after_its_instant(bench):
    snapshot = bench.snapshot()
    late = started(snapshot, 900, ready=snapshot.grid.end - timedelta(days=1))
    half = late.slice(0, late.grid.size // 2)
    assert startup(late).seconds == 900
    assert startup(half).basis == "assumed"


@given(seconds=st.lists(SECONDS, min_size=1, max_size=3 * FEW), more=SECONDS)
def test_learnt_is_within_what_was_seen_and_a_longer_start_never_shortens_it(seconds, more):
    learnt = startup(started(make_snapshot(), *seconds))
    assert max(min(seconds), 1) <= learnt.seconds <= max(np.ceil(max(seconds)), 1)
    if len(seconds) + 1 != FEW:
        longer = startup(started(make_snapshot(), *seconds, max(*seconds, more, 0)))
        assert longer.seconds >= learnt.seconds
