from datetime import timedelta

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from perfopt.plugin import Container, HpaState, ImageChange, Proposal, WorkloadState
from perfopt.testing import make_context, make_snapshot
from perfopt_resource.observed import observe
from perfopt_resource.sizing import (
    hold_for_autoscaler,
    limit_for,
    size_cpu,
    size_memory,
    staying_failed,
    whole_millicores,
)
from perfopt_resource.strategy import ResourceStrategy

GIB, MIB = 2**30, 2**20


def test_requests_cover_the_history_and_come_down_to_it(bench):
    history = bench.history()
    sized = bench.size()
    p99 = np.quantile(history["cpu_cores"], 0.99)
    assert p99 <= sized.cpu_request_cores <= 1.5 * p99
    assert history["memory_bytes"].max() <= sized.memory_request_bytes <= 1.5 * history["memory_bytes"].max()


def test_the_proposal_can_be_acted_on_and_checked(bench):
    proposal = bench.ask()
    sized = proposal.target.containers[0].to_map()
    assert f"cpu_request from 2 to {sized['cpu_request']}" in proposal.description
    assert f"memory_request from 4Gi to {sized['memory_request']}" in proposal.description
    cpu = next(reason for reason in proposal.reasons if reason.code == "cpu_bound")
    assert "4032 samples" in cpu.text
    assert "7 days" in cpu.text
    assert cpu.data["p99_cores"] == pytest.approx(
        np.quantile(bench.history()["cpu_cores"], 0.99, method="inverted_cdf"), abs=1e-6
    )
    assert proposal.target.replicas == 2


def test_an_erratic_series_gets_more_room_than_a_steady_one_of_the_same_usual_day(bench):
    steady = bench.cpu(spread=0.01)
    days = np.random.default_rng(4).lognormal(0, 0.5, 14)
    erratic = steady * np.repeat(days / np.median(days), 288)
    calm = bench.size(bench.snapshot({"cpu_cores": steady}))
    wild = bench.size(bench.snapshot({"cpu_cores": erratic}))
    assert wild.cpu_request_cores > 1.05 * calm.cpu_request_cores


def test_values_are_whole_millicores_and_mebibytes(bench):
    sized = bench.size()
    assert round(sized.cpu_request_cores * 1000, 9) % 1 == 0
    assert sized.memory_request_bytes % MIB == 0


def test_an_idle_container_gets_the_floors(bench):
    idle = bench.size(bench.snapshot({"cpu_cores": np.zeros(4032), "memory_bytes": np.full(4032, 1e5)}))
    assert idle.cpu_request_cores == 0.010
    assert 16 * MIB <= idle.memory_request_bytes <= 24 * MIB


def test_an_unknown_state_is_sized_all_the_same(bench):
    snapshot = make_snapshot(
        {"main": {"cpu_cores": bench.cpu()}},
        state=WorkloadState(containers=(Container(name="main"),)),
    )
    sized = bench.size(snapshot)
    assert sized.cpu_request_cores > 0
    assert sized.cpu_limit_cores is None
    assert sized.memory_request_bytes is None
    assert sized.memory_limit_bytes is None


def test_each_container_is_sized_by_its_own_history(bench):
    snapshot = make_snapshot(
        {"main": bench.history(), "proxy": bench.history(cpu_cores=bench.cpu(level=0.02))},
        state=WorkloadState(containers=(Container(name="main"), Container(name="proxy"))),
    )
    main, proxy = bench.ask(snapshot).target.containers
    assert main.name == "main"
    assert proxy.cpu_request_cores < 0.2 * main.cpu_request_cores


def test_the_hottest_pod_sizes_memory_and_all_pods_size_cpu(bench):
    memory = np.stack([bench.memory(), bench.memory(level=2.0)])
    cpu = np.stack([bench.cpu()] * 2)
    sized = bench.size(bench.snapshot({"cpu_cores": cpu, "memory_bytes": memory}))
    assert sized.memory_request_bytes >= memory.max()
    assert np.quantile(cpu, 0.99) <= sized.cpu_request_cores <= 1.5 * np.quantile(cpu, 0.99)


def test_memory_that_leaks_is_sized_for_where_it_will_be(bench):
    leak = np.linspace(1.0, 2.0, 4032) * GIB
    proposal = bench.ask(bench.snapshot(bench.history(memory_bytes=leak)))
    assert proposal.target.containers[0].memory_request_bytes >= 2.5 * GIB
    assert any(reason.code == "memory_leak" for reason in proposal.reasons)


