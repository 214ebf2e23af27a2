import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfopt.errors import InvalidInputError
from perfopt.metrics.pods import PodHistory
from perfopt_api.apply.verification.canary import CanaryTest, difference, look, prepare
from perfopt_api.apply.verification.harm import HarmMargins, HarmVerdict
from perfopt_api.apply.verification.verdict import Verdict

from .worlds import from_step, history

PAST, HORIZON = 270, 30


def verified(
    pods: PodHistory, canary: tuple[str, ...] = ("a",), **more: object
) -> tuple[CanaryTest, HarmVerdict]:
    test = prepare(pods.between(0, PAST), canary, HORIZON, placebos=100, **more)
    return test, look(test, pods.between(PAST, pods.grid.size))


def test_a_canary_that_makes_more_requests_slow_fails_and_says_by_what():
    _, verdict = verified(history(from_step(0.1, 0.05)))
    assert verdict.verdict is Verdict.FAILED
    assert verdict.metric == "slow_requests_over_100ms"
    bounds = next(one for one in verdict.bounds if one.name == verdict.metric)
    assert bounds.estimate == pytest.approx(2.0, rel=0.15)
    assert bounds.lower > 1
    assert verdict.step < HORIZON


def test_a_canary_that_fails_requests_fails():
    _, verdict = verified(history(failed=from_step(0.02, 0.0002)))
    assert (verdict.verdict, verdict.metric) == (Verdict.FAILED, "failed_requests")


def test_a_canary_that_is_throttled_fails():
    _, verdict = verified(history(throttled=from_step(0.12, 0.02)))
    assert (verdict.verdict, verdict.metric) == (Verdict.FAILED, "cpu_throttled_fraction")


def test_a_harmless_canary_passes_once_harm_is_ruled_out():
    _, verdict = verified(history(requests=3000.0))
    assert verdict.verdict is Verdict.PASSED
    assert all(one.upper < one.margin for one in verdict.bounds)


def test_failures_so_rare_that_their_ratio_stays_unknown_are_judged_by_their_share():
    few = history(requests=3000.0, failed=0.0002)
    _, verdict = verified(few)
    assert verdict.verdict is Verdict.PASSED
    narrow = HarmMargins(failed_share=1e-6)
    assert verified(few, margins=narrow)[1].verdict is Verdict.INCONCLUSIVE


def test_failures_above_the_accepted_share_do_not_pass():
    failing = from_step(0.0025, 0.001)
    _, verdict = verified(history(requests=600.0, failed=failing))
    assert verdict.verdict is not Verdict.PASSED


def test_failures_of_all_pods_alike_do_not_keep_a_canary_from_passing():
    everywhere = np.full((6, 300), 0.0002)
    everywhere[:, PAST:] = 0.004
    _, verdict = verified(history(requests=6000.0, failed=everywhere))
    assert verdict.verdict is Verdict.PASSED


def test_harm_at_the_margin_passes_in_no_more_than_the_share_stated():
    tolerated = 0
    for seed in range(20):
        pods = history(0.05, requests=60.0, seed=seed)
        test = prepare(pods.between(0, PAST), ("a",), HORIZON, placebos=0)
        slow = next(one for one in test.metrics if one.name == "slow_requests")
        harmed = history(from_step(0.05 * np.exp(slow.margin), 0.05), requests=60.0, seed=100 + seed)
        tolerated += look(test, harmed.between(PAST, 300)).verdict is Verdict.PASSED
    assert tolerated <= 2


def test_a_certain_pass_takes_longer_than_a_likely_one():
    steps = []
    for beta in (0.2, 0.001):
        _, verdict = verified(history(requests=900.0), beta=beta)
        assert verdict.verdict is Verdict.PASSED
        steps.append(verdict.step)
    assert steps[0] < steps[1]


def test_a_level_is_known_by_the_deadline_although_the_past_wanders():
    rng = np.random.default_rng(9)
    wandering = 0.02 + 0.002 * np.repeat(rng.normal(size=(6, 10)), 30, axis=1)
    test, verdict = verified(history(requests=3000.0, throttled=wandering))
    assert max(metric.block for metric in test.metrics) <= HORIZON // 10
    assert verdict.verdict is Verdict.PASSED


def test_too_few_requests_are_inconclusive_and_never_a_pass():
    _, verdict = verified(history(requests=4.0))
    assert verdict.verdict is Verdict.INCONCLUSIVE


