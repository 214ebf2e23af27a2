from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from perfopt.config import Config
from perfopt.domain.enums import Basis, ServiceClass
from perfopt.errors import NoDataError
from perfopt.sources.base import FailedSnapshot
from perfopt.sources.factory import open_source

START = datetime(2026, 11, 1, tzinfo=UTC)
STEP = timedelta(minutes=5)
USAGE = ("cpu_cores", "memory_bytes")


def rows(series, metric, values, start=START, step=STEP):
    return [(series, start + i * step, metric, value) for i, value in enumerate(values)]


def write(path, samples, **options):
    series, times, metrics, values = zip(*samples, strict=True)
    table = pa.table(
        {
            "series_id": pa.array(series).dictionary_encode(),
            "timestamp": pa.array(times, pa.timestamp("ms", "UTC")),
            "metric": pa.array(metrics).dictionary_encode(),
            "value": pa.array(values, pa.float32()),
        }
    )
    if path.suffix == ".csv":
        pyarrow.csv.write_csv(
            table.cast(pa.schema([(c, _plain(table[c].type)) for c in table.column_names])), path
        )
    else:
        pq.write_table(table, path, **options)
    return path


def _plain(kind):
    return pa.string() if pa.types.is_dictionary(kind) else kind


def source(path, services=None):
    return open_source(str(path), Config(), services)


async def snapshot(opened, name, start, end, metrics=USAGE):
    workloads = [w for w in await opened.inventory(end) if w.service_name == name]
    found = [item async for item in opened.snapshots(workloads, start, end, metrics)]
    assert len(found) == 1
    return found[0]


WEB = [
    *rows("shop/web", "cpu_cores", [0.1, 0.2, 0.3, 0.4]),
    *rows("shop/web", "cpu_limit_cores", [2.0]),
    *rows("shop/web", "memory_bytes", [100.0, 200.0, 300.0, 400.0]),
    *rows("shop/web", "memory_limit_bytes", [2.0**30]),
    *rows("shop/web", "requests_per_second", [1.0, 2.0, 3.0, 4.0]),
]


@pytest.mark.parametrize("name", ["web.parquet", "web.csv"])
async def test_a_series_becomes_a_workload_with_one_container(tmp_path, name):
    opened = source(write(tmp_path / name, WEB))
    end = START + 4 * STEP
    assert await opened.latest() == end
    got = await snapshot(opened, "shop/web", START, end, (*USAGE, "requests_per_second"))
    assert str(got.workload.id) == "shop/web"
    assert (got.grid.start, got.grid.size) == (START, 4)
    cpu = got.series("main", "cpu_cores")
    assert cpu.pods == ("",)
    np.testing.assert_allclose(cpu.values, [[0.1, 0.2, 0.3, 0.4]], rtol=1e-6)
    np.testing.assert_allclose(got.service["requests_per_second"], [1, 2, 3, 4])
    assert got.coverage["main/cpu_cores"].fraction == 1.0


async def test_limits_stand_for_the_current_state_without_a_services_file(tmp_path):
    (workload,) = await source(write(tmp_path / "web.parquet", WEB)).inventory(START + 4 * STEP)
    assert workload.state.to_map() == {
        "cpu_request": "2",
        "memory_request": "1Gi",
        "cpu_limit": "2",
        "memory_limit": "1Gi",
        "replicas": 1,
        "containers": {
            "main": {"cpu_request": "2", "memory_request": "1Gi", "cpu_limit": "2", "memory_limit": "1Gi"}
        },
        "basis": "assumed_from_limit",
    }


async def test_a_limit_is_carried_forward_from_before_the_period_and_the_later_one_is_not_known(tmp_path):
    samples = [
        *rows("vm", "cpu_cores", [0.1] * 10),
        *rows("vm", "cpu_limit_cores", [1.0], START),
        *rows("vm", "cpu_limit_cores", [8.0], START + 6 * STEP),
    ]
    opened = source(write(tmp_path / "vm.parquet", samples))
    before = await snapshot(
        opened, "vm", START + 3 * STEP, START + 6 * STEP, ("cpu_cores", "cpu_limit_cores")
    )
    assert before.workload.state.total("cpu_limit_cores") == 1.0
    np.testing.assert_array_equal(before.series("main", "cpu_limit_cores").values, [[1.0, 1.0, 1.0]])
    after = await snapshot(opened, "vm", START + 4 * STEP, START + 8 * STEP, ("cpu_cores", "cpu_limit_cores"))
    assert after.workload.state.total("cpu_limit_cores") == 8.0
    np.testing.assert_array_equal(after.series("main", "cpu_limit_cores").values, [[1.0, 1.0, 8.0, 8.0]])


