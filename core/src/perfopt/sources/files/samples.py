"""Reads sample files (Parquet or CSV) in blocks of bounded size, each sorted by series and metric.

Schema: series_id (text), timestamp (with time zone), metric (text), value (number); further
columns are left alone. A missing sample is a missing row; NaN and null values are passed on as
NaN, for the time grid to drop and count.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from perfopt.config.documents import suggestion
from perfopt.errors import SourceError

COLUMNS = ("series_id", "timestamp", "metric", "value")
CSV_SUFFIXES = (".csv", ".csv.gz")
MAX_BLOCK_ROWS = 32 * 2**20
_CSV_BLOCK_BYTES = 32 * 2**20
_TEXT = pa.dictionary(pa.int32(), pa.string())
_TIME = pa.timestamp("ms", "UTC")
_WANTED = {
    "series_id": "text",
    "metric": "text",
    "timestamp": "a timestamp with time zone",
    "value": "a number",
}


@dataclass(frozen=True, slots=True)
class SampleBlock:
    """Some of a file's samples, those of one series and metric together, in the file's order.

    Attributes:
        keys: (series_id, metric) of each stretch.
        bounds: shape (len(keys) + 1,): stretch i is rows bounds[i] to bounds[i + 1].
        times: milliseconds since the epoch, shape (rows,).
        values: shape (rows,), NaN where the file has null.
    """

    keys: tuple[tuple[str, str], ...]
    bounds: NDArray[np.int64]
    times: NDArray[np.int64]
    values: NDArray[np.float64] | NDArray[np.float32]


class SampleFile(Protocol):
    """An opened file of samples.

    Attributes:
        path: of the file.
        blocks: how many blocks it has.
    """

    path: Path
    blocks: int

    def read(self, block: int) -> SampleBlock:
        """Returns one block; raises SourceError where the file is damaged."""


def list_files(paths: Sequence[str]) -> tuple[Path, ...]:
    """Returns the sample files that the paths name; a directory stands for those in it.

    Raises:
        SourceError: a path does not exist, or a directory holds no Parquet or CSV file.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.name.lower().endswith((".parquet", *CSV_SUFFIXES)))
            if not inside:
                raise SourceError(f"The directory {path} holds no .parquet or .csv file.", field="source")
            found |= dict.fromkeys(inside)
        elif path.exists():
            found[path] = None
        else:
            raise SourceError(
                f"The file {path} does not exist.",
                field="source",
                remedy="Check the path, and where it starts.",
            )
    return tuple(found)


def open_samples(path: Path) -> SampleFile:
    """Opens a sample file and checks its columns.

    Raises:
        SourceError: empty, truncated, not Parquet, unreadable, a column missing or of the wrong type.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        _refuse(path, f"cannot be read: {error.strerror}", "Check that it may be read.")
    if size == 0:
        _refuse(path, "is empty", "Write it again; it holds no bytes at all.")
    return CsvFile(path) if path.name.lower().endswith(CSV_SUFFIXES) else ParquetFile(path)


class ParquetFile:
    """A Parquet file; a block is a row group."""

    def __init__(self, path: Path) -> None:
        self.path = path
        plain = self._guarded(lambda: pq.ParquetFile(path))
        _check_schema(path, plain.schema_arrow)
        self._file = pq.ParquetFile(path, metadata=plain.metadata, read_dictionary=["series_id", "metric"])
        self.blocks = self._file.metadata.num_row_groups
        if self._file.metadata.num_rows == 0:
            _refuse(path, "holds no rows", "Write it again with samples in it.")

    def read(self, block: int) -> SampleBlock:
        """Returns one row group."""
        rows = self._file.metadata.row_group(block).num_rows
        if rows > MAX_BLOCK_ROWS:
            _refuse(
                self.path,
                f"has a row group of {rows:,} rows, which would not fit into memory",
                "Write it with row groups of about 1,000,000 rows.",
            )
        table = self._guarded(
            lambda: self._file.read_row_group(block, columns=list(COLUMNS), use_threads=False)
        )
        return _to_block(self.path, table)

    def _guarded[T](self, action: Callable[[], T]) -> T:
        try:
            return action()
        except OSError as error:
            if error.strerror:
                _refuse(self.path, f"cannot be read: {error.strerror}", "Check that it may be read.")
            _refuse(self.path, "is truncated or damaged", "Copy or write it again.")
        except pa.ArrowInvalid as error:
            if "magic bytes" in str(error) or "Parquet file size" in str(error):
                remedy = "Give a Parquet file, or name a CSV file .csv; a copy that broke off also looks so."
                _refuse(self.path, "is not Parquet, or truncated", remedy)
            _refuse(self.path, "is truncated or damaged", "Copy or write it again.")


class CsvFile:
    """A CSV file with a header line, plain or gzip. Held in memory, 20 bytes a row: parsing is slow."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held = [_to_block(path, table) for table in self._tables() if table.num_rows]
        self.blocks = len(self._held)
        if not self._held:
            _refuse(path, "holds no rows", "Write it again with samples in it.")

    def read(self, block: int) -> SampleBlock:
        """Returns one block."""
        return self._held[block]

    def _tables(self) -> Iterator[pa.Table]:
        types = {"series_id": _TEXT, "metric": _TEXT, "timestamp": _TIME, "value": pa.float64()}
        try:
            with pyarrow.csv.open_csv(
                self.path,
                read_options=pyarrow.csv.ReadOptions(block_size=_CSV_BLOCK_BYTES, use_threads=False),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=types, include_columns=list(COLUMNS), strings_can_be_null=True
                ),
            ) as reader:
                for batch in reader:
                    yield pa.Table.from_batches([batch])
        except KeyError as error:
            self._refuse_columns(str(error))
        except (OSError, pa.ArrowException) as error:
            self._refuse_content(str(error))

    def _refuse_columns(self, text: str) -> NoReturn:
        missing = next((name for name in COLUMNS if f"'{name}'" in text), COLUMNS[0])
        with self.path.open(encoding="utf-8", errors="replace") as file:
            header = file.readline().strip() if self.path.suffix != ".gz" else ""
        _refuse_missing(self.path, missing, tuple(name.strip('" ') for name in header.split(",")))

    def _refuse_content(self, text: str) -> NoReturn:
        first_line = text.partition("\n")[0]
        number = first_line.partition("CSV column #")[2][:1]
        column = None
        if number.isdigit():
            with self.path.open(encoding="utf-8", errors="replace") as file:
                names = [name.strip('" ') for name in file.readline().strip().split(",")]
            column = names[int(number)] if int(number) < len(names) else None
        wanted = f"Each {column} must be {_WANTED[column]}." if column in _WANTED else "Correct it there."
        if column == "timestamp":
            wanted += " Write 2026-11-23T10:00:00Z."
        _refuse(self.path, f"is not valid CSV: {first_line}", wanted, column)


