from datetime import UTC, datetime, timedelta

import numpy as np

from perfopt.domain.workload import Container, Workload, WorkloadId, WorkloadState
from perfopt.forecast.features import FEATURES
from perfopt.forecast.training.generated import generated_series
from perfopt.forecast.training.rows import collect
from perfopt.forecast.training.series import TrainingSeries, series_of
from perfopt.metrics.snapshot import PodSeries, TimeGrid, WorkloadSnapshot

HOUR = 3600


def series(name, metric="cpu_cores", days=10, seed=1):
    values = np.random.default_rng(seed).gamma(5, 1, days * 24)
    return TrainingSeries(name, metric, 0, HOUR, values)


def test_rows_are_the_same_for_the_same_series():
    one, two = (collect([series("a"), series("b", seed=2)], 40) for _ in range(2))
    assert np.array_equal(one.outcome, two.outcome)
    assert np.array_equal(one.inputs.features, two.inputs.features)
    assert one.inputs.features.shape == (one.outcome.size, FEATURES)


def test_an_outcome_is_what_came_after_the_origin_in_units_of_its_history():
    values = np.tile(np.r_[np.zeros(12), np.full(12, 8.0)], 9)
    rows = collect([TrainingSeries("steps", "cpu_cores", 0, HOUR, values)], 30)
    assert set(np.round(rows.outcome * rows.scale, 9)) <= {-8.0, -4.0, 0.0, 4.0, 8.0}
    assert rows.seconds.max() <= 7 * 24 * HOUR
    assert rows.seconds.min() == 0
    assert (rows.days >= 3).all()


def test_loads_get_four_times_the_origins_of_other_metrics_and_each_series_its_share():
    names = [f"s{number}" for number in range(4)]
    rows = collect(
        [
            series(name, metric, seed=n)
            for n, name in enumerate(names)
            for metric in ("cpu_cores", "memory_bytes")
        ],
        400,
    )
    sizes = {metric: np.isin(rows.series, rows.of(metric)).sum() for metric in rows.metrics}
    assert 3 < sizes["cpu_cores"] / sizes["memory_bytes"] < 5
    assert len(rows.of("cpu_cores")) == 4


def test_series_with_less_than_a_day_after_some_days_give_nothing():
    rows = collect([series("a"), series("short", days=2)], 40)
    assert rows.of("cpu_cores").tolist() == [0]


def test_generated_series_are_not_measured():
    training_series = list(generated_series(10))
    assert [one.name.rpartition("-")[0] for one in training_series].count("web") == 6
    rows = collect([series("a"), *training_series[:3]], 20)
    assert rows.metrics == ("cpu_cores",)
    assert not rows.measured().all()
    again = {one.name: one.values for one in generated_series(20)}
    assert all(np.array_equal(one.values, again[one.name]) for one in training_series)


def test_the_series_of_a_workload_are_the_hottest_pods_from_first_to_last_sample():
    grid = TimeGrid(datetime(2026, 1, 5, tzinfo=UTC), timedelta(hours=1), 4)
    nan = np.nan
    pods = PodSeries(("x", "y"), np.array([[nan, 1.0, 5.0, nan], [nan, 3.0, nan, nan]]))
    state = WorkloadState(containers=(Container(name="main"),), replicas=2)
    workload = Workload(id=WorkloadId(name="shop"), service_name="shop", state=state)
    service = {"requests_per_second": np.array([1.0, 2, 3, 4]), "events_per_second": np.full(4, nan)}
    found = list(series_of(WorkloadSnapshot(workload, grid, {"main": {"cpu_cores": pods}}, service)))
    assert [(one.metric, one.values.tolist()) for one in found] == [
        ("cpu_cores", [3.0, 5.0]),
        ("requests_per_second", [1.0, 2.0, 3.0, 4.0]),
    ]
    assert found[0].start == found[1].start + HOUR
