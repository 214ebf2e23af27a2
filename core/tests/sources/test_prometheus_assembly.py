"""What counts as missing: outages do, pods that were not there and services scaled to zero do not."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.domain.workload import Container, Workload, WorkloadId, WorkloadState
from perfopt.metrics.snapshot import TimeGrid
from perfopt.sources.prometheus.answer import RangeSeries
from perfopt.sources.prometheus.assembly import SnapshotInputs, assemble
from perfopt.sources.prometheus.rows import SeriesRow

START = datetime(2026, 11, 2, tzinfo=UTC)
GRID = TimeGrid(START, timedelta(minutes=5), 100)
ORIGIN = int(START.timestamp()) * 1000


def row(metric, steps, pod="p", container="main", values=None, counter=False):
    steps = np.array(list(steps), dtype=np.int64)
    values = np.ones(len(steps)) if values is None else np.array(values, dtype=float)
    return SeriesRow(metric, container, pod, counter, RangeSeries({}, ORIGIN + steps * 300_000, values))


def snapshot(*rows, kind="Deployment", images=(), metrics=("cpu_cores", "memory_bytes")):
    workload = Workload(
        id=WorkloadId(namespace="trading", kind=kind, name="api"),
        service_name="api",
        state=WorkloadState(containers=(Container(name="main"),)),
    )
    return assemble(workload, GRID, rows, metrics, SnapshotInputs(images=images))


def coverage(*rows, of="main/cpu_cores", **more):
    found = snapshot(*rows, **more).coverage[of]
    return found.expected, found.present


def test_a_pod_is_expected_from_its_first_to_its_last_sample():
    both = [row("cpu_cores", range(50), "old"), row("cpu_cores", range(50, 100), "new")]
    assert coverage(*both) == (100, 100)


def test_a_hole_within_a_pod_s_life_is_missing():
    assert coverage(row("cpu_cores", [*range(20), *range(30, 100)])) == (100, 90)


def hourly(metric, begins, values, pod="p"):
    """Rows of stretches of 12 steps."""
    series = RangeSeries({}, ORIGIN + np.array(begins) * 300_000, np.array(values, dtype=float))
    return SeriesRow(metric, "main", pod, False, series, coarse=timedelta(hours=1))


def test_an_hourly_value_holds_from_the_pod_s_first_step_to_its_last():
    used = row("cpu_cores", range(7, 30))
    found = snapshot(used, hourly("cpu_limit_cores", [0, 12, 24], [2, 2, 2]))
    limit = found.series("main", "cpu_limit_cores").hottest()
    assert np.flatnonzero(np.isfinite(limit)).tolist() == list(range(7, 30))
    assert found.coverage["main/cpu_cores"].expected == snapshot(used).coverage["main/cpu_cores"].expected


@pytest.mark.parametrize(("samples", "fewer"), [((20, 21), 1), ((21, 22), 1), ((20, 22), 0), ((21,), 2)])
def test_a_rate_that_lacks_in_the_first_or_last_step_of_a_run_is_not_missing(samples, fewer):
    found = snapshot(row("memory_bytes", range(20, 23)), row("cpu_cores", samples))
    expected = [found.coverage[f"main/{metric}"].expected for metric in ("memory_bytes", "cpu_cores")]
    assert expected[0] - expected[1] == fewer


def test_an_hourly_value_outlives_a_pod_s_use():
    found = snapshot(row("cpu_cores", range(20)), hourly("cpu_limit_cores", [0, 12, 24, 36], [2] * 4))
    assert found.coverage["main/cpu_cores"].expected == 100  # the last hour counts as one step
    limit = found.series("main", "cpu_limit_cores").hottest()
    assert np.flatnonzero(np.isfinite(limit))[0] == 0


def test_an_hour_that_begins_before_the_grid_is_cut():
    found = snapshot(row("cpu_cores", range(100)), hourly("cpu_limit_cores", [-8, 4, 16], [2, 2, 2]))
    assert np.isfinite(found.series("main", "cpu_limit_cores").hottest()[:16]).all()


def test_an_hourly_value_of_a_pod_without_use_counts_for_one_step():
    killed = row("oom_kills", [30], "idle")  # without it no node took the pod
    limit = hourly("cpu_limit_cores", [24], [2], pod="idle")
    found = snapshot(row("cpu_cores", range(100)), killed, limit)
    series = found.series("main", "cpu_limit_cores")
    assert np.flatnonzero(np.isfinite(series.values[series.pods.index("idle")]))[0] in range(24, 36)
    assert np.nansum(found.series("main", "oom_kills").values) == 1


def test_a_pod_of_which_only_declarations_are_known_is_no_pod_of_the_workload():
    used, never = row("cpu_cores", range(100)), row("oom_kills", range(100), "waits", values=[0] * 100)
    found = snapshot(used, never, hourly("cpu_limit_cores", [24], [2], pod="waits"))
    assert found.series("main", "cpu_limit_cores") is None
    assert found.coverage["main/cpu_cores"].expected == 100


def test_pods_side_by_side_are_each_expected():
    assert coverage(row("cpu_cores", range(100), "a"), row("cpu_cores", range(0, 100, 2), "b")) == (199, 150)


def test_an_outage_between_two_pods_is_missing():
    assert coverage(row("cpu_cores", range(40), "old"), row("cpu_cores", range(60, 100), "new")) == (100, 80)


def test_an_outage_up_to_the_end_is_missing():
    assert coverage(row("cpu_cores", range(70))) == (100, 70)


def test_a_service_that_is_younger_than_the_period_misses_nothing():
    assert coverage(row("cpu_cores", range(60, 100))) == (40, 40)


def test_a_service_that_was_scaled_to_zero_misses_nothing():
    replicas = row("replicas", range(100), "", "", [0.0 if 40 <= i < 60 else 1.0 for i in range(100)])
    day = [row("cpu_cores", range(40), "old"), row("cpu_cores", range(60, 100), "new")]
    assert coverage(*day, replicas) == (80, 80)


def test_a_job_is_expected_only_while_it_runs():
    assert coverage(row("cpu_cores", range(10)), kind="CronJob") == (10, 10)


def test_a_container_that_was_removed_is_not_missing_afterwards():
    rows = [row("cpu_cores", range(100)), row("cpu_cores", range(30), "p2", container="old-sidecar")]
    assert coverage(*rows, of="old-sidecar/cpu_cores") == (30, 30)


def test_a_metric_that_ends_before_the_pod_does_is_missing_after_it():
    rows = [row("cpu_cores", range(100)), row("memory_bytes", range(50))]
    assert coverage(*rows, of="main/memory_bytes") == (100, 50)


def test_cpu_without_memory_is_reported_as_memory_missing():
    assert coverage(row("cpu_cores", range(100)), of="main/memory_bytes") == (100, 0)


def test_a_container_without_limits_has_no_coverage_of_them():
    found = snapshot(row("cpu_cores", range(100)), metrics=("cpu_cores", "cpu_limit_cores"))
    assert set(found.coverage) == {"main/cpu_cores"}


def test_counter_resets_are_counted_and_reported():
    restarts = row("restarts", range(5), values=[3, 4, 0, 1, 1], counter=True)
    found = snapshot(row("cpu_cores", range(5)), restarts)
    assert np.nansum(found.series("main", "restarts").values) == 2
    assert found.coverage["main/restarts"].resets == 1


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([("v1", 0)], []),
        ([("v1", 0), ("v1", 30)], []),
        ([("v1", 0), ("v2", 30)], [("v2", 30)]),
        ([("v1", 0), ("v2", 30), ("v1", 60)], [("v2", 30), ("v1", 60)]),
    ],
    ids=["one image", "a replaced pod", "a release", "a rollback"],
)
def test_image_changes_are_those_of_releases(seen, expected):
    images = [
        RangeSeries(
            {"container": "main", "image": image, "pod": str(at)},
            ORIGIN + np.arange(at, at + 20, dtype=np.int64) * 300_000,
            np.ones(20),
        )
        for image, at in seen
    ]
    found = snapshot(row("cpu_cores", range(100)), images=images)
    steps = [(change.image, int((change.at - START) / GRID.step)) for change in found.image_changes]
    assert steps == expected


pods = st.lists(st.sets(st.integers(0, 99), min_size=1), min_size=1, max_size=4)


@given(pods)
def test_nothing_is_present_that_was_not_expected(lives):
    rows = [row("cpu_cores", sorted(steps), str(number)) for number, steps in enumerate(lives)]
    found = snapshot(*rows)
    measured = found.coverage["main/cpu_cores"]
    assert measured.present == sum(len(steps) for steps in lives)
    assert measured.present <= measured.expected
    assert measured.fraction <= 1.0
    hottest = found.series("main", "cpu_cores").hottest()
    assert set(np.flatnonzero(~np.isnan(hottest)).tolist()) == set().union(*lives)
