"""What a ScaledObject asks for, on a grid of one day in steps of an hour."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from perfopt.domain.workload import Container, WorkloadState
from perfopt.evaluation.keda import cron_minimum, hpa_of
from perfopt.evaluation.scaling import planned_replicas
from perfopt.metrics.snapshot import TimeGrid
from perfopt.testing import make_snapshot

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
GRID = TimeGrid(MONDAY, timedelta(hours=1), 24)


def scaled(*triggers, **spec):
    return {"spec": {"triggers": list(triggers), **spec}}


def cron(start, end, replicas=5, timezone="UTC"):
    times = {"start": start, "end": end, "desiredReplicas": str(replicas), "timezone": timezone}
    return {"type": "cron", "metadata": times}


def cpu(value="60", kind="Utilization"):
    return {"type": "cpu", "metricType": kind, "metadata": {"value": value}}


def hours(*triggers, grid=GRID):
    floor = cron_minimum(scaled(*triggers), grid)
    return {int(hour): floor[hour] for hour in np.flatnonzero(np.isfinite(floor))}


def test_a_cron_trigger_asks_from_each_start_to_the_next_end():
    assert hours(cron("0 8 * * *", "0 11 * * *")) == {8: 5, 9: 5, 10: 5}


def test_one_that_began_yesterday_is_still_active_at_midnight():
    assert list(hours(cron("0 22 * * *", "0 2 * * *"))) == [0, 1, 22, 23]


def test_of_several_the_highest_counts():
    assert hours(cron("0 8 * * *", "0 10 * * *", 3), cron("0 9 * * *", "0 11 * * *", 7)) == {
        8: 3,
        9: 7,
        10: 7,
    }


@pytest.mark.parametrize(
    ("start", "end", "active"),
    [
        ("30 8 * * *", "30 9 * * *", [9]),  # the first minute of a step counts
        ("0 8,20 * * *", "0 9,21 * * *", [8, 20]),
        ("0 */6 * * *", "0 1-23/6 * * *", [0, 6, 12, 18]),
        ("0 5/6 * * *", "0 */6 * * *", [5, 11, 17, 23]),
        ("0 8 * * 1-5", "0 9 * * 1-5", [8]),
        ("0 8 * * 0", "0 9 * * 7", []),  # Sunday, by both of its numbers
        ("0 8 2 3 *", "0 9 2 3 *", [8]),
        ("0 8 3 * 1", "0 9 * * *", [8]),  # a day of the month or of the week
        ("0 8 * * 6,7", "0 9 * * 6,7", []),
        ("59 23 * * *", "0 0 * * *", []),  # over before the first minute of a step
    ],
)
def test_expressions_are_read_as_cron_has_them(start, end, active):
    assert list(hours(cron(start, end))) == active


def test_times_are_of_the_time_zone():
    assert list(hours(cron("0 8 * * *", "0 10 * * *", timezone="Europe/Berlin"))) == [7, 8]


@pytest.mark.parametrize(
    "trigger",
    [
        cron("8", "0 9 * * *"),
        cron("0 25 * * *", "0 9 * * *"),
        cron("0 8 0 * *", "0 9 * * *"),
        cron("0 8 * * * *", "0 9 * * *"),
        cron("a b c d e", "0 9 * * *"),
        cron("0 8 * * *", "0 9 * * *", replicas="many"),
        cron("0 8 * * *", "0 9 * * *", timezone="Mars/Base"),
        {"type": "cron"},
    ],
)
def test_a_trigger_that_cannot_be_read_asks_for_nothing(trigger):
    assert hours(trigger) == {}


def test_the_autoscaler_has_the_bounds_and_the_cpu_trigger():
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 60}}
    advanced = {"horizontalPodAutoscalerConfig": {"behavior": behavior}}
    state = hpa_of(scaled(cpu(), {"type": "kafka"}, minReplicaCount=2, maxReplicaCount=7, advanced=advanced))
    assert (state.min_replicas, state.max_replicas) == (2, 7)
    assert state.target_cpu_utilization_percent == 60
    assert state.other_metrics == ("kafka",)
    assert state.behavior == behavior


def test_a_trigger_without_a_metric_type_is_of_utilisation_and_without_a_zone_of_utc():
    plain = {"type": "cpu", "metadata": {"value": "70"}}
    assert hpa_of(scaled(plain)).target_cpu_utilization_percent == 70
    assert hpa_of(scaled({"type": "cpu"})).target_cpu_utilization_percent is None
    times = {"start": "0 8 * * *", "end": "0 9 * * *", "desiredReplicas": "2"}
    assert hours({"type": "cron", "metadata": times}) == {8: 2}
    assert hours(cpu(), "text") == {}


def test_defaults_are_those_of_keda_and_zero_replicas_count_as_one():
    state = hpa_of({"spec": {}})
    assert (state.min_replicas, state.max_replicas, state.target_cpu_utilization_percent) == (1, 100, None)
    assert hpa_of(scaled(cpu(kind="AverageValue"))).target_cpu_utilization_percent is None
    assert hpa_of(scaled(cpu("sixty"))).target_cpu_utilization_percent is None


def test_a_scaled_object_without_an_hpa_is_stepped_over_its_cron_minimum():
    state = WorkloadState(containers=(Container(name="main", cpu_request_cores=1.0),), replicas=2)
    used = make_snapshot(
        {"main": {"cpu_cores": np.full(24, 0.6)}}, state=state, end=GRID.end, step=timedelta(hours=1)
    )
    spec = scaled(cpu("40"), cron("0 8 * * *", "0 10 * * *"), maxReplicaCount=6)
    target = WorkloadState(containers=state.containers, replicas=2, extra={"keda_scaled_object": spec})
    assert planned_replicas(target, used).tolist() == [2] + [3] * 7 + [5] * 2 + [3] * 14
