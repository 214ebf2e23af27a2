import numpy as np
import pytest

from perfopt_api.apply.verification.before_after import look_before_after, prepare_before_after
from perfopt_api.apply.verification.verdict import Verdict

from .worlds import from_step, history

DAY, HORIZON = 1440, 60
PAST = 2 * DAY


def judged(slow, *, requests=600.0, seed=0):
    pods = history(slow, pods=1, steps=PAST + HORIZON, requests=requests, seed=seed)
    test = prepare_before_after(pods.between(0, PAST), HORIZON)
    return test, look_before_after(test, pods, PAST)


def test_a_replica_alone_that_is_slower_afterwards_fails():
    slow = from_step(0.12, 0.05, pods=1, steps=PAST + HORIZON, at=PAST)
    test, verdict = judged(slow)
    assert (verdict.verdict, verdict.metric) == (Verdict.FAILED, "slow_requests_over_100ms")
    assert test.calibration.runs > 100


def test_a_replica_alone_that_is_as_before_does_not_fail():
    assert judged(0.05)[1].verdict is not Verdict.FAILED


def test_load_that_rises_after_the_change_is_not_taken_for_the_change():
    minutes = np.arange(PAST + HORIZON)
    load = 1 + 0.6 * np.sin(2 * np.pi * minutes / DAY)
    slow = 0.04 * load[None, :] ** 2
    pods = history(slow, pods=1, steps=PAST + HORIZON, requests=600.0)
    pods.requests[:] = np.random.default_rng(1).poisson(600 * load)
    pods.latency.within[:] = (pods.requests * (1 - slow))[:, :, None]
    test = prepare_before_after(pods.between(0, PAST), HORIZON)
    assert look_before_after(test, pods, PAST).verdict is not Verdict.FAILED


@pytest.mark.parametrize("levels", [1, 2])
def test_a_load_of_one_or_two_values_is_no_error(levels):
    pods = history(pods=1, steps=PAST + HORIZON, requests=600.0)
    pods.requests[:] = 600.0 + 60.0 * (np.arange(PAST + HORIZON) % levels)
    pods.latency.within[:] = (0.95 * pods.requests)[:, :, None]
    verdict = look_before_after(prepare_before_after(pods.between(0, PAST), HORIZON), pods, PAST)
    assert verdict.verdict is not Verdict.FAILED


def test_a_change_that_makes_latency_erratic_does_not_hide_in_its_own_noise():
    slow = np.full((1, PAST + HORIZON), 0.05)
    slow[0, PAST::12] = 0.6
    assert judged(slow)[1].verdict is Verdict.FAILED


def test_nothing_is_said_before_the_first_look():
    slow = from_step(0.3, 0.05, pods=1, steps=PAST + HORIZON, at=PAST)
    pods = history(slow, pods=1, steps=PAST + HORIZON, requests=600.0)
    test = prepare_before_after(pods.between(0, PAST), HORIZON)
    assert look_before_after(test, pods.between(0, PAST + 10), PAST).verdict is Verdict.INCONCLUSIVE
    assert look_before_after(test, pods.between(0, PAST + 32), PAST).verdict is Verdict.FAILED


def test_a_workload_that_shows_nothing_cannot_be_judged():
    pods = history(pods=1, steps=400)
    bare = type(pods)(pods.grid, pods.pods)
    test = prepare_before_after(bare.between(0, 340), HORIZON)
    assert test.metrics == ()
    assert look_before_after(test, bare, 340).verdict is Verdict.INCONCLUSIVE


def test_failures_too_rare_and_erratic_for_a_ratio_pass_by_their_share_of_requests():
    steps, at = 1000, 940
    hourly = np.exp(np.random.default_rng(3).normal(0, 1, steps // 20)).repeat(20)
    erratic = history(0.05, pods=1, steps=steps, requests=5000.0, failed=0.0001 * hourly[None, :])
    test = prepare_before_after(erratic.between(0, at), steps - at)
    verdict = look_before_after(test, erratic, at)
    [share] = [one for one in verdict.bounds if one.name.startswith("failed")]
    assert (share.name, share.margin) == ("failed_requests_share", pytest.approx(0.001))
    assert share.upper < share.margin
    assert verdict.verdict is Verdict.PASSED


def test_failures_above_the_accepted_share_are_not_passed_by_it():
    steps, at = 1000, 940
    failing = from_step(0.01, 0.00005, pods=1, steps=steps, at=at)
    more = history(0.05, pods=1, steps=steps, requests=600.0, failed=failing)
    test = prepare_before_after(more.between(0, at), steps - at)
    assert look_before_after(test, more, at).verdict is not Verdict.PASSED