async def test_samples_at_or_after_the_end_change_nothing(tmp_path):
    past = [*rows("vm", "cpu_cores", np.linspace(0.1, 0.9, 20)), *rows("vm", "cpu_limit_cores", [1.0])]
    end = START + 20 * STEP
    future = [*rows("vm", "cpu_cores", [77.0] * 9, end), *rows("vm", "cpu_limit_cores", [9.0], end)]
    metrics = ("cpu_cores", "cpu_limit_cores")
    without = await snapshot(source(write(tmp_path / "a.parquet", past)), "vm", START, end, metrics)
    with_future = await snapshot(
        source(write(tmp_path / "b.parquet", past + future)), "vm", START, end, metrics
    )
    assert without.workload == with_future.workload
    assert without.coverage == with_future.coverage
    for metric in metrics:
        np.testing.assert_array_equal(
            without.series("main", metric).values, with_future.series("main", metric).values
        )


async def test_coverage_says_what_is_missing_and_what_was_dropped(tmp_path):
    samples = rows("vm", "cpu_cores", [0.1, float("nan"), 0.3, 0.4, 0.5])
    del samples[3]
    samples.append(("vm", START, "cpu_cores", 0.2))
    got = await snapshot(source(write(tmp_path / "vm.parquet", samples)), "vm", START, START + 5 * STEP)
    coverage = got.coverage["main/cpu_cores"]
    assert (coverage.expected, coverage.present) == (5, 3)
    assert coverage.dropped == {"duplicate": 1, "nan": 1}
    assert got.series("main", "cpu_cores").values[0, 0] == pytest.approx(
        0.2
    )  # of two at once the larger counts


async def test_a_series_that_began_before_the_period_lacks_the_periods_first_steps(tmp_path):
    samples = [*rows("vm", "cpu_cores", [0.1]), *rows("vm", "cpu_cores", [0.2] * 4, START + 6 * STEP)]
    got = await snapshot(
        source(write(tmp_path / "vm.parquet", samples)), "vm", START + 2 * STEP, START + 10 * STEP
    )
    assert got.coverage["main/cpu_cores"].fraction == 0.5


async def test_order_and_row_groups_of_a_file_do_not_matter(tmp_path):
    values = np.round(np.random.default_rng(1).random(200), 3)
    samples = [
        sample
        for series in ("a", "b", "c")
        for metric in USAGE
        for sample in rows(series, metric, values * (1 + ord(series)))
    ]
    shuffled = [samples[i] for i in np.random.default_rng(2).permutation(len(samples))]
    ordered = source(write(tmp_path / "ordered.parquet", samples))
    mixed = source(write(tmp_path / "mixed.parquet", shuffled, row_group_size=97))
    for name in ("a", "b", "c"):
        one = await snapshot(ordered, name, START, START + 200 * STEP)
        other = await snapshot(mixed, name, START, START + 200 * STEP)
        for metric in USAGE:
            np.testing.assert_array_equal(
                one.series("main", metric).values, other.series("main", metric).values
            )


async def test_a_directory_stands_for_the_files_in_it(tmp_path):
    write(tmp_path / "a.parquet", rows("a", "cpu_cores", [0.1] * 3))
    write(tmp_path / "b.csv", rows("b", "cpu_cores", [0.2] * 4))
    (tmp_path / "notes.txt").write_text("not samples")
    opened = source(tmp_path)
    end = await opened.latest()
    assert end == START + 4 * STEP
    assert [w.service_name for w in await opened.inventory(end)] == ["a", "b"]


async def test_a_file_that_grows_is_read_again(tmp_path):
    path = write(tmp_path / "vm.parquet", rows("vm", "cpu_cores", [0.1] * 3))
    opened = source(path)
    assert await opened.latest() == START + 3 * STEP
    write(path, [*rows("vm", "cpu_cores", [0.1] * 30), *rows("new", "cpu_cores", [0.1])])
    assert await opened.latest() == START + 30 * STEP
    assert len(await opened.inventory(START + 30 * STEP)) == 2


async def test_no_sample_in_the_period_fails_that_workload_only_and_says_where_its_samples_are(tmp_path):
    samples = [*rows("old", "cpu_cores", [0.1] * 3), *rows("vm", "cpu_cores", [0.1] * 50)]
    opened = source(write(tmp_path / "vm.parquet", samples))
    start, end = START + 10 * STEP, START + 50 * STEP
    inventory = await opened.inventory(end)
    old, vm = [item async for item in opened.snapshots(inventory, start, end, USAGE)]
    assert isinstance(old, FailedSnapshot)
    assert isinstance(old.error, NoDataError)
    assert str(old.error) == (
        "analysis_period: old has no samples from 2026-11-01T00:50:00.000Z to 2026-11-01T04:10:00.000Z."
        " Its samples are from 2026-11-01T00:00:00.000Z to 2026-11-01T00:10:00.000Z."
    )
    assert vm.workload.service_name == "vm"


FRACTIONS = [*rows("job", "cpu_fraction", [0.25, 0.5]), *rows("job", "memory_fraction", [0.5, 0.25])]


async def test_samples_that_are_all_unusable_are_told_from_other_metrics(tmp_path):
    lost = [*rows("job", "cpu_cores", [float("inf"), float("nan")]), *rows("job", "other", [1.0, 2.0])]
    path = write(tmp_path / "job.parquet", lost)
    got = await snapshot(source(path), "job", START, START + 2 * STEP)
    assert got.error.explained == (
        "All samples of cpu_cores of job in the period are NaN, infinite or implausible."
        " Correct the values in the files."
    )


