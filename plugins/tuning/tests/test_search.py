"""The search in production: evaluations from the history, one step at a time, none that may break the SLO."""

import numpy as np
import pytest

from perfopt.plugin import Declined, Slo

STEPS = 14 * 288
GIB = 2**30
SEARCHED = {"perfopt.io/search": "cpu_limit"}


def latency(limit):
    """A service whose P99 rises the faster the nearer its limit comes to the 0.4 cores that it uses."""
    return 100 + 12 / (limit - 0.4)


def ask(bench, limits, *, slo=400.0, noise=0.05, request=0.4, **given):
    """Asks with a history in which the limit went through these values, for as long each."""
    series = np.repeat(np.asarray(limits, float), -(-STEPS // len(limits)))[:STEPS]
    rng = np.random.default_rng(1)
    p99 = latency(series) * np.exp(noise * rng.standard_normal(STEPS))
    rate = 50 * (1 + 0.1 * np.sin(np.arange(STEPS) / 288 * 2 * np.pi))
    return bench.ask(
        metrics={"cpu_limit_cores": series},
        service={"latency_p99_ms": p99, "requests_per_second": rate},
        annotations=SEARCHED,
        slo=None if slo is None else Slo(latency_ms=slo),
        cpu_limit_cores=float(limits[-1]), cpu_request_cores=request, cpu=0.4, memory_limit_bytes=GIB,
        **given,
    )  # fmt: skip


def limit_of(made):
    return made.target.containers[0].cpu_limit_cores


def test_a_first_step_is_small_and_says_what_is_expected(bench):
    proposal = ask(bench, [2.0])
    assert 1.6 <= limit_of(proposal) < 2.0
    assert proposal.target.extra["knobs"]["main"]["cpu_limit"] == limit_of(proposal)
    (reason,) = [r for r in proposal.reasons if r.code == "search_step"]
    assert "tried so far: 2: 107 ms." in reason.text
    assert "of 400 ms allowed" in reason.text


def test_steps_lead_to_a_small_limit_and_never_break_the_objective(bench):
    limits = [1.0]
    for _ in range(14):
        made = ask(bench, limits)
        if isinstance(made, Declined) or made.no_change_needed:
            break
        limits.append(limit_of(made))
        assert latency(limits[-1]) <= 400
    assert min(limits) <= 0.52  # four fifths of 0.5 cores are in use
    assert len(limits) > 5


def test_a_prediction_is_claimed_once_it_is_narrow(bench):
    narrow = ask(bench, [2.0, 1.9, 1.8, 1.7], noise=0.01).claim
    low, high = narrow.latency_interval_ms
    assert low <= narrow.latency_ms <= high
    assert high / narrow.latency_ms - 1 <= 0.25
    assert narrow.latency_now_ms == pytest.approx(latency(1.7), rel=0.05)


def test_only_a_claimed_step_of_search_has_a_measured_prior(bench):
    claimed = ask(bench, [2.0, 1.9, 1.8, 1.7], noise=0.01)
    assert claimed.prior.mean > 0.5
    assert "docs/research/tuning.md" in claimed.prior.source
    assert bench.ask(image="golang:1.22", env={"GOMAXPROCS": "16"}, cpu_limit_cores=3.5).prior is None


def test_a_limit_never_goes_under_the_request(bench):
    made = ask(bench, [2.0, 1.0], request=0.99)
    assert made.no_change_needed or limit_of(made) >= 0.99


def test_without_an_objective_or_without_room_nothing_is_tried(bench):
    assert "needs a latency objective" in ask(bench, [2.0], slo=None).reason
    assert "no room to try less" in ask(bench, [2.0], slo=110.0).reason


def test_without_the_annotation_nothing_is_tried(bench):
    made = bench.ask(
        metrics={"cpu_limit_cores": np.full(STEPS, 2.0)}, service={"latency_p99_ms": 100},
        slo=Slo(latency_ms=400), cpu_limit_cores=2.0,
    )  # fmt: skip
    assert isinstance(made, Declined)


def test_formulas_come_first(bench):
    proposal = ask(bench, [2.0], image="golang:1.22")
    assert proposal.target.extra["knobs"] == {"main": {"gomaxprocs": 2}}
    assert limit_of(proposal) == 2.0


def test_a_pool_is_searched_for_the_least_latency(bench):
    sizes = np.repeat([20.0, 22.0, 24.0], STEPS // 3)
    p99 = 100 + (sizes - 40) ** 2
    proposal = bench.ask(
        annotations={"perfopt.io/runtime": "jvm21, hikari", "perfopt.io/search": "hikari_maximum_pool_size",
                     "perfopt.io/knob.jvm_active_processor_count": "2"},
        service={"latency_p99_ms": p99, "db_pool_max": sizes, "db_pool_busy": 20, "requests_per_second": 10},
        slo=Slo(latency_ms=1000), cpu_limit_cores=2.0,
    )  # fmt: skip
    assert 24 < proposal.target.extra["knobs"]["main"]["hikari_maximum_pool_size"] <= 30
    assert (
        "SPRING_DATASOURCE_HIKARI_MAXIMUM_POOL_SIZE" in proposal.target.extra["knob_settings"]["main"]["env"]
    )


def test_a_value_that_broke_the_objective_is_set_back(bench):
    proposal = ask(bench, [1.0, 0.9, 0.43])
    assert limit_of(proposal) == pytest.approx(0.9)
    (reason,) = [r for r in proposal.reasons if r.code == "search_back"]
    assert "back to 0.9 cores (current: 0.43 cores)" in reason.text
    assert "of 400 ms allowed" in reason.text


def test_where_no_value_tried_keeps_the_objective_none_is_called_right(bench):
    made = ask(bench, [0.43, 0.425])
    assert isinstance(made, Declined)
    assert "none of the 2 values tried meets the objective" in made.reason


def test_steps_shorten_as_the_limit_fills(bench):
    empty, full = (limit_of(ask(bench, limits, noise=0.01)) / limits[-1] for limits in _EMPTY_AND_FULL)
    assert empty < full < 1


_EMPTY_AND_FULL = ([2.0, 1.9, 1.8, 1.7], [0.62, 0.61, 0.6, 0.59])
