import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.autoscaling import AutoscalerSettings, Behavior, SimulatedDemand, run_loop
from perfopt.autoscaling.controller import Controller, ExternalMetric, PodCounts, ResourceMetric
from perfopt.errors import InvalidInputError


def ask(usage, pods, target=0.5):
    return ResourceMetric(usage, target).desired(pods, 0.1, 0.1)


def all_ready(count):
    return PodCounts(count, count)


def test_desired_replicas_is_current_times_the_ratio_rounded_up():
    assert ask(1.0, all_ready(3)) == 6  # 200m against 100m doubles, as the documentation has it
    assert ask(0.25, all_ready(4)) == 2
    assert ask(0.6, all_ready(3)) == 4


@pytest.mark.parametrize("usage", [0.451, 0.5, 0.549])
def test_a_ratio_near_one_changes_nothing(usage):
    assert ask(usage, all_ready(7)) == 7


def test_pods_that_are_not_ready_count_as_idle_when_scaling_up():
    # 2 ready at 100 % and 2 that start: (1 + 1 + 0 + 0) / 4 = 50 % is on target, so nothing is added
    assert ask(1.0, PodCounts(4, 2)) == 4
    assert ask(2.0, PodCounts(4, 2)) == 8


def test_pods_that_are_not_ready_are_left_out_when_scaling_down():
    assert ask(0.1, PodCounts(6, 5)) == 1


def test_missing_metrics_are_full_when_scaling_down_and_idle_when_scaling_up():
    # down: (3 x 10 % + 1 x 100 %) / 4 = 32.5 %, 0.65 x 4 = 2.6
    assert ask(0.1, PodCounts(4, 4, missing=1)) == 3
    # up: (3 x 80 % + 0) / 4 = 60 %, 1.2 x 4 = 4.8
    assert ask(0.8, PodCounts(4, 4, missing=1)) == 5


def test_missing_metrics_that_would_turn_the_direction_change_nothing():
    assert ask(0.4, PodCounts(4, 4, missing=3)) == 4
    assert ask(0.6, PodCounts(4, 4, missing=3)) == 4


def test_a_shared_metric_is_divided_by_its_target_per_replica():
    assert ExternalMetric(33.0, 10.0).desired(all_ready(2), 0.1, 0.1) == 4
    assert ExternalMetric(21.0, 10.0).desired(all_ready(2), 0.1, 0.1) == 2  # within the tolerance


def test_the_highest_metric_counts_and_a_failed_one_only_stops_scaling_down():
    controller = Controller(100)
    assert controller.sync(0, all_ready(4), [ResourceMetric(0.5, 0.5), ExternalMetric(7, 1)]) == 7
    assert Controller(100).sync(0, all_ready(4), [ResourceMetric(0.1, 0.5), ExternalMetric(None, 1)]) == 4
    assert Controller(100).sync(0, all_ready(4), [ResourceMetric(1.0, 0.5), ExternalMetric(None, 1)]) == 8


def drive(controller, desires, start, step=15):
    sizes, size = [], start
    for loop, desired in enumerate(desires):
        size = controller.sync(loop * step, all_ready(size), [ExternalMetric(float(desired), 1.0)])
        sizes.append(size)
    return sizes


def test_scaling_down_waits_for_the_highest_of_five_minutes():
    sizes = drive(Controller(100), [10] + [2] * 25, 10)
    assert sizes[:20] == [10] * 20
    assert sizes[20] == 2


def test_scaling_up_has_no_window_and_at_most_doubles_or_adds_four_in_fifteen_seconds():
    assert drive(Controller(1000), [500] * 5, 1) == [5, 10, 20, 40, 80]


def test_a_window_up_takes_the_lowest_recommendation():
    behavior = Behavior.parse({"scaleUp": {"stabilizationWindowSeconds": 60}})
    assert drive(Controller(100, behavior=behavior), [5, 8, 8, 8, 8, 8], 5) == [5, 5, 5, 5, 8, 8]


def test_a_policy_counts_the_changes_of_its_period():
    rules = {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]}
    up = Behavior.parse({"scaleUp": rules})
    assert drive(Controller(100, behavior=up), [20] * 6, 4) == [6, 6, 6, 6, 8, 8]
    down = Behavior.parse({"scaleDown": rules | {"stabilizationWindowSeconds": 0}})
    assert drive(Controller(100, behavior=down), [1] * 6, 10) == [8, 8, 8, 8, 6, 6]


def test_select_policy_takes_the_most_the_least_or_nothing():
    policies = [
        {"type": "Pods", "value": 1, "periodSeconds": 60},
        {"type": "Percent", "value": 50, "periodSeconds": 60},
    ]
    sizes = {}
    for select in ("Max", "Min", "Disabled"):
        behavior = Behavior.parse({"scaleUp": {"policies": policies, "selectPolicy": select}})
        sizes[select] = drive(Controller(100, behavior=behavior), [50], 10)[0]
    assert sizes == {"Max": 15, "Min": 11, "Disabled": 10}