def test_only_what_the_present_image_did_counts_where_that_is_enough(bench):
    cpu = np.r_[np.full(8 * 288, 1.5), np.full(6 * 288, 0.2)]
    snapshot = bench.snapshot(bench.history(cpu_cores=cpu))
    at = snapshot.grid.start + timedelta(days=8)
    changed = type(snapshot)(
        snapshot.workload,
        snapshot.grid,
        snapshot.containers,
        image_changes=(ImageChange("main", at, "svc:2"),),
    )
    assert bench.size(snapshot).cpu_request_cores > 1
    proposal = bench.ask(changed)
    assert proposal.target.containers[0].cpu_request_cores < 0.5
    assert any(reason.code == "image_change" for reason in proposal.reasons)


def test_a_leak_that_was_replaced_sets_no_size_where_what_followed_is_enough(bench):
    memory = np.r_[np.linspace(0.3, 2.0, 6 * 288), np.full(8 * 288, 0.3)] * GIB
    kept = bench.ask(bench.snapshot(bench.history(memory_bytes=memory)))
    restarts = np.zeros(memory.size)
    restarts[6 * 288] = 1.0
    replaced = bench.ask(bench.snapshot(bench.history(memory_bytes=memory, restarts=restarts)))
    assert replaced.target.containers[0].memory_request_bytes < 1 * GIB
    assert kept.target.containers[0].memory_request_bytes >= 2 * GIB
    (reason,) = [reason for reason in replaced.reasons if reason.code == "leak_ended"]
    assert "memory_bytes before it was left out" in reason.text
    assert not [reason for reason in kept.reasons if reason.code == "leak_ended"]


def test_an_image_of_yesterday_does_not_hide_the_history(bench):
    cpu = np.r_[np.full(13 * 288, 1.5), np.full(288, 0.2)]
    snapshot = bench.snapshot(bench.history(cpu_cores=cpu))
    changed = type(snapshot)(
        snapshot.workload,
        snapshot.grid,
        snapshot.containers,
        image_changes=(ImageChange("main", snapshot.grid.start + timedelta(days=13), "svc:2"),),
    )
    assert bench.size(changed).cpu_request_cores > 1


def test_a_move_that_is_small_both_ways_is_no_change_needed(bench):
    no_limits = {"cpu_limit_cores": None, "memory_limit_bytes": None}
    sized = bench.size(container=no_limits)
    near = {
        "cpu_request_cores": sized.cpu_request_cores + 0.010,
        "memory_request_bytes": sized.memory_request_bytes + 20 * MIB,
    }
    snapshot = bench.snapshot(container=no_limits | near)
    proposal = bench.ask(snapshot)
    assert proposal.no_change_needed
    assert proposal.target == snapshot.workload.state
    assert "No change needed" in proposal.description


def test_a_small_share_of_a_large_request_is_worth_moving(bench):
    big = bench.history(cpu_cores=bench.cpu(level=10.0))
    wanted = bench.size(bench.snapshot(big, container={"cpu_limit_cores": None})).cpu_request_cores
    now = {"cpu_request_cores": wanted * 1.05, "cpu_limit_cores": None}
    assert bench.size(bench.snapshot(big, container=now)).cpu_request_cores == wanted


def test_the_future_can_not_be_seen(bench):
    snapshot = bench.snapshot()
    answers = []
    for later in (1.0, 50.0):
        history = {m: np.r_[s.values[0], np.full(288, later)] for m, s in snapshot.containers["main"].items()}
        whole = make_snapshot(
            {"main": history}, state=snapshot.workload.state, end=snapshot.grid.end + timedelta(days=1)
        )
        answers.append(bench.ask(whole.slice(0, 4032)))
    assert msgspec.json.encode(answers[0]) == msgspec.json.encode(answers[1])


@given(st.floats(0.02, 20), st.integers(0, 5), st.integers(1000, 4032))
def test_any_request_stays_within_its_limit_and_above_its_floor(level, seed, size):
    rng = np.random.default_rng(seed)
    cpu = level * rng.lognormal(0, 0.5, size)
    memory = level * GIB * rng.lognormal(0, 0.3, size)
    container = Container(
        name="main",
        cpu_request_cores=1.0,
        memory_request_bytes=GIB,
        cpu_limit_cores=2.0,
        memory_limit_bytes=2 * GIB,
    )
    state = WorkloadState(containers=(container,))
    snapshot = make_snapshot({"main": {"cpu_cores": cpu, "memory_bytes": memory}}, state=state)
    proposal = ResourceStrategy().propose(make_context(snapshot))
    assume(isinstance(proposal, Proposal))  # of noise and few days too little may be known
    sized = proposal.target.containers[0]
    assert 0.010 <= sized.cpu_request_cores <= sized.cpu_limit_cores
    assert 16 * MIB <= sized.memory_request_bytes <= sized.memory_limit_bytes


