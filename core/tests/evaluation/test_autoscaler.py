"""An autoscaler in steps of five minutes: worked out by hand."""

import numpy as np
import pytest

from perfopt.domain.workload import HpaState
from perfopt.evaluation.autoscaler import SteppedAutoscaler


def replicas(needed, *, behavior=None, running=4.0, minimum=1.0, maximum=20, step=300):
    hpa = HpaState(max_replicas=maximum, target_cpu_utilization_percent=50, behavior=behavior)
    found = SteppedAutoscaler.of(hpa, step).replicas(
        np.array(needed, float), np.full(len(needed), minimum), running
    )
    return found.tolist()


def down(window=0, *policies, select="Max"):
    rules = {"stabilizationWindowSeconds": window, "selectPolicy": select}
    return {"scaleDown": rules | ({"policies": list(policies)} if policies else {})}


def up(*policies, window=0, select="Max"):
    rules = {"stabilizationWindowSeconds": window, "selectPolicy": select}
    return {"scaleUp": rules | ({"policies": list(policies)} if policies else {})}


def pods(value, period=60):
    return {"type": "Pods", "value": value, "periodSeconds": period}


def percent(value, period=60):
    return {"type": "Percent", "value": value, "periodSeconds": period}


def test_demand_is_seen_a_step_later_and_rounded_up():
    assert replicas([7.2, 7.2, 7.2]) == [4, 8, 8]


def test_within_the_tolerance_of_ten_percent_it_stays():
    assert replicas([4.4, 4.5, 4.5]) == [4, 4, 5]
    assert replicas([3.6, 3.5, 3.5], behavior=down()) == [4, 4, 4]
    assert replicas([2.9, 2.9, 2.9], behavior=down()) == [4, 3, 3]


def test_the_tolerance_keeps_more_replicas_than_are_needed():
    assert replicas([18.5, 17.9, 17.9], running=20, behavior=down()) == [20, 20, 18]
    assert replicas([18.0, 18.0], running=20, behavior=down()) == [20, 20]


def test_it_goes_down_after_the_window_to_the_highest_that_was_recommended_in_it():
    needed = [2.0, 3.0, 1.0, 1.0, 1.0, 1.0]
    assert replicas(needed, behavior=down(0)) == [4, 2, 3, 1, 1, 1]
    assert replicas(needed) == [4, 4, 3, 3, 1, 1]  # Kubernetes' default is five minutes
    assert replicas(needed, behavior=down(600)) == [4, 4, 4, 3, 3, 1]
    assert replicas(needed, behavior=down(601)) == replicas(needed, behavior=down(900))


def test_it_goes_up_after_a_window_to_the_lowest_that_was_recommended_in_it():
    assert replicas([6.0, 9.0, 9.0, 9.0], behavior=up(window=300)) == [4, 4, 6, 9]


def test_a_policy_is_applied_as_often_as_its_period_fits_into_a_step():
    assert replicas([20.0, 20.0, 20.0], behavior=up(pods(1))) == [4, 9, 14]
    assert replicas([20.0, 20.0, 20.0], behavior=up(percent(10))) == [4, 7, 12]  # 4 × 1.1⁵ = 6.4
    assert replicas([1.0, 1.0, 1.0], running=20, behavior=down(0, pods(2))) == [20, 10, 1]
    assert replicas([1.0, 1.0, 1.0], running=20, behavior=down(0, percent(10))) == [20, 11, 6]


def test_a_period_of_several_steps_counts_from_its_start():
    assert replicas([20.0] * 5, behavior=up(pods(4, period=600))) == [4, 8, 8, 12, 12]


def test_of_several_policies_the_chosen_one_counts_and_disabled_moves_nothing():
    both = (pods(1), percent(100))
    assert replicas([20.0, 20.0], behavior=up(*both)) == [4, 20]
    assert replicas([20.0, 20.0], behavior=up(*both, select="Min")) == [4, 9]
    assert replicas([20.0, 20.0], behavior=up(*both, select="Disabled")) == [4, 4]
    assert replicas([1.0, 1.0], running=20, behavior=down(0, pods(1), percent(10))) == [20, 11]
    assert replicas([1.0, 1.0], running=20, behavior=down(0, pods(1), percent(10), select="Min")) == [20, 15]
    assert replicas([1.0, 1.0], running=9, behavior=down(0, select="Disabled")) == [9, 9]


def test_bounds_hold_at_once_and_do_not_count_as_recommended():
    assert replicas([9.0, 9.0], maximum=6) == [4, 6]
    assert replicas([1.0, 1.0, 1.0], minimum=3.0) == [4, 4, 3]
    assert replicas([1.0], running=2, minimum=3.0) == [3]


def test_no_demand_keeps_one_replica():
    assert replicas([0.0, 0.0, 0.0], running=2) == [2, 2, 1]


@pytest.mark.parametrize("behavior", [{"scaleDown": {"stabilizationWindowSeconds": -1}}, {"scaleUp": 3}])
def test_a_behavior_that_cannot_be_read_counts_as_the_default(behavior):
    needed = [2.0, 3.0, 1.0, 1.0]
    assert replicas(needed, behavior=behavior) == replicas(needed)


def test_the_tolerance_of_a_behavior_is_used():
    behavior = {"scaleUp": {"tolerance": 0.5}}
    assert replicas([5.9, 6.1, 6.1], behavior=behavior) == [4, 4, 7]


def rules(draw):
    """Returns the settings of one direction, drawn at random."""
    policies = [
        {"type": str(draw.choice(["Pods", "Percent"])), "value": int(value), "periodSeconds": int(period)}
        for value, period in zip(draw.choice([1, 3, 50, 100], 2), draw.choice([60, 300, 900], 2), strict=True)
    ]
    return {
        "stabilizationWindowSeconds": int(draw.choice([0, 300, 900])),
        "selectPolicy": str(draw.choice(["Max", "Min", "Disabled"], p=[0.45, 0.45, 0.1])),
        "policies": policies,
        "tolerance": float(draw.choice([0.0, 0.1, 0.5])),
    }


@pytest.mark.parametrize("seed", range(200))
def test_steps_that_change_nothing_are_left_out_without_a_difference(seed, monkeypatch):
    draw = np.random.default_rng(seed)
    needed = np.repeat(draw.exponential(draw.choice([2.0, 8.0]), 40), 3)
    maximum = int(draw.integers(3, 15))
    minimum = np.clip(np.repeat(draw.integers(1, 6, 12), 10), 1, maximum).astype(float)
    hpa = HpaState(
        max_replicas=maximum,
        target_cpu_utilization_percent=50,
        behavior={"scaleUp": rules(draw), "scaleDown": rules(draw)},
    )
    scaler, running = SteppedAutoscaler.of(hpa, 300), float(draw.integers(1, 18))
    found = scaler.replicas(needed, minimum, running)
    monkeypatch.setattr(
        "perfopt.evaluation.autoscaler._Course.next_change", lambda course, running, step: step
    )
    assert found.tolist() == scaler.replicas(needed, minimum, running).tolist()