async def test_fractions_need_a_capacity_and_the_user_is_told(tmp_path):
    path = write(tmp_path / "job.parquet", FRACTIONS)
    got = await snapshot(source(path), "job", START, START + 2 * STEP)
    assert got.workload.state.basis is Basis.UNKNOWN
    assert str(got.error).startswith(
        "job has cpu_fraction, memory_fraction only, and this analysis reads cpu_cores, memory_bytes."
    )
    assert "state capacity.cpu in the services file" in str(got.error)
    assert "state capacity.memory in the services file" in str(got.error)
    services = tmp_path / "services.yaml"
    services.write_text("services:\n  job:\n    capacity: {cpu: 8, memory: 16Gi}\n")
    got = await snapshot(source(path, services), "job", START, START + 2 * STEP)
    np.testing.assert_allclose(got.series("main", "cpu_cores").values, [[2.0, 4.0]])
    np.testing.assert_allclose(got.series("main", "memory_bytes").values, [[2.0**33, 2.0**32]])
    assert got.warnings == ()


async def test_a_part_without_capacity_is_a_warning_and_the_rest_is_read(tmp_path):
    path = write(tmp_path / "job.parquet", FRACTIONS)
    services = tmp_path / "services.yaml"
    services.write_text("defaults: {capacity: {cpu: 8}}\n")
    got = await snapshot(source(path, services), "job", START, START + 2 * STEP)
    np.testing.assert_allclose(got.series("main", "cpu_cores").values, [[2.0, 4.0]])
    assert got.series("main", "memory_bytes") is None
    assert [code for code, _ in got.warnings] == ["capacity_unknown"]


async def test_a_services_file_states_what_a_series_has_and_how_it_is_called(tmp_path):
    services = tmp_path / "services.yaml"
    services.write_text("""
price_books:
  onprem: {currency: EUR, cpu_core_hour: 0.018, memory_gib_hour: 0.0024}
defaults:
  replicas: 2
  price_book: onprem
  labels: {team: core}
services:
  portfolio_management_service:
    series: shop/web
    requests: {cpu: 500m, memory: 800Mi}
    replicas: 3
    slo: {latency_ms: 250}
    class: critical
    hpa: {max_replicas: 6, target_cpu_utilization_percent: 70}
    labels: {tier: front}
""")
    samples = [*WEB, *rows("shop/db", "cpu_cores", [0.1] * 4)]
    opened = source(write(tmp_path / "web.parquet", samples), services)
    db, web = await opened.inventory(START + 4 * STEP)
    assert (web.service_name, str(web.id)) == ("portfolio_management_service", "shop/web")
    state = web.state.to_map()
    assert (state["cpu_request"], state["memory_request"], state["cpu_limit"]) == ("500m", "800Mi", "2")
    assert (state["replicas"], web.state.basis) == (3, Basis.DECLARED)
    assert state["hpa"] == {"max_replicas": 6, "target_cpu_utilization_percent": 70}
    assert (web.service_class, web.slo.latency_ms, web.slo.quantile) == (ServiceClass.CRITICAL, 250.0, 0.99)
    assert (web.price_book, web.labels) == ("onprem", {"team": "core", "tier": "front"})
    assert (db.service_name, db.state.replicas, db.price_book) == ("shop/db", 2, "onprem")


async def test_limits_that_are_stated_are_complete(tmp_path):
    services = tmp_path / "services.yaml"
    services.write_text("services:\n  shop/web:\n    limits: {memory: 2Gi}\n")
    (web,) = await source(write(tmp_path / "web.parquet", WEB), services).inventory(START + 4 * STEP)
    assert web.state.total("cpu_limit_cores") is None
    assert web.state.total("memory_request_bytes") == 2 * 2**30
    assert web.state.basis is Basis.ASSUMED_FROM_LIMIT


async def test_a_service_of_a_series_that_is_not_there_fails_by_name(tmp_path):
    services = tmp_path / "services.yaml"
    services.write_text("services:\n  storefront:\n    series: shop/wep\n")
    opened = source(write(tmp_path / "web.parquet", WEB), services)
    failed = await snapshot(opened, "storefront", START, START + 4 * STEP)
    assert isinstance(failed, FailedSnapshot)
    assert "there is no series 'shop/wep'" in str(failed.error)
    assert "Did you mean 'shop/web'?" in str(failed.error)


async def test_starts_of_pods_stand_in_the_files_when_they_were_ready(tmp_path):
    took = rows("shop/web", "startup_seconds", [40.0, 55.0, 7200.0], step=timedelta(minutes=10))
    opened = source(write(tmp_path / "a.parquet", [*WEB, *took]))
    metrics = (*USAGE, "startup_seconds")
    found = await snapshot(opened, "shop/web", START, START + 4 * STEP, metrics)
    assert [(start.ready, start.seconds) for start in found.starts] == [
        (START, 40.0),
        (START + timedelta(minutes=10), 55.0),
    ]
    earlier = await snapshot(opened, "shop/web", START, START + 2 * STEP, metrics)
    assert [start.seconds for start in earlier.starts] == [40.0]