@pytest.mark.parametrize(
    ("cores", "request_cores"),
    [(0.0, 0.010), (0.0101, 0.011), (0.25, 0.25), (0.2500000001, 0.25), (0.2500001, 0.251)],
)
def test_cores_are_rounded_up_to_whole_millicores(cores, request_cores):
    assert whole_millicores(cores) == request_cores


@pytest.mark.parametrize(
    ("current", "request_mib", "peak", "killed", "limit"),
    [
        (1000, 400, 300, False, 500),  # a quarter above the request
        (1000, 400, 500, False, 600),  # a fifth above the peak
        (450, 400, 300, False, 450),  # it does not rise for the headroom
        (450, 400, 400, False, 480),  # but for the peak
        (300, 400, 300, False, 400),  # and for the request
        (450, 400, 300, True, 500),  # after a kill for the headroom too
        (900, 400, 300, True, 900),  # and it does not fall
        (450, 400, 500, True, 600),
        (520, 400, 300, False, 520),  # a fall of 20 MiB, below a tenth, is not worth a restart
        (540, 400, 300, False, 500),
        (475, 400, 400, False, 480),  # the limit is below what the peak needs: no small move
    ],
)
def test_a_memory_limit_follows_request_and_peak(current, request_mib, peak, killed, limit):
    made = limit_for(current * MIB, request_mib * MIB, float(peak * MIB), killed=killed)
    assert made / MIB == limit


def autoscaled(current, wanted, target=60):
    state = WorkloadState(
        containers=(Container(name="main"),),
        replicas=2,
        hpa=HpaState(max_replicas=4, target_cpu_utilization_percent=target),
    )
    return hold_for_autoscaler(make_context(make_snapshot(state=state)), "main", "cpu", current, wanted)


def test_a_request_that_an_autoscaler_measures_against_does_not_fall():
    request, (reason,) = autoscaled(1.0, 0.5)
    assert (request, reason.code) == (1.0, "held_for_hpa")
    assert reason.text.startswith(
        "main: cpu_request stays, because an HPA scales at 60 % of it and a fall from 1 to 500m would add"
    )
    request, (reason,) = autoscaled(1.0, 1.5)
    assert (request, reason.code) == (1.5, "hpa_target_shifts")
    assert "main: an HPA scales at 60 % of the request; with 1500m instead of 1" in reason.text
    assert autoscaled(1.0, 1.0) == (1.0, ())
    assert autoscaled(None, 0.5) == autoscaled(1.0, 0.5, target=None) == (0.5, ())


def sized_memory(bench, wanted, *, request=1000, limit=1600, level=None, kills=None, days=14):
    """Sizes memory of a container whose use is 500 MiB, for what a model wants; all in MiB."""
    history = bench.history(memory_bytes=np.full(4032, (level or 500.0) * MIB))
    history["memory_bytes"][: round((14 - days) * 288)] = np.nan
    if kills is not None:
        history["oom_kills"] = np.where(np.arange(4032) == kills, 1.0, 0.0)
    container = msgspec.structs.replace(
        bench.container, memory_request_bytes=request * MIB, memory_limit_bytes=limit * MIB
    )
    context = make_context(bench.snapshot(history, container=msgspec.structs.asdict(container)))
    sized_resource = size_memory(context, container, observe(context, container), wanted * MIB)
    reasons = {reason.code: reason.text for reason in sized_resource.reasons}
    return (
        sized_resource.container.memory_request_bytes / MIB,
        sized_resource.container.memory_limit_bytes / MIB,
        reasons,
    )


def test_memory_is_what_the_model_wants_and_never_below_the_peak(bench):
    request, limit, reasons = sized_memory(bench, 600.0)
    assert (request, limit) == (600, 750)
    assert reasons["memory_limit"].startswith("main: the memory limit goes from 1600Mi to 750Mi")
    assert "memory_peak" not in reasons
    request, limit, reasons = sized_memory(bench, 400.0)
    assert (request, limit) == (500, 625)
    assert reasons["memory_peak"] == "main: the memory request is raised to the observed peak of 500 MiB."


@pytest.mark.parametrize(("days", "expected"), [(14, 750), (7, 750), (7 - 1 / 288, 1600), (4, 1600)])
def test_a_memory_limit_falls_only_with_a_week_of_history(bench, days, expected):
    request, limit, reasons = sized_memory(bench, 600.0, days=days)
    assert (request, limit) == (600, expected)
    assert ("memory_limit_kept" in reasons) == (expected == 1600)
    assert sized_memory(bench, 2000.0, request=400, limit=400, days=days)[1] >= 400  # and rises as ever


def test_a_limit_that_stays_says_what_history_is_missing(bench):
    assert sized_memory(bench, 600.0, days=4)[2]["memory_limit_kept"] == (
        "main: the memory limit does not fall from 1600Mi to 750Mi: of 4 days of history a higher peak may be"
        " missing; a limit falls after 7 days."
    )


