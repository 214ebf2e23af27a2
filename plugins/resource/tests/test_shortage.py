import numpy as np
import pytest

from perfopt.plugin import HpaState

GIB, MIB = 2**30, 2**20


def kills(*steps):
    series = np.zeros(4032)
    series[list(steps)] = 1
    return series


def codes(proposal):
    return {reason.code for reason in proposal.reasons}


def test_an_oom_kill_raises_memory_and_without_it_the_answer_differs(bench):
    small = {"memory_request_bytes": GIB, "memory_limit_bytes": round(1.2 * GIB)}
    limits = np.full(4032, 1.2 * GIB)
    quiet = bench.snapshot(bench.history(memory_limit_bytes=limits), container=small)
    killed = bench.snapshot(bench.history(memory_limit_bytes=limits, oom_kills=kills(2000)), container=small)
    before, after = bench.ask(quiet), bench.ask(killed)
    assert "oom_killed" in codes(after)
    assert "oom_killed" not in codes(before)
    assert before.target.containers[0].memory_request_bytes <= round(1.2 * GIB)
    assert after.target.containers[0].memory_request_bytes >= 1.2 * 1.2 * GIB
    assert after.target.containers[0].memory_limit_bytes >= after.target.containers[0].memory_request_bytes


@pytest.mark.parametrize("limit", [None, 8 * GIB])
def test_memory_does_not_fall_after_an_oom_kill_with_a_limit_or_without(bench, limit):
    large = {"memory_request_bytes": 8 * GIB, "memory_limit_bytes": limit}
    quiet = bench.ask(bench.snapshot(bench.history(), container=large))
    killed = bench.ask(bench.snapshot(bench.history(oom_kills=kills(2000)), container=large))
    assert quiet.target.containers[0].memory_request_bytes < 8 * GIB
    assert killed.target.containers[0].memory_request_bytes >= 8 * GIB
    assert (limit is None) == ("held_after_oom_kill" in codes(killed))


def test_after_an_oom_kill_small_containers_get_a_hundred_mebibytes_more(bench):
    tiny = {"memory_request_bytes": 60 * MIB, "memory_limit_bytes": 64 * MIB}
    history = bench.history(
        memory_bytes=np.full(4032, 50.0 * MIB),
        memory_limit_bytes=np.full(4032, 64.0 * MIB),
        oom_kills=kills(4000),
    )
    assert bench.size(bench.snapshot(history, container=tiny)).memory_request_bytes >= 164 * MIB


def test_an_oom_kill_below_what_the_peak_needs_anyway_lowers_nothing(bench):
    history = bench.history()
    without = bench.size(bench.snapshot(history, container={"memory_limit_bytes": None}))
    low = np.full(4032, 0.3 * GIB)
    with_kill = bench.size(
        bench.snapshot(
            history | {"oom_kills": kills(10), "memory_limit_bytes": low},
            container={"memory_limit_bytes": None},
        )
    )
    assert with_kill.memory_request_bytes >= without.memory_request_bytes


def test_throttling_raises_the_cpu_request_and_limit(bench):
    tight = {"cpu_request_cores": 0.2, "cpu_limit_cores": 0.3}
    cpu = np.minimum(bench.cpu(), 0.3)
    throttled = np.where(cpu >= 0.29, 0.5, 0.0)
    calm = bench.size(bench.snapshot(bench.history(cpu_cores=cpu), container=tight))
    history = bench.history(cpu_cores=cpu, cpu_throttled_fraction=throttled)
    proposal = bench.ask(bench.snapshot(history, container=tight))
    raised = proposal.target.containers[0]
    assert raised.cpu_request_cores > calm.cpu_request_cores
    assert raised.cpu_limit_cores >= 0.3 * 1.5
    assert "cpu_throttled" in codes(proposal)


def test_a_trace_of_throttling_changes_nothing(bench):
    throttled = np.full(4032, 0.01)
    with_trace = bench.size(bench.snapshot(bench.history(cpu_throttled_fraction=throttled)))
    assert with_trace == bench.size()


def test_no_limit_is_added_where_there_is_none(bench):
    sized = bench.size(container={"cpu_limit_cores": None, "memory_limit_bytes": None})
    assert sized.cpu_limit_cores is None
    assert sized.memory_limit_bytes is None


def test_the_cpu_limit_stays_and_the_memory_limit_follows_with_headroom(bench):
    proposal = bench.ask()
    sized = proposal.target.containers[0]
    assert sized.cpu_limit_cores == 4.0
    assert sized.memory_request_bytes * 1.2 < sized.memory_limit_bytes < 8 * GIB
    assert any("memory_limit_headroom" in reason.text for reason in proposal.reasons)


def test_a_limit_is_never_below_the_request(bench):
    cramped = {"cpu_limit_cores": 0.1, "cpu_request_cores": 0.1, "memory_limit_bytes": 500 * MIB}
    sized = bench.size(container=cramped | {"memory_request_bytes": 500 * MIB})
    assert sized.cpu_limit_cores >= sized.cpu_request_cores > 0.25
    assert sized.memory_limit_bytes >= sized.memory_request_bytes >= GIB


def test_a_memory_request_stops_at_a_limit_that_was_never_passed_and_the_limit_gets_headroom(bench):
    history = bench.history(memory_bytes=bench.memory(spread=0.3))
    top = history["memory_bytes"].max()
    sized = bench.size(bench.snapshot(history, container={"memory_limit_bytes": round(top * 1.001)}))
    assert sized.memory_request_bytes == round(top * 1.001)
    assert 1.2 * top <= sized.memory_limit_bytes <= 1.2 * top + MIB


def test_a_memory_request_is_at_least_the_peak_of_the_period_and_the_limit_a_fifth_more(bench):
    history = bench.history()
    memory = history["memory_bytes"]
    usual = float(np.nanmax(memory))
    memory[: len(memory) // 50] = 2 * usual  # starting up, two weeks ago
    proposal = bench.ask(bench.snapshot(history, container={"memory_limit_bytes": 8 * GIB}))
    (sized,) = proposal.target.containers
    assert sized.memory_request_bytes >= 2 * usual
    assert sized.memory_limit_bytes >= 1.2 * 2 * usual


def test_a_cpu_request_that_an_hpa_measures_against_does_not_fall(bench):
    hpa = HpaState(max_replicas=10, target_cpu_utilization_percent=80)
    proposal = bench.ask(hpa=hpa)
    sized = proposal.target.containers[0]
    assert sized.cpu_request_cores == 2.0
    assert sized.memory_request_bytes < 4 * GIB
    held = next(reason for reason in proposal.reasons if reason.code == "held_for_hpa")
    assert "80 %" in held.text


def test_a_cpu_request_that_is_too_small_rises_under_an_hpa_and_says_what_shifts(bench):
    hpa = HpaState(max_replicas=10, target_cpu_utilization_percent=80)
    proposal = bench.ask(hpa=hpa, container={"cpu_request_cores": 0.1})
    assert proposal.target.containers[0].cpu_request_cores > 0.25
    assert "hpa_target_shifts" in codes(proposal)


def test_an_hpa_on_other_metrics_holds_nothing(bench):
    hpa = HpaState(max_replicas=10, other_metrics=("requests_per_second",))
    assert bench.size(hpa=hpa).cpu_request_cores < 0.5


def test_keda_is_pointed_out(bench):
    assert "keda" in codes(bench.ask(keda="svc-scaler"))
