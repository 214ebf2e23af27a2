"""What a container's history says of its use, and signs of shortage."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from perfopt.plugin import DeclineCode, ImageChange
from perfopt.testing import make_context, make_snapshot
from perfopt_resource.usage import OomKills, ResourceUsage, hidden_demand, oom_kills, usage

DAY, MIB = 288, 2**20


def context_of(**metrics):
    return make_context(make_snapshot({"main": metrics}), timedelta(days=7))


def test_a_metric_that_was_never_seen_is_no_data():
    missing = usage(context_of(cpu_cores=np.ones(14 * DAY)), "main", "memory_bytes")
    assert (missing.code, missing.reason) == (DeclineCode.NO_DATA, "main has no memory_bytes.")


def test_history_begins_with_its_first_sample_and_infinite_values_are_none():
    values = np.ones(14 * DAY)
    values[:DAY] = np.nan
    values[2 * DAY] = np.inf
    resource_usage = usage(context_of(cpu_cores=values), "main", "cpu_cores")
    assert (resource_usage.begin, resource_usage.image_change, resource_usage.values.shape) == (
        DAY,
        None,
        (1, 13 * DAY),
    )
    assert np.isnan(resource_usage.values[0, DAY])
    assert np.nansum(resource_usage.values) == 13 * DAY - 1


@pytest.mark.parametrize(("days", "counts"), [(3, True), (2.9, False)])
def test_only_the_latest_image_counts_where_it_ran_long_enough(days, counts):
    context = context_of(cpu_cores=np.ones(14 * DAY))
    at = context.snapshot.grid.end - timedelta(days=days)
    changes = (
        ImageChange("main", context.snapshot.grid.start + timedelta(days=1), "svc:1"),
        ImageChange("other", context.snapshot.grid.end - timedelta(days=4), "svc:9"),
        ImageChange("main", at, "svc:2"),
    )
    context = replace(context, snapshot=replace(context.snapshot, image_changes=changes))
    resource_usage = usage(context, "main", "cpu_cores")
    assert resource_usage.begin == (11 * DAY if counts else 0)
    assert resource_usage.image_change == (at if counts else None)
    assert resource_usage.values.shape[1] == 14 * DAY - resource_usage.begin


def test_throttling_adds_the_share_of_periods_that_it_took():
    throttled = np.zeros(1000)
    throttled[:10] = 0.9  # before what counts
    throttled[900:920] = (0.2, np.nan) * 10
    context = context_of(cpu_cores=np.ones(1000), cpu_throttled_fraction=throttled)
    demand = hidden_demand(context, "main", ResourceUsage(np.ones((1, 500)), 500, None))
    assert demand.share == pytest.approx(10 / 490)
    assert demand.worst == pytest.approx(0.2)
    assert demand.demand[0, 400:402].tolist() == [1.2, 1.0]
    assert demand.demand.sum() == pytest.approx(502)
    calm = hidden_demand(context, "main", ResourceUsage(np.ones((1, 50)), 950, None))
    assert calm is None


def kills(*, at=(50,), count=1.0, memory=200 * MIB, limits=None, begin=0, current=None, steps=100):
    seen = np.zeros(steps)
    seen[list(at)] = count
    use = np.full(steps, float(100 * MIB))
    use[49:51] = memory
    metrics = {"oom_kills": seen, "memory_bytes": use}
    if limits is not None:
        metrics["memory_limit_bytes"] = limits
    return oom_kills(context_of(**metrics), "main", begin, current)


def test_after_a_kill_memory_is_a_fifth_more_and_at_least_100_mib():
    assert kills() == OomKills(1, 200 * MIB, 300 * MIB)
    assert kills(memory=1000 * MIB) == OomKills(1, 1000 * MIB, 1200 * MIB)
    assert kills(memory=500 * MIB).least_bytes == 600 * MIB  # where both come to the same


def test_the_limit_at_the_kill_counts_where_it_is_above_the_use():
    limits = np.full(100, 256.0 * MIB)
    limits[60:] = 900 * MIB  # raised afterwards
    limits[:40] = 700 * MIB  # and lowered before
    assert kills(limits=limits).held_bytes == 256 * MIB
    assert kills(limits=limits, memory=300 * MIB).held_bytes == 300 * MIB
    assert kills(current=256 * MIB).held_bytes == 256 * MIB
    assert kills(limits=limits, current=2000 * MIB).held_bytes == 256 * MIB


def test_the_worst_of_several_kills_counts_and_only_those_since_a_step():
    assert kills(at=(20, 50, 80)) == OomKills(3, 200 * MIB, 300 * MIB)
    assert kills(at=(50,), count=0.4).count == 1
    assert kills(at=(50,), count=2.0).count == 2
    assert kills(begin=50) is not None
    assert kills(begin=51) is None
    assert oom_kills(context_of(memory_bytes=np.ones(10)), "main", 0, None) is None


def test_a_kill_in_the_first_step_is_seen():
    assert kills(at=(0,)) == OomKills(1, 100 * MIB, 200 * MIB)
    gap = np.full(10, np.nan)
    unseen = context_of(oom_kills=np.eye(1, 10)[0], memory_bytes=gap)
    assert oom_kills(unseen, "main", 0, 64 * MIB) == OomKills(1, 64 * MIB, 164 * MIB)