def test_a_small_move_of_memory_is_left_unless_the_peak_or_a_kill_asks_for_it(bench):
    request, _, reasons = sized_memory(bench, 520.0, request=540, limit=1600)
    assert request == 540
    assert any("memory_request" in text and "540" in text for text in reasons.values())
    assert sized_memory(bench, 510.0, request=500)[0] == 500  # as much as the peak is enough
    assert sized_memory(bench, 510.0, request=499)[0] == 510  # less is not
    killed, limit, reasons = sized_memory(bench, 1010.0, request=1000, level=500.0, kills=2000)
    assert killed == 1920  # a fifth more than the limit of 1600 at the kill
    assert limit == 2400
    assert "oom_killed" in reasons
    less, _, _ = sized_memory(bench, 400.0, request=1930, limit=1600, kills=2000)
    assert less == 1930  # a fall of 10 MiB is small after a kill as well


def sized_cpu(bench, wanted, *, request=1.0, limit=2.0, throttled=None, level=0.5, enough=1.0):
    """Sizes cpu of a container that uses half a core, for what a model wants, in cores."""
    history = bench.history(cpu_cores=np.full(4032, level))
    if throttled is not None:
        history["cpu_throttled_fraction"] = np.full(4032, throttled)
    container = msgspec.structs.replace(bench.container, cpu_request_cores=request, cpu_limit_cores=limit)
    context = make_context(bench.snapshot(history, container=msgspec.structs.asdict(container)))
    sized = size_cpu(context, container, observe(context, container), wanted, enough)
    reasons = {reason.code: reason.text for reason in sized.reasons}
    return sized.container.cpu_request_cores, sized.container.cpu_limit_cores, reasons


def test_a_cpu_limit_stays_and_rises_only_with_the_request(bench):
    request, limit, reasons = sized_cpu(bench, 0.6)
    assert (request, limit) == (0.6, 2.0)
    assert reasons["cpu_limit"].startswith("main: the cpu limit stays at 2: ")
    request, limit, reasons = sized_cpu(bench, 2.5, request=0.4)
    assert (request, limit) == (2.5, 2.5)
    assert reasons["cpu_limit"] == "main: the cpu limit goes from 2 to 2500m."
    assert sized_cpu(bench, 0.6, limit=None)[1] is None


def test_a_request_that_was_always_enough_does_not_rise_for_mere_safety(bench):
    request, _, reasons = sized_cpu(bench, 1.5, request=0.6)
    assert request == 0.6
    assert reasons["no_evidence_for_raise"] == (
        "main: cpu_request stays at 600m: it was enough throughout the history, and is forecast to be; 1500m"
        " would only be safer."
    )
    assert sized_cpu(bench, 1.5, request=0.6, enough=0.49)[0] == 1.5  # forecast to be too small
    assert sized_cpu(bench, 1.5, request=0.6, throttled=0.25)[0] == 1.5
    request, _, reasons = sized_memory(bench, 900.0, request=700)
    assert (request, "no_evidence_for_raise" in reasons) == (700, True)
    assert sized_memory(bench, 900.0, request=499)[0] == 900


@pytest.mark.parametrize(
    ("resource", "above", "failed"),
    [("cpu", 20, False), ("cpu", 21, True), ("memory", 0, False), ("memory", 1, True)],
)
def test_a_request_failed_where_a_window_had_more_above_it_than_is_allowed(resource, above, failed):
    values = np.ones((1, 4032))
    values[0, 2016 : 2016 + above] = 2.0
    assert staying_failed(resource, values, 1.5, 2016) is failed


def test_a_throttled_limit_rises_by_the_share_of_periods_that_were_throttled(bench):
    _, limit, reasons = sized_cpu(bench, 0.6, throttled=0.25)
    assert limit == 2.5
    assert "cpu_throttled" in reasons


def test_only_a_container_at_the_floor_is_called_idle(bench):
    _, _, idle = sized_cpu(bench, 0.01, level=0.0)
    assert "main: cpu is idle (at most 0 in 4032 samples" in idle["cpu_idle"]
    _, _, used = sized_cpu(bench, 0.6)
    assert "cpu_idle" not in used
    assert "cpu_bound" in used


@pytest.mark.parametrize(("hours", "least"), [(20, 0.5), (24, 0.0)])
def test_of_less_than_a_day_a_request_falls_by_half_at_most(bench, hours, least):
    snapshot = bench.snapshot().slice(14 * 288 - hours * 12, 14 * 288)
    container = bench.size(snapshot, validity=timedelta(hours=6))
    assert container.cpu_request_cores >= least * 2.0
    assert container.memory_request_bytes >= least * 4 * GIB
    if not least:
        assert container.cpu_request_cores < 0.5
