"""The packing is never below the bound, places every pod and respects every node."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfopt.domain.price import NodeType, PriceBook
from perfopt.errors import InvalidInputError
from perfopt.fleet import (
    PodGroup,
    WorkloadStates,
    allocatable,
    cheapest_possible,
    fleet_view,
    pack,
    pod_group,
)

GIB = 2**30


def node(name, cores, gib, price):
    return NodeType(name=name, cores=cores, memory_bytes=int(gib * GIB), price_hour=price)


def group(cpu, gib, count, name="w"):
    return PodGroup(workload=name, cpu_cores=cpu, memory_bytes=gib * GIB, count=count)


BALANCED, WIDE = node("balanced", 4, 16, 0.20), node("wide", 8, 32, 0.36)
TALL = node("tall", 4, 32, 0.28)
NODES = st.lists(
    st.builds(
        node,
        st.text("abcdef", min_size=1, max_size=6),
        st.sampled_from([2.0, 4.0, 8.0, 16.0]),
        st.sampled_from([4.0, 8.0, 32.0, 128.0]),
        st.floats(0.05, 3.0),
    ),
    min_size=1,
    max_size=6,
)
GROUPS = st.lists(
    st.builds(group, st.floats(0.0, 2.0), st.floats(0.0, 4.0), st.integers(0, 9)), min_size=1, max_size=8
)


@settings(max_examples=200, deadline=None)
@given(NODES, GROUPS)
def test_any_packing_is_whole_and_no_cheaper_than_the_bound(nodes, groups):
    packing = pack(nodes, groups)
    placed = Counter()
    for full in packing.nodes:
        on_it = [(groups[index], count) for index, count in full.pods.items()]
        assert sum(g.cpu_cores * count for g, count in on_it) <= full.node.cores + 1e-6
        assert sum(g.memory_bytes * count for g, count in on_it) <= full.node.memory_bytes + 1
        assert all(count <= g.most_together for g, count in on_it)
        placed.update(full.pods)
    assert all(placed[index] == g.count for index, g in enumerate(groups))
    assert packing.price_hour == pytest.approx(sum(full.node.price_hour for full in packing.nodes))
    assert packing.price_hour >= cheapest_possible(nodes, groups) - 1e-9


def test_pods_that_fill_nodes_exactly_have_no_gap():
    groups = [group(1, 4, 16)]
    packing = pack([BALANCED], groups)
    assert [full.node.name for full in packing.nodes] == ["balanced"] * 4
    assert cheapest_possible([BALANCED], groups) == pytest.approx(packing.price_hour)


def test_pods_that_need_memory_go_where_memory_is_cheap():
    packing = pack([BALANCED, TALL], [group(0.5, 8, 8)])
    assert {full.node.name for full in packing.nodes} == {"tall"}
    assert len(packing.nodes) == 2


def test_a_mixture_beats_either_type_alone():
    lean, fat = group(4, 4, 2, "lean"), group(1, 30, 2, "fat")
    mixed = pack([BALANCED, TALL], [lean, fat])
    assert Counter(full.node.name for full in mixed.nodes) == {"balanced": 2, "tall": 2}
    assert mixed.price_hour < pack([TALL], [lean, fat]).price_hour


def test_the_bound_mixes_types_as_the_relaxation_does():
    """8 cores and 48 GiB: one and a half balanced... y = (1, 1) binds both rows, 0.20 + 0.28."""
    assert cheapest_possible([BALANCED, TALL], [group(1, 6, 8)]) == pytest.approx(0.48, rel=1e-6)


def test_a_large_node_for_one_small_pod_costs_a_whole_node():
    assert cheapest_possible([WIDE], [group(0.1, 0.1, 1)]) == pytest.approx(0.36)


def test_replicas_of_one_workload_do_not_share_one_node():
    assert len(pack([WIDE], [group(0.5, 1, 2)]).nodes) == 2


def test_nothing_to_place_takes_no_node():
    assert pack([WIDE], [group(1, 1, 0)]).nodes == ()
    assert cheapest_possible([WIDE], [group(1, 1, 0)]) == 0.0


def test_the_system_and_daemons_take_their_share_of_a_node():
    left = allocatable(BALANCED)
    assert left.cores == pytest.approx(4 - 0.06 - 0.01 - 2 * 0.005)
    assert left.memory_bytes == pytest.approx((16 - 1 - 0.8 - 0.8) * GIB - 100 * 2**20, abs=1)
    assert allocatable(BALANCED, overhead_cores=0.5).cores == pytest.approx(left.cores - 0.5)


def states(cpu, memory, replicas):
    return {"cpu_request": cpu, "memory_request": memory, "replicas": replicas}


BOOK = PriceBook(
    name="b", currency="EUR", cpu_core_hour=0.03, memory_gib_hour=0.004, node_types=(BALANCED, WIDE)
)


def test_a_fleet_before_and_after():
    view = fleet_view(
        [
            WorkloadStates(
                workload="shop/deployment/web",
                current=states("2", "8Gi", 8),
                recommended=states("500m", "2Gi", 8),
            ),
            WorkloadStates(
                workload="shop/daemonset/agent",
                current=states("100m", "128Mi", 3),
                recommended=states("100m", "128Mi", 3),
            ),
            WorkloadStates(workload="shop/deployment/x", current={}, recommended={}),
            WorkloadStates(
                workload="shop/deployment/huge",
                current=states("64", "8Gi", 1),
                recommended=states("1", "8Gi", 1),
            ),
        ],
        BOOK,
    )
    assert view.workloads == 2
    assert view.left_out == {
        "shop/deployment/huge": "a pod of it fits no node type",
        "shop/deployment/x": "its requests are not known",
    }
    assert (view.current.pods, view.current.cpu_cores) == (8, 16.0)
    assert view.recommended.node_count < view.current.node_count
    assert view.saving_month == pytest.approx(
        view.current.packed_cost_month - view.recommended.packed_cost_month, abs=0.01
    )
    for side in (view.current, view.recommended):
        assert side.bound_month <= side.packed_cost_month
        assert side.gap == pytest.approx(1 - side.bound_month / side.packed_cost_month, abs=1e-3)


def test_a_book_without_nodes_is_refused():
    plain = PriceBook(name="plain", currency="EUR", cpu_core_hour=1, memory_gib_hour=1)
    with pytest.raises(InvalidInputError, match="knows no node types"):
        fleet_view([], plain)


def test_pods_come_from_state_maps():
    assert pod_group("a/deployment/b", states("250m", "1Gi", 3)) == group(0.25, 1, 3, "a/deployment/b")
    assert pod_group("b", {"cpu_request": "1"}) is None
    assert pod_group("a/daemonset/b", states("1", "1Gi", 3)).each_node


def test_a_job_is_paid_for_the_time_in_which_it_runs_and_init_containers_reserve_their_request():
    init = {"init_containers": {"cpu_request": "4", "memory_request": "1Gi"}}
    service = WorkloadStates(workload="s/deployment/a", current=states("1", "2Gi", 1) | init, recommended={})
    service = msgspec.structs.replace(service, recommended=states("100m", "2Gi", 1) | init)
    job = WorkloadStates(workload="s/cronjob/b", current=states("2", "8Gi", 1), recommended={})
    job = msgspec.structs.replace(job, recommended=job.current, running_share=0.25)
    view = fleet_view([service], BOOK)
    assert view.current.requests_cost_month == view.recommended.requests_cost_month
    assert view.current.cpu_cores == 4.0
    assert fleet_view([job], BOOK).current.requests_cost_month == pytest.approx(
        0.25 * 730 * BOOK.hourly_cost(2.0, 8 * 2**30), abs=0.01
    )
