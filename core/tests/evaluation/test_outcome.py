"""What a recommendation came to: as in a replay unless it was applied, which cuts off what can be seen."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.domain.enums import Basis, OptimizationType
from perfopt.domain.fields import parse_state
from perfopt.domain.workload import Container, HpaState, WorkloadState
from perfopt.evaluation.outcome import score_outcome, score_plan_outcome, unsafe_days
from perfopt.plugin.strategy import Claim, Proposal
from perfopt.testing import make_snapshot

GIB = 2**30
WEEK = 7 * 288
RESOURCE = OptimizationType.RESOURCE_OPTIMIZATION
LATENCY = OptimizationType.LATENCY_OPTIMIZATION


def window(cpu=0.4, service=None, **more):
    used = {"cpu_cores": np.full(WEEK, cpu), "memory_bytes": np.full(WEEK, 0.5 * GIB)}
    return make_snapshot({"main": used | {name: np.asarray(v) for name, v in more.items()}}, service=service)


def proposal(cpu=0.5, kind=RESOURCE, claim=None):
    main = Container(name="main", cpu_request_cores=cpu, memory_request_bytes=GIB, memory_limit_bytes=GIB)
    state = WorkloadState(containers=(main,), replicas=2)
    return Proposal(optimization_type=kind, target=state, description="", claim=claim or Claim())


@pytest.mark.parametrize("applied", [False, True])
def test_without_a_sign_of_shortage_it_is_scored_as_a_replay_is(applied):
    assert score_outcome(proposal(0.5), window(), applied=applied).score.accurate
    assert not score_outcome(proposal(0.3), window(), applied=applied).score.accurate


def test_a_kill_is_a_broken_word_only_where_it_was_applied():
    killed = window(oom_kills=np.eye(1, WEEK, 100)[0])
    assert score_outcome(proposal(), killed, applied=False).score.accurate
    score = score_outcome(proposal(), killed, applied=True)
    assert (score.score.accurate, score.censored) == (False, "oom_kill")


@pytest.mark.parametrize(("share", "accurate"), [(0.04, True), (0.06, False)])
def test_more_than_five_percent_of_periods_throttled_is_a_broken_word(share, accurate):
    score = score_outcome(proposal(), window(cpu_throttled_fraction=np.full(WEEK, share)), applied=True)
    assert score.score.accurate is accurate
    assert score.censored == (None if accurate else "throttled")


def test_a_kill_counts_where_too_little_else_is_known():
    gone = np.full(WEEK, np.nan)
    gone[:10] = 0.1
    killed = make_snapshot({"main": {"cpu_cores": gone, "oom_kills": np.eye(1, WEEK, 5)[0]}})
    assert not score_outcome(proposal(), killed, applied=False).score.scored
    found = score_outcome(proposal(), killed, applied=True).score
    assert (found.scored, found.accurate) == (True, False)


@pytest.mark.parametrize(
    ("applied", "realised", "kept"),
    [(False, 100, True), (False, 60, False), (True, 60, True), (True, 100, False)],
)
def test_latency_is_held_against_the_claim_for_what_was_in_force(applied, realised, kept):
    claim = Claim(
        latency_ms=60.0,
        latency_interval_ms=(50.0, 70.0),
        latency_now_ms=100.0,
        latency_now_interval_ms=(90.0, 110.0),
    )
    seen = window(service={"latency_p99_ms": np.full(WEEK, float(realised))})
    made = proposal(kind=OptimizationType.LATENCY_OPTIMIZATION, claim=claim)
    assert score_outcome(made, seen, applied=applied).score.claim_met is kept


quantities = st.none() | st.integers(1, 64000)
containers = st.builds(
    lambda name, cpu, memory, limit, sidecar: Container(
        name=name,
        cpu_request_cores=None if cpu is None else cpu / 1000,
        memory_request_bytes=None if memory is None else memory * 2**20,
        memory_limit_bytes=None if limit is None else limit * 2**20,
        sidecar=sidecar,
    ),
    st.sampled_from(["main", "proxy", "log"]),
    quantities,
    quantities,
    quantities,
    st.booleans(),
)


@given(
    st.lists(containers, max_size=3, unique_by=lambda one: one.name),
    st.none() | st.integers(0, 50),
    st.none() | st.just(HpaState(max_replicas=7, target_cpu_utilization_percent=60)),
    st.sampled_from(list(Basis)),
)
def test_a_state_is_what_its_map_says(own, replicas, hpa, basis):
    state = WorkloadState(
        containers=tuple(own), replicas=replicas, hpa=hpa, basis=basis, extra={"off_hours": {"from": "20:00"}}
    )
    stored = msgspec.json.decode(msgspec.json.encode(state.to_map()))
    assert parse_state(stored) == state


def test_a_share_of_exactly_five_percent_throttled_is_no_shortage():
    score = score_outcome(proposal(), window(cpu_throttled_fraction=np.full(WEEK, 0.05)), applied=True)
    assert (score.score.accurate, score.censored) == (True, None)


def test_no_kill_in_a_series_of_kills_is_no_shortage():
    score = score_outcome(proposal(), window(oom_kills=np.zeros(WEEK)), applied=True)
    assert (score.score.accurate, score.censored) == (True, None)


def test_a_kill_takes_the_place_of_a_reason_for_not_scoring():
    gone = make_snapshot({"main": {"cpu_cores": np.full(WEEK, np.nan), "oom_kills": np.ones(WEEK)}})
    assert score_outcome(proposal(), gone, applied=False).score.reason
    assert score_outcome(proposal(), gone, applied=True).score.reason is None


def plan_outcome(parts, used, applied):
    return score_plan_outcome(parts, parts[0].target, used, applied=applied)


@pytest.mark.parametrize("applied", [False, True])
def test_a_plan_is_scored_by_all_that_its_parts_set(applied):
    assert plan_outcome([proposal(0.5)], window(), applied).score.accurate
    assert not plan_outcome([proposal(0.3)], window(), applied).score.accurate


def test_a_kill_makes_a_plan_inaccurate_only_where_it_was_applied():
    killed = window(oom_kills=np.eye(1, WEEK, 100)[0])
    assert plan_outcome([proposal()], killed, False).score.accurate
    found = plan_outcome([proposal()], killed, True)
    assert (found.score.accurate, found.censored) == (False, "oom_kill")


@pytest.mark.parametrize(("applied", "kept"), [(False, False), (True, True)])
def test_a_plan_in_force_is_held_to_the_latency_of_its_target(applied, kept):
    claim = Claim(
        latency_ms=90.0,
        latency_interval_ms=(70.0, 112.0),
        latency_now_ms=200.0,
        latency_now_interval_ms=(180.0, 220.0),
    )
    used = window(service={"latency_p99_ms": np.full(WEEK, 100.0)})
    found = plan_outcome([proposal(), proposal(kind=LATENCY, claim=claim)], used, applied)
    assert found.score.claim_met is kept
    assert score_outcome(proposal(kind=LATENCY, claim=claim), used, applied=applied).score.claim_met is kept


def test_the_width_of_a_claimed_interval_is_taken_of_the_target():
    claim = Claim(latency_ms=80.0, latency_interval_ms=(70.0, 114.0), latency_now_ms=200.0)
    used = window(service={"latency_p99_ms": np.full(WEEK, 100.0)})
    score = score_outcome(proposal(kind=LATENCY, claim=claim), used, applied=True)
    assert score.score.claim_met is False  # 44 ms are more than half of 80, and less than half of 92


def test_days_are_unsafe_one_by_one():
    cpu = np.full(WEEK, 0.4)
    cpu[288 + 10 : 288 + 14] = 0.6  # 4 of 288 samples are over 1 %
    cpu[2 * 288 : 2 * 288 + 2] = 0.6
    kills = np.eye(1, WEEK, 4 * 288 + 5)[0]
    days = unsafe_days(proposal().target, window(cpu, oom_kills=kills))
    first = min(days)
    assert [(day - first).days for day in sorted(days)] == list(range(7))
    assert [(day - first).days for day, unsafe in days.items() if unsafe] == [1, 4]


def test_half_a_day_counts_and_less_does_not():
    midnight = window().grid.end.replace(hour=0, minute=0)
    for steps, scored in ((143, 0), (144, 1)):
        part = make_snapshot({"main": {"cpu_cores": np.full(steps, 0.9)}}, end=midnight)
        assert list(unsafe_days(proposal().target, part).values()) == [True] * scored
