import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.domain.workload import Container, WorkloadState
from perfopt.engine.loop import PLAIN, ContainerSample, LoopSettings, drifted, worth_changing

MIB = 2**20
RULE = LoopSettings(
    min_rise=0.0, min_fall=0.1, agreeing=1, max_fall=0.5, cpu_drift=1.0, memory_drift=0.9, drift_headroom=0.5
)


def state(cpu=1.0, memory=1000, cpu_limit=None, memory_limit=None, name="main"):
    container = Container(
        name=name,
        cpu_request_cores=cpu,
        memory_request_bytes=memory,
        cpu_limit_cores=cpu_limit,
        memory_limit_bytes=memory_limit,
    )
    return WorkloadState(containers=(container,))


def requests(changed):
    return changed.containers[0].cpu_request_cores, changed.containers[0].memory_request_bytes


def test_a_larger_size_is_set_at_once():
    assert requests(worth_changing(state(1.0), [state(1.01)], RULE)) == (1.01, 1000)


def test_a_size_falls_only_by_more_than_the_share():
    assert worth_changing(state(1.0), [state(0.9)], RULE) is None
    assert requests(worth_changing(state(1.0), [state(0.899)], RULE)) == (0.899, 1000)


def test_a_small_rise_waits_where_the_rule_says_so():
    patient = msgspec.structs.replace(RULE, min_rise=0.2)
    assert worth_changing(state(1.0), [state(1.2)], patient) is None
    assert requests(worth_changing(state(1.0), [state(1.21)], patient)) == (1.21, 1000)


def test_a_size_falls_to_the_largest_of_the_latest_recommendations():
    patient = msgspec.structs.replace(RULE, agreeing=3)
    low = [state(0.2), state(0.6), state(0.7), state(0.6)]
    assert requests(worth_changing(state(1.0), low, patient)) == (0.7, 1000)
    assert worth_changing(state(1.0), [state(0.6), state(0.95), state(0.6)], patient) is None


def test_one_change_takes_off_at_most_the_step():
    assert requests(worth_changing(state(1.0, 1000), [state(0.1, 100)], RULE)) == (0.5, 500)


def test_what_may_fall_a_little_falls_with_another_change():
    both = worth_changing(state(1.0, 1000), [state(2.0, 950)], RULE)
    assert requests(both) == (2.0, 950)


def test_limits_follow_the_recommendation_and_stay_above_the_request():
    current = state(1.0, 1000, cpu_limit=4.0, memory_limit=1000)
    changed = worth_changing(current, [state(1.0, 2000, cpu_limit=4.0, memory_limit=1500)], RULE)
    assert changed.containers[0].memory_limit_bytes == 2000
    assert changed.containers[0].cpu_limit_cores == 4.0


def test_an_unset_request_is_set_and_a_container_without_recommendation_stays():
    assert requests(worth_changing(state(None, None), [state(0.3, 70)], RULE)) == (0.3, 70)
    assert worth_changing(state(), [state(5.0, name="other")], RULE) is None


@given(st.floats(0.01, 10), st.floats(0.01, 10))
def test_the_plain_rule_sets_what_is_larger_or_over_a_tenth_smaller(current, new):
    current, new = round(current, 3), round(new, 3)
    changed = worth_changing(state(current), [state(new)], PLAIN)
    assert (changed is not None) == (new > current or new < current * 0.9)
    if changed is not None:
        assert requests(changed)[0] == pytest.approx(new)


def seen(cpu=None, memory=None, **more):
    return {"main": ContainerSample(cpu_cores=cpu, memory_bytes=memory, **more)}


def test_use_above_the_share_of_a_request_raises_it_over_the_use():
    assert drifted(state(), seen(cpu=1.0, memory=900), None, RULE) is None
    raised = drifted(state(), seen(cpu=1.2, memory=900), None, RULE)
    assert requests(raised) == (1.8, 1000)
    assert requests(drifted(state(), seen(memory=920), None, RULE)) == (1.0, 1380)


def test_a_raise_stops_at_the_limit_unless_more_was_used():
    ceilings = state(cpu_limit=1.5, memory_limit=1100)
    assert requests(drifted(state(), seen(cpu=1.2, memory=950), ceilings, RULE)) == (1.5, 1100)
    assert requests(drifted(state(), seen(cpu=1.6), ceilings, RULE)) == (1.6, 1000)


def test_throttling_and_a_kill_raise_above_the_request_and_any_limit():
    ceilings = state(cpu_limit=1.0, memory_limit=1000)
    starved = seen(cpu=0.6, memory=500, throttled=True, oom_killed=True)
    assert requests(drifted(state(), starved, ceilings, RULE)) == (1.5, 1500)


def test_a_raise_takes_the_limit_along():
    current = state(1.0, 1000, cpu_limit=1.0, memory_limit=4000)
    raised = drifted(current, seen(cpu=2.0), None, RULE)
    assert raised.containers[0].cpu_limit_cores == raised.containers[0].cpu_request_cores == 3.0
    assert raised.containers[0].memory_limit_bytes == 4000


def test_a_rule_without_drift_never_raises_for_use():
    assert math.isinf(PLAIN.cpu_drift)
    assert drifted(state(), seen(cpu=50.0, memory=10**9), None, PLAIN) is None


@given(st.floats(0, 5), st.integers(0, 5000))
def test_drift_never_lowers(cpu, memory):
    raised = drifted(state(), seen(cpu=cpu, memory=memory), None, RULE)
    if raised is not None:
        assert requests(raised)[0] >= 1.0
        assert requests(raised)[1] >= 1000
