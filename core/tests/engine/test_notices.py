"""What a user is told of the samples that an analysis read."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from perfopt.domain.recommendation import Coverage
from perfopt.engine.notices import snapshot_warnings
from perfopt.testing import make_snapshot

HOUR = 12  # steps


def ends_before(steps):
    cpu = np.full(3 * 288, 0.2)
    cpu[cpu.size - steps :] = np.nan
    return make_snapshot({"main": {"cpu_cores": cpu, "memory_bytes": 2e8 * cpu}})


@pytest.mark.parametrize(("steps", "told"), [(0, False), (HOUR, False), (HOUR + 1, True), (8 * HOUR, True)])
def test_samples_that_end_an_hour_before_the_period_are_told(steps, told):
    snapshot = ends_before(steps)
    found = [one for one in snapshot_warnings(snapshot) if one.code == "samples_end_early"]
    assert bool(found) == told
    if told:
        since = snapshot.grid.end - steps * timedelta(minutes=5)
        assert f"{since:%Y-%m-%dT%H:%M}" in found[0].message


def test_what_did_not_run_has_no_samples_and_is_not_told():
    snapshot = ends_before(8 * HOUR)
    running = np.ones(snapshot.grid.size, bool)
    running[-8 * HOUR :] = False
    asleep = replace(snapshot, running=running)
    scaled = replace(snapshot, service={"replicas": running.astype(float)})
    for one in (asleep, scaled):
        assert "samples_end_early" not in {warning.code for warning in snapshot_warnings(one)}


@pytest.mark.parametrize(
    ("dropped", "ending"),
    [
        ({}, "main/cpu_cores 2%."),
        ({"implausible": 49}, "2%."),
        ({"implausible": 50}, "2% (50 implausible samples dropped)."),
    ],
)
def test_few_samples_are_told_with_why_most_of_them_were_dropped(dropped, ending):
    coverage = Coverage(expected=100, present=2, fraction=0.02, dropped=dropped)
    snapshot = replace(ends_before(0), coverage={"main/cpu_cores": coverage})
    (warning,) = [one for one in snapshot_warnings(snapshot) if one.code == "low_coverage"]
    assert warning.message.endswith(ending)
