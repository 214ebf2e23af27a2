"""Each damaged or foreign file gives one clear sentence: which file, which column, what to do."""

import errno
import gzip
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perfopt.config import Config
from perfopt.config.loading import FilesConfig
from perfopt.errors import InvalidInputError, NotFoundError, SourceError
from perfopt.sources.factory import open_source

TIMES = [datetime(2026, 11, 1, 0, minute, tzinfo=UTC) for minute in (0, 5, 10)]
GOOD: dict[str, Any] = {
    "series_id": pa.array(["vm"] * 3),
    "timestamp": pa.array(
        [datetime(2026, 11, 1, 0, m, tzinfo=UTC) for m in (0, 5, 10)], pa.timestamp("us", "UTC")
    ),
    "metric": pa.array(["cpu_cores"] * 3),
    "value": pa.array([0.1, 0.2, 0.3]),
}
CSV = "series_id,timestamp,metric,value\nvm,2026-11-01T00:00:00Z,cpu_cores,0.1\n"


def parquet(path, **changes):
    columns = {name: column for name, column in {**GOOD, **changes}.items() if column is not None}
    pq.write_table(pa.table(columns), path)
    return path


async def refusal(path):
    with pytest.raises(SourceError) as caught:
        await open_source(str(path), Config()).latest()
    assert str(path) in str(caught.value)
    assert caught.value.remedy
    return caught.value


async def test_good_files_are_read(tmp_path):
    end = datetime(2026, 11, 1, 0, 15, tzinfo=UTC)
    assert await open_source(str(parquet(tmp_path / "good.parquet")), Config()).latest() == end
    packed = tmp_path / "good.csv.gz"
    packed.write_bytes(gzip.compress(CSV.encode()))
    assert await open_source(str(packed), Config()).latest() == datetime(2026, 11, 1, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize("name", ["empty.parquet", "empty.csv"])
async def test_an_empty_file(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"")
    assert f"The file {path} is empty." in str(await refusal(path))


async def test_a_file_without_rows(tmp_path):
    path = parquet(tmp_path / "norows.parquet", **{name: column[:0] for name, column in GOOD.items()})
    assert "holds no rows" in str(await refusal(path))
    path = tmp_path / "norows.csv"
    path.write_text("series_id,timestamp,metric,value\n")
    assert "holds no rows" in str(await refusal(path))


async def test_a_file_that_is_not_parquet(tmp_path):
    path = tmp_path / "page.parquet"
    path.write_text("<html>404 Not Found</html>" * 20)
    assert "is not Parquet, or truncated" in str(await refusal(path))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95, 0.999])
async def test_a_truncated_file(tmp_path, share):
    whole = parquet(tmp_path / "whole.parquet").read_bytes()
    path = tmp_path / "truncated.parquet"
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "truncated" in str(await refusal(path))


async def test_a_damaged_page(tmp_path):
    path = parquet(tmp_path / "damaged.parquet")
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    assert "is truncated or damaged" in str(await refusal(path))


@pytest.mark.parametrize("column", list(GOOD))
async def test_a_missing_column(tmp_path, column):
    error = await refusal(parquet(tmp_path / "m.parquet", **{column: None}))
    assert error.field == column
    assert f"has no column {column}. It must hold series_id, timestamp, metric, value." in str(error)


async def test_a_column_by_another_name_is_suggested(tmp_path):
    error = await refusal(parquet(tmp_path / "m.parquet", value=None, values=GOOD["value"]))
    assert "It also has values: Did you mean 'values'?" in str(error)


@pytest.mark.parametrize(
    ("column", "wrong", "says"),
    [
        ("value", pa.array(["a", "b", "c"]), "has a column value of type string. It must be a number"),
        ("series_id", pa.array([1, 2, 3]), "has a column series_id of type int64. It must be text"),
        ("metric", pa.array([0.5, 1.5, 2.5]), "has a column metric of type double. It must be text"),
        ("timestamp", pa.array([1, 2, 3]), "It must be a timestamp with time zone"),
        ("timestamp", pa.array([datetime(2026, 11, 1)] * 3), "It must be a timestamp with time zone"),  # noqa: DTZ001
        ("series_id", pa.array(["vm", None, "vm"]), "has rows without a series_id"),
        ("metric", pa.array(["cpu_cores", None, "cpu_cores"]), "has rows without a metric"),
        ("timestamp", pa.array([None] * 3, pa.timestamp("ms", "UTC")), "has rows without a timestamp"),
    ],
)
async def test_a_column_of_the_wrong_type(tmp_path, column, wrong, says):
    error = await refusal(parquet(tmp_path / "m.parquet", **{column: wrong}))
    assert error.field == column
    assert says in str(error)


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        (CSV.replace("value", "reading"), "value", "has no column value"),
        (CSV.replace("0.1", "much"), "value", "invalid value 'much'"),
        (CSV.replace("T00:00:00Z", " noon"), "timestamp", "invalid value '2026-11-01 noon'"),
        (CSV.replace("00Z", "00"), "timestamp", "zone offset"),
        (CSV + "vm,2026-11-01T00:05:00Z\n", "source", "Expected 4 columns, got 2"),
    ],
)
async def test_a_wrong_csv(tmp_path, text, column, says):
    path = tmp_path / "samples.csv"
    path.write_text(text)
    error = await refusal(path)
    assert error.field == column
    assert says in str(error)


async def test_what_does_not_exist(tmp_path):
    for name in ("none.parquet", "none.csv", "none.csv.gz"):
        with pytest.raises(NotFoundError, match=rf"^source: The file .*{name} does not exist"):
            open_source(str(tmp_path / name), Config())
    with pytest.raises(NotFoundError, match="is no configured source, no URL and no file"):
        open_source("none", Config())


async def test_configured_files_that_are_gone_are_a_fault_of_the_source(tmp_path):
    config = Config(sources={"prod": FilesConfig(paths=str(tmp_path / "none.parquet"))})
    with pytest.raises(SourceError, match=r"^source: The file .* does not exist"):
        await open_source("prod", config).latest()


def test_yaml_in_place_of_metrics_names_the_option_it_belongs_to(tmp_path):
    path = tmp_path / "services.yaml"
    path.write_text("services: {}\n")
    with pytest.raises(InvalidInputError, match=r"^source: .* Give a services file as --services"):
        open_source(str(path), Config())


async def test_a_directory_without_samples(tmp_path):
    with pytest.raises(SourceError, match=r"holds no .parquet or .csv file"):
        await open_source(str(tmp_path), Config()).latest()


async def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = parquet(tmp_path / "secret.parquet")

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(pq, "ParquetFile", refuse)  # root, which tests may run as, may read every file
    assert "Permission denied" in str(await refusal(path))
