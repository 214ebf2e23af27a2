from datetime import timedelta

import numpy as np
import pytest

from perfopt.plugin import DeclineCode, Declined, WorkloadState
from perfopt.testing import make_snapshot


def test_less_than_three_sevenths_of_the_validity_is_too_short(bench):
    short = bench.snapshot({"cpu_cores": bench.cpu(2.9), "memory_bytes": bench.memory(2.9)})
    declined = bench.ask(short)
    assert isinstance(declined, Declined)
    assert declined.code is DeclineCode.SHORT_HISTORY
    assert "69.6 h" in declined.reason
    assert "72.0 h" in declined.reason


def test_exactly_three_sevenths_are_enough(bench):
    enough = bench.snapshot({"cpu_cores": bench.cpu(3), "memory_bytes": bench.memory(3)})
    assert not isinstance(bench.ask(enough), Declined)


def test_a_service_that_started_late_has_the_history_since_then(bench):
    cpu = bench.cpu()
    cpu[: 12 * 288] = np.nan
    assert bench.ask(bench.snapshot({"cpu_cores": cpu})).code is DeclineCode.SHORT_HISTORY


def test_a_shorter_validity_needs_less_history(bench):
    short = bench.snapshot({"cpu_cores": bench.cpu(1)})
    assert not isinstance(bench.ask(short, validity=timedelta(days=1)), Declined)


def test_more_than_two_fifths_missing_is_too_little(bench):
    cpu = bench.cpu()
    cpu[np.arange(cpu.size) % 2 == 1] = np.nan
    declined = bench.ask(bench.snapshot({"cpu_cores": cpu}))
    assert declined.code is DeclineCode.LOW_COVERAGE
    assert "50%" in declined.reason


def test_neither_cpu_nor_memory_is_no_data(bench):
    assert bench.ask(bench.snapshot({"restarts": np.zeros(4032)})).code is DeclineCode.NO_DATA


def test_a_workload_without_containers_is_no_data(bench):
    empty = make_snapshot({}, state=WorkloadState(containers=()))
    assert bench.ask(empty).code is DeclineCode.NO_DATA


@pytest.mark.parametrize("mode", ["Auto", "Recreate", "Initial", "InPlaceOrRecreate"])
def test_requests_that_a_vpa_owns_are_left_to_it(bench, mode):
    declined = bench.ask(vpa_mode=mode)
    assert declined.code is DeclineCode.OWNED_BY_CONTROLLER
    assert mode in declined.reason


def test_a_vpa_that_is_off_owns_nothing(bench):
    assert not isinstance(bench.ask(vpa_mode="Off"), Declined)


def test_thin_memory_beside_good_cpu_leaves_memory_as_it_is(bench):
    memory = bench.memory()
    memory[np.arange(memory.size) % 4 != 0] = np.nan
    proposal = bench.ask(bench.snapshot(bench.history(memory_bytes=memory)))
    sized = proposal.target.containers[0]
    assert sized.memory_request_bytes == bench.container.memory_request_bytes
    assert sized.cpu_request_cores < bench.container.cpu_request_cores
    assert any(reason.code == "not_sized" and "memory_bytes" in reason.text for reason in proposal.reasons)