def test_ten_per_cent_of_eighty_go_each_minute_and_the_last_ones_one_by_one():
    # the documentation's example: 80, 72, then 10 % of what is there, rounded
    behavior = Behavior.parse(
        {
            "scaleDown": {
                "stabilizationWindowSeconds": 0,
                "policies": [
                    {"type": "Pods", "value": 4, "periodSeconds": 60},
                    {"type": "Percent", "value": 10, "periodSeconds": 60},
                ],
            }
        }
    )
    sizes = drive(Controller(100, behavior=behavior), [10] * 3, 80, step=60)
    assert sizes == [72, 64, 57]


def test_bounds_hold_at_once():
    assert Controller(5).sync(0, all_ready(9), []) == 5
    assert Controller(9, minimum=4).sync(0, all_ready(2), []) == 4


@given(
    st.lists(st.tuples(st.floats(0, 5), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60),
    st.integers(1, 5),
    st.integers(5, 50),
)
def test_any_loop_stays_within_bounds_and_policies(loads, minimum, maximum):
    controller, size = Controller(maximum, minimum=minimum), minimum
    for loop, (usage, unready, missing) in enumerate(loads):
        ready = max(size - unready, 0)
        pods = PodCounts(size, ready, min(missing, ready))
        wanted = controller.sync(loop * 15, pods, [ResourceMetric(usage, 0.5)])
        assert minimum <= wanted <= maximum
        assert wanted <= max(size * 2, size + 4)
        size = wanted


@given(st.floats(0.01, 3), st.integers(1, 40), st.integers(0, 39), st.integers(0, 39))
def test_missing_and_unready_pods_never_make_it_bolder(usage, running, unready, missing):
    unready = min(unready, running - 1)
    missing = min(missing, running - unready - 1)
    plain = math.ceil(usage / 0.5 * running - 1e-9)
    careful = ask(usage, PodCounts(running, running - unready, missing))
    if usage / 0.5 > 1.1:
        assert running <= careful <= max(plain, running)
    if usage / 0.5 < 0.9 and not unready:
        assert min(plain, running) <= careful <= running


@given(st.lists(st.integers(1, 60), min_size=30, max_size=80), st.integers(0, 40))
def test_never_below_the_highest_wish_of_the_window_that_it_reached(wishes, at):
    controller, size, sizes = Controller(100), 1, []
    for loop, wish in enumerate(wishes):
        size = controller.sync(loop * 15, all_ready(size), [ExternalMetric(float(wish), 1.0)])
        sizes.append(size)
    begin = max(at - 19, 0)
    if at < len(wishes) and at:
        assert sizes[at] >= min(sizes[at - 1], max(wishes[begin : at + 1]))


@pytest.mark.parametrize(
    ("behavior", "field"),
    [
        ({"scaleUp": 3}, "scaleUp"),
        ({"scaleUp": {"selectPolicy": "Most"}}, "selectPolicy"),
        ({"scaleDown": {"stabilizationWindowSeconds": 4000}}, "stabilizationWindowSeconds"),
        ({"scaleDown": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 60}]}}, "value"),
        ({"scaleDown": {"policies": [{"type": "Some", "value": 1, "periodSeconds": 60}]}}, "type"),
        ({"scaleDown": {"policies": "x"}}, "policies"),
        ({"scaleUp": {"tolerance": -1}}, "tolerance"),
        ({"scaleUp": {"tolerance": "much"}}, "tolerance"),
    ],
)
def test_a_wrong_behavior_is_named(behavior, field):
    with pytest.raises(InvalidInputError) as caught:
        Behavior.parse(behavior)
    assert field in caught.value.field


def test_new_pods_are_ready_after_their_start_up():
    demand = np.r_[np.full(10, 2.0), np.full(20, 8.0)]
    world = SimulatedDemand(demand, 1.0, warmup_minutes=0)
    ready, wanted = run_loop(world, AutoscalerSettings(0.5, 100))
    assert wanted[9] == 4
    assert ready[11] == 4  # more are wanted from minute 10 on and ready two minutes later
    assert ready[-1] == 16


def test_a_floor_raises_replicas_before_demand_does():
    demand = np.full(20, 2.0)
    floor = np.where(np.arange(20) >= 5, 9, 1)
    ready, wanted = run_loop(SimulatedDemand(demand, 1.0), AutoscalerSettings(0.5, 100, floor=floor))
    assert wanted[5] == 9
    assert ready[8] == 9


def test_a_plan_as_a_second_metric_takes_the_higher_of_the_two():
    demand = np.full(30, 2.0)
    plan = np.where(np.arange(30) >= 5, 12, 1)
    _, wanted = run_loop(SimulatedDemand(demand, 1.0), AutoscalerSettings(0.5, 100, plan=plan))
    assert wanted[4] == 4
    assert wanted[-1] == 12