def test_no_data_since_the_change_is_inconclusive():
    test, _ = verified(history())
    silent = history(requests=0.0, steps=30)
    assert look(test, silent).verdict is Verdict.INCONCLUSIVE
    assert look(test, PodHistory(silent.grid, silent.pods)).verdict is Verdict.INCONCLUSIVE
    assert look(test, silent.between(0, 0)).verdict is Verdict.INCONCLUSIVE


def test_a_failure_stays_although_the_canary_recovers():
    slow = from_step(0.2, 0.05)
    slow[0, PAST + 15 :] = 0.02
    _, verdict = verified(history(slow))
    assert verdict.verdict is Verdict.FAILED


def test_a_burst_of_all_pods_is_no_harm():
    slow = np.full((6, 300), 0.05)
    slow[:, PAST + 5 : PAST + 20] = 0.4
    _, verdict = verified(history(slow))
    assert verdict.verdict is not Verdict.FAILED


def test_a_pod_that_was_always_slower_is_no_harm():
    slow = np.full((6, 300), 0.05)
    slow[0] = 0.1
    _, verdict = verified(history(slow))
    assert verdict.verdict is not Verdict.FAILED


def test_a_stall_of_two_minutes_is_no_harm():
    slow = np.full((6, 300), 0.05)
    slow[0, PAST + 20 : PAST + 22] = 0.9
    _, verdict = verified(history(slow))
    assert verdict.verdict is not Verdict.FAILED


def test_pods_that_wander_widen_the_bounds():
    rng = np.random.default_rng(7)
    wandering = 0.05 * np.exp(np.cumsum(rng.normal(0, 0.15, (6, 300)), axis=1).clip(-1, 1))
    calm, _ = verified(history())
    wide, _ = verified(history(wandering))
    widening = [max(metric.widening for metric in test.metrics) for test in (calm, wide)]
    assert widening[0] < 1.3 < widening[1]
    assert wide.calibration.false_alarms > calm.calibration.false_alarms


def test_a_short_past_allows_no_placebo_and_says_so():
    test = prepare(history().between(0, 20), ("a",), HORIZON)
    assert test.calibration.runs == 0
    assert test.calibration.false_alarms is None


def test_few_placebos_show_no_smaller_rate_than_they_can():
    test, _ = verified(history(), alpha=0.001)
    assert test.calibration.alpha == pytest.approx(1 / 101)


def test_a_margin_is_what_a_latency_higher_by_so_much_would_do():
    wide = prepare(history(), ("a",), HORIZON, margins=HarmMargins(latency_increase=0.5))
    narrow = prepare(history(), ("a",), HORIZON, margins=HarmMargins(latency_increase=0.1))
    margins = [
        next(metric.margin for metric in test.metrics if metric.name == "slow_requests")
        for test in (narrow, wide)
    ]
    assert margins[0] < margins[1]


@pytest.mark.parametrize(
    ("canary", "message"),
    [((), "No pod"), (("z",), "z is not among"), (tuple("abcdef"), "no pod beside")],
)
def test_a_canary_needs_known_pods_and_others(canary, message):
    with pytest.raises(InvalidInputError, match=message) as caught:
        prepare(history(), canary, HORIZON)
    assert caught.value.field == "canary"


@settings(deadline=None, max_examples=15)
@given(order=st.permutations(range(6)), scale=st.sampled_from([1, 3]))
def test_the_order_of_pods_does_not_matter(order, scale):
    pods = history(from_step(0.09, 0.05), requests=200.0 * scale)
    shuffled = PodHistory(
        pods.grid,
        tuple(pods.pods[at] for at in order),
        pods.requests[order],
        pods.failed[order],
        type(pods.latency)(pods.latency.bounds, pods.latency.within[order]),
        {name: values[order] for name, values in pods.levels.items()},
    )
    known = prepare(pods.between(0, PAST), ("a",), HORIZON, placebos=0)
    other = prepare(shuffled.between(0, PAST), ("a",), HORIZON, placebos=0)
    one, two = (look(test, each.between(PAST, 300)) for test, each in ((known, pods), (other, shuffled)))
    assert (one.verdict, one.metric, one.step) == (two.verdict, two.metric, two.step)


def test_a_difference_is_unknown_where_one_side_is():
    values = np.array([[1.0, np.nan, 3.0], [0.0, 1.0, np.nan], [1.0, 2.0, np.nan]])
    apart = difference(values, np.array([0]), np.array([1, 2]))
    assert apart[0] == pytest.approx(0.5)
    assert np.isnan(apart[1:]).all()