def release_memory() -> None:
    """Gives back what decoding used: Arrow's allocator would keep it for the life of a worker."""
    pa.default_memory_pool().release_unused()


def _check_schema(path: Path, schema: pa.Schema) -> None:
    checks: dict[str, Callable[[Any], bool]] = {
        "series_id": _is_text,
        "metric": _is_text,
        "timestamp": lambda kind: pa.types.is_timestamp(kind) and kind.tz is not None,
        "value": lambda kind: any(
            check(kind) for check in (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal)
        ),
    }
    for name in COLUMNS:
        if name not in schema.names:
            _refuse_missing(path, name, tuple(schema.names))
        kind = schema.field(name).type
        if not checks[name](kind):
            _refuse(
                path, f"has a column {name} of type {kind}", f"It must be {_WANTED[name]}; write it so.", name
            )


def _is_text(kind: Any) -> bool:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner)


def _refuse(path: Path, problem: str, remedy: str, column: str | None = None) -> NoReturn:
    raise SourceError(f"The file {path} {problem}.", field=column or "source", remedy=remedy) from None


def _refuse_missing(path: Path, column: str, present: tuple[str, ...]) -> NoReturn:
    spare = tuple(name for name in present if name and name not in COLUMNS)
    remedy = f"It must hold {', '.join(COLUMNS)}."
    if spare:
        remedy += f" It also has {', '.join(spare[:10])}: {suggestion(column, spare)}"
    _refuse(path, f"has no column {column}", remedy, column)


def _to_block(path: Path, table: pa.Table) -> SampleBlock:
    series, series_codes = _codes(path, table, "series_id")
    metrics, metric_codes = _codes(path, table, "metric")
    if table["timestamp"].null_count:
        _refuse(path, "has rows without a timestamp", "Leave them out, or fill them.", "timestamp")
    times = _single(table["timestamp"].cast(_TIME, safe=False)).cast(pa.int64()).to_numpy()
    values = _numbers(table["value"])
    key = series_codes * max(len(metrics), 1) + metric_codes
    if np.any(key[1:] < key[:-1]):
        order = np.argsort(key, kind="stable")
        key, times, values = key[order], times[order], values[order]
    starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]]) if len(key) else np.empty(0, np.int64)
    keys = tuple((series[k // len(metrics)], metrics[k % len(metrics)]) for k in key[starts].tolist())
    return SampleBlock(keys, np.append(starts, len(key)).astype(np.int64), times, values)


def _codes(path: Path, table: pa.Table, column: str) -> tuple[list[str], NDArray[np.int64]]:
    if table[column].null_count:
        _refuse(path, f"has rows without a {column}", "Leave them out, or fill them.", column)
    encoded = table[column]
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    array = _single(encoded.unify_dictionaries())
    return array.dictionary.to_pylist(), array.indices.to_numpy().astype(np.int64)


def _single(column: Any) -> Any:
    array = column.combine_chunks()
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _numbers(column: Any) -> NDArray[np.float64] | NDArray[np.float32]:
    kind = column.type if column.type in (pa.float32(), pa.float64()) else pa.float64()
    numbers: NDArray[np.float64] = _single(column.cast(kind, safe=False)).to_numpy(zero_copy_only=False)
    return numbers
