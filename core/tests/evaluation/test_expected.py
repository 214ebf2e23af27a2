"""The saving of a proposal that moves replicas is what its simulated autoscaler realises."""

from dataclasses import replace
from datetime import timedelta

import msgspec
import numpy as np
import pytest

from perfopt.domain.enums import OptimizationType
from perfopt.domain.workload import Container, HpaState, WorkloadState
from perfopt.evaluation.expected import stand_in, with_simulated_saving
from perfopt.plugin.strategy import Claim, Proposal
from perfopt.testing import make_snapshot

DAY, WEEK = timedelta(days=1), timedelta(days=7)
STEPS = 288
STATE = WorkloadState(
    containers=(Container(name="main", cpu_request_cores=1.0, memory_request_bytes=2**30),),
    replicas=10,
    hpa=HpaState(min_replicas=10, max_replicas=20, target_cpu_utilization_percent=50),
)


def service(days=14, busy=0.4, quiet=0.1):
    """Ten replicas, busy from Monday to Friday and quiet at weekends; the history ends on a Monday."""
    weekday = np.arange(days * STEPS) // STEPS % 7 < 5
    return make_snapshot({"main": {"cpu_cores": np.where(weekday, busy, quiet)}}, state=STATE)


def proposal(claimed=None, **hpa):
    target = msgspec.structs.replace(STATE, hpa=msgspec.structs.replace(STATE.hpa, **hpa))
    claim = Claim(saving_percent=claimed)
    return Proposal(
        optimization_type=OptimizationType.SCALING_OPTIMIZATION, target=target, description="", claim=claim
    )


def claim_of(made, snapshot=None, validity=WEEK):
    return with_simulated_saving(made, snapshot or service(), validity).claim


def test_the_saving_is_of_the_replicas_that_would_have_run():
    # 8 of 10 replicas on weekdays and 2 at weekends, all but the steps of scaling
    assert claim_of(proposal(min_replicas=1)).simulated_saving_percent == pytest.approx(
        100 * (1 - (5 * 8 + 2 * 2) / 70), abs=1
    )


def test_nothing_is_saved_where_another_trigger_may_hold_the_replicas():
    snapshot = service()
    hidden = msgspec.structs.replace(snapshot.workload, unknown_autoscalers=("keda-hpa-lag",))
    held = replace(snapshot, workload=hidden)
    assert claim_of(proposal(20.0, min_replicas=1), snapshot).saving_percent is not None
    claim = claim_of(proposal(20.0, min_replicas=1), held)
    assert (claim.saving_percent, claim.simulated_saving_percent) == (None, 0.0)


def test_more_replicas_cost_more():
    assert claim_of(proposal(min_replicas=15)).simulated_saving_percent == pytest.approx(-50, abs=0.1)


@pytest.mark.parametrize(("claimed", "expected"), [(60.0, 37.0), (20.0, 20.0), (None, None)])
def test_no_more_is_claimed_than_is_simulated(claimed, expected):
    found = claim_of(proposal(claimed, min_replicas=1)).saving_percent
    assert found == (expected if expected is None else pytest.approx(expected, abs=1))


def test_under_five_percent_is_not_claimed():
    found = claim_of(proposal(30.0, min_replicas=10))
    assert (found.saving_percent, found.simulated_saving_percent) == (30.0, None)  # nothing moves
    found = claim_of(proposal(30.0, min_replicas=9, target_cpu_utilization_percent=42))
    assert found.saving_percent is None
    assert 0 < found.simulated_saving_percent < 5


def test_weekdays_stand_for_the_same_weekdays():
    window = stand_in(service(days=17), 2 * DAY)
    original = service(days=17)
    assert window.grid.start == original.grid.end
    assert window.grid.size == 2 * STEPS
    shifted = original.series("main", "cpu_cores").values[0, -7 * STEPS : -5 * STEPS]
    assert (window.series("main", "cpu_cores").values[0] == shifted).all()


def test_days_stand_for_days_where_there_is_no_week():
    window = stand_in(service(days=3), WEEK)
    assert window.grid.size == 3 * STEPS
    assert stand_in(service(days=1).slice(0, STEPS - 1), WEEK) is None
