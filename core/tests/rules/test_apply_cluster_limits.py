"""What the cluster does not take is not recommended, and what may be held by an autoscaler is not lowered."""

from dataclasses import replace

import msgspec
import pytest

from perfopt.domain.limits import BoundRange, ClusterLimits

GIB = 2**30


@pytest.fixture
def within(situation):
    """Returns a situation in a cluster with limits, or with an autoscaler that is shown in part."""

    def make(limits=None, autoscalers=(), **state):
        context = situation(**state)
        workload = msgspec.structs.replace(
            context.snapshot.workload, limits=limits, unknown_autoscalers=autoscalers
        )
        return replace(context, snapshot=replace(context.snapshot, workload=workload))

    return make


def sized(run, propose, context, **quantities):
    (container,) = run({}, propose(context, **quantities), context).proposal.target.containers
    return container


@pytest.mark.parametrize(
    ("limits", "cpu", "memory"),
    [
        (ClusterLimits(node_cpu_cores=7.9, node_memory_bytes=29 * GIB), 7.9, 29 * GIB),
        (
            ClusterLimits(container_cpu=BoundRange(None, 6.0), pod_memory=BoundRange(None, 20 * GIB)),
            6.0,
            20 * GIB,
        ),
        (ClusterLimits(free_requests_cpu=2.0, free_requests_memory=2 * GIB), 2.0, 2 * GIB),
        (None, 8.0, 40 * GIB),
    ],
)
def test_requests_stay_within_nodes_limit_ranges_and_quotas(within, run, propose, limits, cpu, memory):
    """Two replicas of one core and 1Gi: of what a quota leaves each takes half."""
    context = within(limits)
    free = {"cpu_limit_cores": None, "memory_limit_bytes": None}
    found = sized(run, propose, context, cpu_request_cores=8.0, memory_request_bytes=40 * GIB, **free)
    assert (found.cpu_request_cores, found.memory_request_bytes) == (cpu, memory)


def test_requests_are_not_below_the_minimum_of_a_limit_range(within, run, propose):
    context = within(ClusterLimits(container_cpu=BoundRange(0.5), container_memory=BoundRange(GIB)))
    found = sized(run, propose, context, cpu_request_cores=0.1, memory_request_bytes=GIB // 2)
    assert (found.cpu_request_cores, found.memory_request_bytes) == (0.5, GIB)


def test_nothing_is_lowered_under_an_autoscaler_that_is_shown_in_part(within, run, propose):
    context = within(autoscalers=("api",))
    (now,) = context.snapshot.workload.state.containers
    found = sized(run, propose, context, cpu_request_cores=0.2, memory_request_bytes=GIB // 2)
    assert found.cpu_request_cores == now.cpu_request_cores
    assert found.memory_request_bytes == now.memory_request_bytes
    raised = sized(run, propose, context, cpu_request_cores=4.0, memory_request_bytes=8 * GIB)
    assert raised.cpu_request_cores == 4.0
