"""Tables in CSV and Parquet files, by the ending of the file's name."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from perfopt.errors import InvalidInputError

FORMATS = (".csv", ".parquet")


def check_format(path: Path, option: str) -> None:
    """Refuses a file whose name does not say how to write it.

    Raises:
        InvalidInputError: it ends with neither of FORMATS.
    """
    if path.suffix not in FORMATS:
        raise InvalidInputError(
            f"{path} is neither CSV nor Parquet by its name.",
            field=option,
            remedy=f"Let it end with {' or '.join(FORMATS)}.",
        )


def write_table(table: pa.Table, path: Path, option: str) -> None:
    """Writes a table to a CSV or Parquet file.

    Raises:
        InvalidInputError: it can't be written.
    """
    try:
        if path.suffix == ".csv":
            pyarrow.csv.write_csv(table, path)
        else:
            pyarrow.parquet.write_table(table, path)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise InvalidInputError(
            f"{path} can't be written: {reason}.", field=option, remedy="Name another file."
        ) from error
