"""What recommendations cost over a window: worked out by hand at a core-hour of 1 and a GiB-hour of 0.1."""

from datetime import timedelta

import msgspec
import numpy as np
import pytest

from perfopt.domain.enums import OptimizationType
from perfopt.domain.price import NodeType, PriceBook
from perfopt.domain.workload import Container, InitRequest, WorkloadState
from perfopt.evaluation.savings import RequestedAmount, requested_amounts, smallest_state
from perfopt.evaluation.scaling import smallest_replicas, total_demand
from perfopt.testing import make_snapshot

GIB = 2**30
SIZES, REPLICAS = OptimizationType.RESOURCE_OPTIMIZATION, OptimizationType.SCALING_OPTIMIZATION
COST, LATENCY = OptimizationType.COST_OPTIMIZATION, OptimizationType.LATENCY_OPTIMIZATION
BOOK = PriceBook(name="round", currency="USD", cpu_core_hour=1.0, memory_gib_hour=0.1)
HOURS = 730


def state(cpu=2.0, memory=4 * GIB, replicas=4, **fields):
    container = Container(name="main", cpu_request_cores=cpu, memory_request_bytes=memory)
    return WorkloadState(containers=(container,), replicas=replicas, **fields)


def window(cpu, memory=None, *, current=None, **service):
    metrics = {"cpu_cores": np.asarray(cpu, float)}
    if memory is not None:
        metrics["memory_bytes"] = np.asarray(memory, float) * GIB
    current = state() if current is None else current
    return make_snapshot({"main": metrics}, state=current, service=service, step=timedelta(hours=1))


def test_what_is_saved_and_what_could_be():
    amount = RequestedAmount(10.0, 7.0, 4.0)
    assert (amount.saved, amount.possible) == (3.0, 6.0)


def test_sizes_are_compared_with_the_smallest_safe_ones_at_the_replicas_that_ran():
    used = window([0.5, 1.0, 0.5, 0.5], [1.0, 2.0, 1.0, 1.0], replicas=[4.0, 4.0, 2.0, 2.0])
    amounts = requested_amounts(state(1.5, 3 * GIB), used, BOOK, SIZES, np.array([4.0, 4.0, 2.0, 2.0]))
    assert amounts.cost.current == pytest.approx(3 * (2 + 0.4) * HOURS)
    assert amounts.cost.recommended == pytest.approx(3 * (1.5 + 0.3) * HOURS)
    assert amounts.cost.minimum == pytest.approx(3 * (1.0 + 0.2) * HOURS)
    assert amounts.memory == RequestedAmount(3 * 4 * GIB, 3 * 3 * GIB, 3 * 2 * GIB)


@pytest.mark.parametrize("kind", [LATENCY, OptimizationType.PERFORMANCE_TUNING])
def test_latency_and_tuning_set_sizes_too(kind):
    used = window([1.0] * 4, [1.0] * 4)
    amounts = requested_amounts(state(), used, BOOK, kind, None)
    assert amounts.cost.minimum == pytest.approx(4 * 1.1 * HOURS)


def test_replicas_are_compared_with_the_fewest_that_carry_the_demand_at_the_current_size():
    used = window([1.0, 1.0, 0.25, 0.0])  # of each of four: 4, 4, 1 and no cores, for requests of two
    amounts = requested_amounts(state(replicas=3), used, BOOK, REPLICAS, np.array([3.0, 3.0, 3.0, 3.0]))
    assert amounts.cost.current == pytest.approx(4 * 2.4 * HOURS)
    assert amounts.cost.recommended == pytest.approx(3 * 2.4 * HOURS)
    assert amounts.cost.minimum == pytest.approx((2 + 2 + 1 + 1) / 4 * 2.4 * HOURS)
    assert amounts.memory.minimum == pytest.approx(1.5 * 4 * GIB)


@pytest.mark.parametrize("kind", [COST, None])
def test_of_cost_and_a_plan_the_cheaper_of_both_is_the_minimum(kind):
    flat = window([1.9] * 4, [0.5] * 4)  # as many replicas are needed, and memory is idle
    assert requested_amounts(state(), flat, BOOK, kind, None).cost.minimum == pytest.approx(4 * 1.95 * HOURS)
    full = window([1.0] * 4, [3.9] * 4)  # two replicas of four are enough, and memory is not idle
    assert requested_amounts(state(), full, BOOK, kind, None).cost.minimum == pytest.approx(2 * 2.4 * HOURS)


def test_replicas_that_are_not_known_count_as_the_state_says_or_one():
    used = window([1.0] * 4, [1.0] * 4, current=state(replicas=None))
    amounts = requested_amounts(state(replicas=2), used, BOOK, SIZES, None)
    assert amounts.cost.current == pytest.approx(2.4 * HOURS)
    assert amounts.cost.recommended == pytest.approx(2 * 2.4 * HOURS)
    assert requested_amounts(state(replicas=2), used, BOOK, REPLICAS, None) is None


