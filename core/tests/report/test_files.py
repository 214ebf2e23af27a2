"""Tables are written by the ending of a file's name."""

import csv

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perfopt.errors import InvalidInputError
from perfopt.report.files import check_format, write_table

TABLE = pa.table({"service": ["a", "b"], "confidence": [0.9, None]})


def test_csv_and_parquet_hold_the_same(tmp_path):
    write_table(TABLE, tmp_path / "rows.csv", "rows")
    write_table(TABLE, tmp_path / "rows.parquet", "rows")
    assert pq.read_table(tmp_path / "rows.parquet").equals(TABLE)
    with (tmp_path / "rows.csv").open() as lines:
        assert list(csv.DictReader(lines)) == [
            {"service": "a", "confidence": "0.9"},
            {"service": "b", "confidence": ""},
        ]


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match=r"rows: .*rows\.xlsx is neither CSV nor Parquet"):
        check_format(tmp_path / "rows.xlsx", "rows")
    for name in ("rows.csv", "rows.parquet"):
        check_format(tmp_path / name, "rows")


def test_what_cannot_be_written_names_the_option(tmp_path):
    with pytest.raises(InvalidInputError, match=r"^rows: .* can't be written: No such file or directory"):
        write_table(TABLE, tmp_path / "none" / "rows.parquet", "rows")
