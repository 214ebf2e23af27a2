from dataclasses import replace

import msgspec
import numpy as np
import pytest

from perfopt.plugin import HpaState, PodSeries

GIB = 2**30


def with_memory(bench, used, *, limit=None, request=GIB, **given):
    """A snapshot whose hottest pod held so much of memory, bytes."""
    made = bench.snapshot(**given)
    state = made.workload.state
    container = msgspec.structs.replace(
        state.containers[0], memory_request_bytes=request, memory_limit_bytes=limit
    )
    workload = msgspec.structs.replace(
        made.workload, state=msgspec.structs.replace(state, containers=(container,))
    )
    series = PodSeries(("",), np.asarray(used, dtype=np.float64)[np.newaxis])
    metrics = {**made.containers["main"], "memory_bytes": series}
    return replace(made, workload=workload, containers={"main": metrics})


def growing(bench, low, high):
    """Memory that follows the load between two values, bytes."""
    load = bench.wave(noise=0.0)
    return low + (high - low) * (load - load.min()) / (load.max() - load.min())


def reasons(made):
    return {reason.code: reason for reason in made.reasons}


def test_memory_that_does_not_grow_holds_no_replica(bench):
    free = bench.ask(replicas=20)
    steady = bench.ask(with_memory(bench, np.full(14 * 288, 0.9 * GIB), replicas=20))
    assert steady.target == free.target
    assert "memory_per_pod" not in reasons(steady)


@pytest.mark.parametrize("sizes", [{"limit": 2 * GIB}, {"request": 2 * GIB, "limit": GIB}, {"request": GIB}])
def test_replicas_are_not_lowered_where_the_memory_of_a_pod_would_pass_its_size(bench, sizes):
    free = bench.ask(replicas=20)
    used = growing(bench, 0.3 * GIB, 0.9 * GIB)
    made = bench.ask(with_memory(bench, used, replicas=20, **sizes))
    least = made.target.hpa.min_replicas
    assert least > free.target.hpa.min_replicas
    assert reasons(made)["memory_per_pod"].data == {"min_replicas": least}
    total = 20 * (used - used.min())
    at_peak = used.min() + total.max() / max(least, made.target.replicas)
    assert at_peak <= GIB * 1.001


def test_memory_above_its_size_today_lowers_nothing(bench):
    used = growing(bench, 0.5 * GIB, 1.5 * GIB)
    fixed = with_memory(bench, used, replicas=20)
    assert bench.ask(replicas=20).target.replicas < 20
    made = bench.ask(fixed)
    assert made.target == fixed.workload.state  # an autoscaler would save nothing
    assert made.no_change_needed
    now = HpaState(min_replicas=20, max_replicas=40, target_cpu_utilization_percent=60)
    assert bench.ask(replicas=20, hpa=now).target.hpa.min_replicas < 20
    made = bench.ask(with_memory(bench, used, replicas=20, hpa=now))
    assert made.target.hpa.min_replicas == made.target.replicas == 20


def test_memory_without_a_size_asks_for_nothing(bench):
    used = growing(bench, 0.3 * GIB, 0.9 * GIB)
    made = bench.ask(with_memory(bench, used, replicas=20, request=None))
    assert made.target.replicas == bench.ask(replicas=20).target.replicas
