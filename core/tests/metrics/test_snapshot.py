"""What a history covers is counted over the time in which the workload ran."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from perfopt.errors import InvalidInputError
from perfopt.metrics.snapshot import TimeGrid
from perfopt.testing import make_snapshot


def snapshot(running=None):
    one = make_snapshot({"main": {"cpu_cores": np.ones(8)}})
    return replace(one, running=None if running is None else np.array(running, dtype=bool))


@pytest.mark.parametrize(("seconds", "fits"), [(1_000_000, True), (1_000_001, False)])
def test_a_grid_has_at_most_a_million_steps(seconds, fits):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    if fits:
        grid = TimeGrid.covering(start, start + timedelta(seconds=seconds), timedelta(seconds=1))
        assert grid.size == seconds
        return
    with pytest.raises(InvalidInputError, match="at most 1,000,000 are analysed") as caught:
        TimeGrid.covering(start, start + timedelta(seconds=seconds), timedelta(seconds=1))
    assert "step_seconds" in caught.value.remedy


def test_without_knowing_when_it_ran_every_step_counts():
    assert snapshot().covered(np.array([True, False, True, False]), 4) == 0.5


@pytest.mark.parametrize(("present", "share"), [([1, 1, 0, 0], 1.0), ([1, 0, 1, 0], 2 / 3)])
def test_steps_in_which_it_did_not_run_are_not_missing(present, share):
    ran = snapshot([0, 0, 0, 0, 1, 1, 0, 0])
    assert ran.covered(np.array(present, dtype=bool), 4) == pytest.approx(share)


@pytest.mark.parametrize(
    ("present", "share"),
    [
        ([1, 0, 0, 0, 1, 1], 1.0),
        ([0, 0, 0, 0, 1, 0], 1 / 3),  # the end of the history ends no run
        ([1, 1, 0, 0, 1, 1], 1.0),
        ([1, 1, 0, 0, 0, 1], 1.0),
        ([0] * 6, 0.0),
    ],
)
def test_the_first_and_the_last_step_of_a_run_may_have_no_rate(present, share):
    ran = snapshot([0, 0, 1, 1, 0, 0, 1, 1])
    assert ran.covered(np.array(present, dtype=bool), 2) == pytest.approx(share)


def test_runs_of_one_step_are_expected_to_have_a_sample():
    assert snapshot([1, 0, 1, 0, 1, 0, 1, 0]).covered(np.zeros(8, dtype=bool), 0) == 0.0


def test_what_never_ran_covers_nothing():
    assert snapshot([0] * 8).covered(np.zeros(4, dtype=bool), 4) == 0.0


def test_a_part_of_a_history_knows_when_it_ran():
    part = snapshot([0, 1, 1, 0, 0, 0, 0, 0]).slice(1, 4)
    assert part.running.tolist() == [True, True, False]


def test_replicas_recorded_as_zero_are_time_in_which_it_did_not_run():
    used = np.array([1.0, np.nan, np.nan, 1.0])
    snapshot = make_snapshot({"main": {"cpu_cores": used}}, service={"replicas": [2.0, 0.0, np.nan, 1.0]})
    assert snapshot.stopped().tolist() == [False, True, False, False]
    assert snapshot.covered(np.isfinite(used), 0) == pytest.approx(2 / 3)
    assert snapshot.slice(1, 3).stopped().tolist() == [True, False]
    assert make_snapshot({"main": {"cpu_cores": used}}).stopped().tolist() == [False] * 4
