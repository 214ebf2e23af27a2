import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.sources.files import index as index_module
from perfopt.sources.files import samples as samples_module
from perfopt.sources.files.blocks import BlockOutline, SampleBlock
from perfopt.sources.files.index import IndexedFiles, SampleIndex
from perfopt.sources.files.samples import open_samples


class Counting:
    """A sample file that notes which blocks are read from it, whole or of one series."""

    def __init__(self, path):
        self._file = open_samples(path)
        self.path, self.blocks, self.read_blocks = path, self._file.blocks, []

    def outline(self, block, carried):
        return self._file.outline(block, carried)

    def read(self, block, series=None):
        self.read_blocks.append(block if series is None else (block, series))
        return self._file.read(block, series)


def write(path, series, times, values, rows_per_group):
    table = pa.table(
        {
            "series_id": series,
            "timestamp": pa.array(times, pa.timestamp("ms", "UTC")),
            "metric": ["cpu_cores"] * len(series),
            "value": pa.array(values, pa.float64()),
        }
    )
    pq.write_table(table, path, row_group_size=rows_per_group)
    return path


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """Ten series of 100 samples, a row group each; one block fits into the cache."""
    series = [f"s{number}" for number in range(10) for _ in range(100)]
    path = write(tmp_path / "ten.parquet", series, list(range(100)) * 10, np.arange(1000.0), 100)
    monkeypatch.setattr(index_module, "CACHED_SERIES_ROWS", 150)
    file = Counting(path)
    index = SampleIndex([file])
    assert file.read_blocks == []
    return index, file


def test_one_series_takes_its_own_block_and_again_from_memory(counted):
    index, file = counted
    times, values = index.read("s3", "cpu_cores", 10, 20)
    np.testing.assert_array_equal(times, np.arange(10, 20))
    np.testing.assert_array_equal(values, np.arange(310.0, 320.0))
    index.read("s3", "cpu_cores", 50, 60)
    assert file.read_blocks == [(3, "s3")]
    assert index.span_ms("s3") == (0, 99)
    assert file.read_blocks == [(3, "s3")]


def test_a_period_without_samples_reads_nothing(counted):
    index, file = counted
    assert len(index.read("s3", "cpu_cores", 100, 200)[0]) == 0
    assert len(index.read("s3", "memory_bytes", 0, 100)[0]) == 0
    assert len(index.read("none", "cpu_cores", 0, 100)[0]) == 0
    assert file.read_blocks == []


def test_a_fleet_in_order_reads_each_block_once(counted):
    index, file = counted
    for series in index.metrics:
        index.read(series, "cpu_cores", 0, 100)
    assert sorted(file.read_blocks) == sorted(set(file.read_blocks))
    index.read("s8", "cpu_cores", 0, 100)  # it went when that of s9 came: memory does not grow with the fleet
    assert file.read_blocks[-2:] == [(9, "s9"), (8, "s8")]


def test_a_block_that_two_series_are_read_from_is_read_whole_once_more(tmp_path):
    """Rows in order of time: each block holds all series."""
    series = [f"s{number}" for _ in range(100) for number in range(4)]
    times = [at for at in range(100) for _ in range(4)]
    file = Counting(write(tmp_path / "mixed.parquet", series, times, np.arange(400.0), 200))
    index = SampleIndex([file])
    for name in ("s0", "s1", "s2", "s3"):
        number = int(name[1])
        found = index.read(name, "cpu_cores", 0, 40)
        np.testing.assert_array_equal(found[1], np.arange(number, 160.0, 4.0))
    assert file.read_blocks == [(0, "s0"), 0]
    assert index.span_ms("s2") == (0, 99)
    assert file.read_blocks == [(0, "s0"), 0, (1, "s2")]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("statistics", [True, False])
def test_outlines_are_the_same_with_and_without_statistics(tmp_path, unit, statistics):
    times = pa.array([-1500, 2000, 3999, 2500], pa.timestamp("ms", "UTC")).cast(
        pa.timestamp(unit, "UTC"), safe=False
    )
    table = pa.table(
        {
            "series_id": ["b", "a", "b", "b"],
            "timestamp": times,
            "metric": ["cpu_cores", "cpu_cores", "cpu_limit_cores", "cpu_limit_cores"],
            "value": [1.0, 2.0, 3.0, 4.0],
        }
    )
    path = tmp_path / "units.parquet"
    pq.write_table(table, path, write_statistics=statistics)
    outline = open_samples(path).outline(0, {"cpu_limit_cores"})
    whole = [ms // 1000 * 1000 if ms > 0 else -1000 for ms in (-1500, 3999)]
    assert (outline.first_ms, outline.last_ms) == (tuple(whole) if unit == "s" else (-1500, 3999))
    assert outline.keys == (("a", "cpu_cores"), ("b", "cpu_cores"), ("b", "cpu_limit_cores"))
    assert outline.carried.keys == (("b", "cpu_limit_cores"),)
    np.testing.assert_array_equal(outline.carried.values, [3.0, 4.0])


def test_files_that_did_not_change_are_not_opened_again(tmp_path):
    path = write(tmp_path / "a.parquet", ["s"] * 3, [1, 2, 3], [1.0, 2.0, 3.0], 10)
    opened = []

    def noted(found):
        opened.append(found)
        return open_samples(found)

    files = IndexedFiles((str(path),), noted)
    first = files.index()
    assert files.index() is first
    assert opened == [path]


def test_a_csv_of_several_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(samples_module, "_CSV_BLOCK_BYTES", 1000)
    lines = [f"s{i % 3},1970-01-01T00:{i // 60:02}:{i % 60:02}Z,cpu_cores,{i}" for i in range(300)]
    path = tmp_path / "many.csv"
    path.write_text("series_id,timestamp,metric,value\n" + "\n".join(lines) + "\n")
    file = open_samples(path)
    assert file.blocks > 3
    times, values = SampleIndex([file]).read("s1", "cpu_cores", 0, 10**9)
    np.testing.assert_array_equal(values, np.arange(1.0, 300.0, 3.0))
    np.testing.assert_array_equal(times, 1000 * np.arange(1, 300, 3))


class InMemory:
    path, blocks = None, 1

    def __init__(self, times, values):
        times, values = np.array(times, np.int64), np.array(values)
        self._block = SampleBlock((("s", "cpu_limit_cores"),), np.array([0, len(times)]), times, values)

    def outline(self, block, carried):
        times = self._block.times
        return BlockOutline(self._block.keys, times.min(), times.max(), self._block.only(None, carried))

    def read(self, block, series=None):
        return self._block


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.sampled_from([1.0, 2.0, float("nan")])),
        min_size=1,
        max_size=30,
        unique_by=lambda sample: sample[0],
    ),
    st.integers(0, 60),
)
def test_the_value_before_an_instant_is_the_last_known_one(samples, instant):
    times, values = zip(*samples, strict=True)
    found = SampleIndex((InMemory(times, values),)).value_before("s", "cpu_limit_cores", instant)
    known = sorted((t, v) for t, v in samples if t < instant and not np.isnan(v))
    assert (found[1] if found else None) == (known[-1][1] if known else None)
    assert found is None or found[0] < instant