def test_without_requests_no_saving_is_known():
    used = window([1.0] * 4, [1.0] * 4)
    assert requested_amounts(state(cpu=None), used, BOOK, SIZES, None) is None
    unset = window([1.0] * 4, [1.0] * 4, current=state(memory=None))
    assert requested_amounts(state(), unset, BOOK, SIZES, None) is None


def test_what_is_not_measured_well_enough_stays_as_recommended():
    half = smallest_state(state(), window([1.0, np.nan, 1.0, np.nan], [1.0] * 4)).containers[0]
    assert (half.cpu_request_cores, half.memory_request_bytes) == (1.0, GIB)
    thin = smallest_state(state(), window([1.0, np.nan, np.nan, np.nan], [1.0] * 4)).containers[0]
    assert (thin.cpu_request_cores, thin.memory_request_bytes) == (2.0, GIB)
    cpu_only = smallest_state(state(), window([1.0] * 4)).containers[0]
    assert (cpu_only.cpu_request_cores, cpu_only.memory_request_bytes) == (1.0, 4 * GIB)


def test_a_node_type_counts_in_the_cost_and_the_minimum_is_on_the_cheaper_of_both():
    types = (
        NodeType(name="small", cores=4.0, memory_bytes=16 * GIB, price_hour=1.0),
        NodeType(name="dear", cores=4.0, memory_bytes=16 * GIB, price_hour=3.0),
    )
    book = msgspec.structs.replace(BOOK, node_types=types)
    used = window([1.0] * 4, [1.0] * 4, current=state(extra={"node_type": "dear"}))
    amounts = requested_amounts(state(extra={"node_type": "small"}), used, book, COST, None)
    assert amounts.cost.current == pytest.approx(3 * 4 * 2.4 * HOURS)
    assert amounts.cost.recommended == pytest.approx(4 * 2.4 * HOURS)
    assert amounts.cost.minimum == pytest.approx(4 * 1.1 * HOURS)


@pytest.mark.parametrize("kind", [COST, SIZES])
def test_a_dearer_node_type_does_not_raise_the_minimum(kind):
    types = (
        NodeType(name="small", cores=4.0, memory_bytes=16 * GIB, price_hour=1.0),
        NodeType(name="dear", cores=4.0, memory_bytes=16 * GIB, price_hour=3.0),
    )
    book = msgspec.structs.replace(BOOK, node_types=types)
    used = window([1.0] * 4, [1.0] * 4, current=state(extra={"node_type": "small"}))
    amounts = requested_amounts(state(extra={"node_type": "dear"}), used, book, kind, None)
    assert amounts.cost.recommended == pytest.approx(3 * 4 * 2.4 * HOURS)
    assert amounts.cost.minimum == pytest.approx(4 * 1.1 * HOURS)


def test_the_fewest_replicas_need_a_request_and_a_demand():
    used = window([0.5, 0.5000001, np.nan, 0.0])
    assert smallest_replicas(state(), used).tolist() == [1, 2, 1, 1]  # two cores are one replica, no more
    assert smallest_replicas(state(cpu=None), used) is None
    assert smallest_replicas(state(cpu=0.0), used) is None
    assert smallest_replicas(state(), make_snapshot({"main": {"memory_bytes": [1.0]}}, state=state())) is None


def test_demand_is_of_all_containers_and_pods():
    two = make_snapshot(
        {
            "a": {"cpu_cores": [[1.0, np.nan], [2.0, 3.0]]},
            "b": {"cpu_cores": [0.5, 0.5], "memory_bytes": [1, 1]},
        },
        state=state(),
    )
    pods = {name: dict(metrics) for name, metrics in two.containers.items()}
    assert set(pods) == {"a", "b"}
    assert total_demand(two, np.array([2.0, 4.0])).tolist() == [3 + 0.5 * 2, 3 + 0.5 * 4]


def test_a_job_is_weighted_by_its_hours_and_a_pod_by_what_is_reserved_for_it():
    used = window([0.5] * 4, [1.0] * 4)
    whole = requested_amounts(state(cpu=1.0), used, BOOK, SIZES, None)
    part = requested_amounts(
        state(cpu=1.0), used, msgspec.structs.replace(BOOK, hours_month=73.0), SIZES, None
    )
    assert part.cost.current == pytest.approx(whole.cost.current / 10)
    assert part.memory == whole.memory
    init = InitRequest(cpu_cores=2.0, memory_bytes=0)
    kept = window([0.5] * 4, [1.0] * 4, current=state(memory=GIB, init=init))
    assert requested_amounts(state(cpu=1.0, memory=GIB, init=init), kept, BOOK, SIZES, None).cost.saved == 0.0
