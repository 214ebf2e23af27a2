from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pd = pytest.importorskip("pandas")

from perfopt.datasets import load_trace, split_of  # noqa: E402  pandas is an extra
from perfopt.datasets.series import load_series  # noqa: E402
from perfopt.domain.enums import Basis  # noqa: E402
from perfopt.errors import InvalidInputError  # noqa: E402

START = datetime(2013, 7, 1, tzinfo=UTC)


def rows(series, metric, *samples):
    return [(series, START + timedelta(minutes=minute), metric, value) for minute, value in samples]


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "trace.parquet"
    samples = [
        *rows("vm/b", "cpu_cores", (0, 1.0), (10, 2.0)),
        *rows("vm/b", "memory_bytes", (5, 9e9)),
        *rows("vm/b", "cpu_limit_cores", (0, 4.0)),
        *rows("vm/b", "memory_limit_bytes", (0, 8e9)),
        *rows("vm/a", "cpu_fraction", (5, 0.25)),
        *rows("vm/a", "memory_fraction", (20, 0.5)),
        *rows("vm/c", "requests_per_second", (0, 7.0)),
    ]
    pd.DataFrame(samples, columns=["series_id", "timestamp", "metric", "value"]).to_parquet(path)
    return path


def test_series_are_on_one_grid_in_order_of_name_with_limits_carried_forward(trace):
    a, b = load_trace(trace)
    assert [a.workload.service_name, b.workload.service_name] == ["vm/a", "vm/b"]
    assert (a.grid, b.grid.start, b.grid.size) == (b.grid, START, 5)
    np.testing.assert_equal(b.series("main", "cpu_cores").values[0], [1.0, np.nan, 2.0, np.nan, np.nan])
    np.testing.assert_equal(b.series("main", "cpu_limit_cores").values[0], [4.0] * 5)
    assert (b.workload.state.basis, a.workload.state.basis) == (Basis.ASSUMED_FROM_LIMIT, Basis.UNKNOWN)


def test_samples_are_as_recorded_even_above_the_limit(trace):
    _, b = load_trace(trace)
    assert b.series("main", "memory_bytes").values[0, 1] == 9e9


def test_fractions_are_of_one_core_and_one_gibibyte(trace):
    a, _ = load_trace(trace)
    assert a.series("main", "cpu_cores").values[0, 1] == 0.25
    assert a.series("main", "memory_bytes").values[0, 4] == 2**29


def test_nothing_at_or_after_until_is_read(trace):
    (b,) = load_trace(trace, until=START + timedelta(minutes=5))
    assert (b.workload.service_name, b.grid.size) == ("vm/b", 1)


def test_a_half_holds_the_series_that_belong_to_it(trace):
    halves = [{one.workload.service_name for one in load_trace(trace, split=s)} for s in ("tune", "report")]
    assert halves[0] | halves[1] == {"vm/a", "vm/b"}
    assert all(split_of(name) == "tune" for name in halves[0])
    assert len(list(load_trace(trace, most=1))) == 1


def write(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


EMPTY = {"series_id": pa.array([], pa.string()), "metric": pa.array([], pa.string())}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.write_bytes(b""), "is not Parquet, truncated, or may not be read"),
        (lambda path: path.write_bytes(b"not parquet"), "is not Parquet, truncated, or may not be read"),
        (lambda path: None, "does not exist"),
        (lambda path: write(path, series_id=["a"], timestamp=[START]), "has no column metric"),
        (
            lambda path: write(
                path,
                **EMPTY,
                timestamp=pa.array([], pa.timestamp("ms", "UTC")),
                value=pa.array([], pa.float64()),
            ),
            "holds no rows",
        ),
    ],
)
@pytest.mark.parametrize("load", [load_trace, load_series])
def test_what_is_no_trace_is_refused(tmp_path, make, says, load):
    path = tmp_path / "trace.parquet"
    make(path)
    with pytest.raises(InvalidInputError) as caught:
        list(load(path))
    remedy = "Give a Parquet file with the columns series_id, timestamp, metric, value."
    assert str(caught.value) == f"--dataset: The file {path} {says}. {remedy}"
