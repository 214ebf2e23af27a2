"""Reads sample files (Parquet or CSV) in blocks of bounded size, each sorted by series and metric.

Schema: series_id (text), timestamp (with time zone), metric (text), value (number); further
columns are left alone. A missing sample is a missing row; NaN and null values are passed on as
NaN, for the time grid to drop and count.
"""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from perfopt.config.paths import suggestion
from perfopt.errors import SourceError
from perfopt.sources.files.blocks import (
    NO_SAMPLES,
    TIME,
    BlockOutline,
    KeyCodes,
    SampleBlock,
    refuse,
    times_of,
    to_block,
)

COLUMNS = ("series_id", "timestamp", "metric", "value")
CSV_SUFFIXES = (".csv", ".csv.gz")
MAX_BLOCK_ROWS = 32 * 2**20
_CSV_BLOCK_BYTES = 32 * 2**20
_BATCH_ROWS = 2**20
_UNITS_PER_MS = {"milliseconds": 1, "microseconds": 10**3, "nanoseconds": 10**6}
_TEXT = pa.dictionary(pa.int32(), pa.string())
_WANTED = {
    "series_id": "text",
    "metric": "text",
    "timestamp": "a timestamp with time zone",
    "value": "a number",
}


class SampleFile(Protocol):
    """An opened file of samples.

    Attributes:
        path: of the file.
        blocks: how many blocks it has.
    """

    path: Path
    blocks: int

    def outline(self, block: int, carried: Collection[str]) -> BlockOutline:
        """Returns what a block holds, with the samples of the metrics `carried`; raises as `read`."""

    def read(self, block: int, series: str | None = None) -> SampleBlock:
        """Returns one block, or what it has of one series; raises SourceError where the file is damaged."""


def list_files(paths: Sequence[str]) -> tuple[Path, ...]:
    """Returns the sample files that the paths name; a directory stands for those in it.

    Raises:
        SourceError: a path does not exist, or a directory holds no Parquet or CSV file.
    """
    files: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.name.lower().endswith((".parquet", *CSV_SUFFIXES)))
            if not inside:
                raise SourceError(f"The directory {path} holds no .parquet or .csv file.", field="source")
            files |= dict.fromkeys(inside)
        elif path.exists():
            files[path] = None
        else:
            raise SourceError(
                f"The file {path} does not exist.",
                field="source",
                remedy="Check the path, and where it starts.",
            )
    return tuple(files)


def open_samples(path: Path) -> SampleFile:
    """Opens a sample file and checks its columns.

    Raises:
        SourceError: empty, truncated, not Parquet, unreadable, a column missing or of the wrong type.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        refuse(path, f"cannot be read: {error.strerror}", "Check that it may be read.")
    if size == 0:
        refuse(path, "is empty", "Write it again; it holds no bytes at all.")
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
            refuse(path, "holds no rows", "Write it again with samples in it.")

    def outline(self, block: int, carried: Collection[str]) -> BlockOutline:
        """Returns what one row group holds; times and values are decoded only where they are needed."""
        chosen = [name for name in carried if self._may_hold(block, name)]
        span = self._span_ms(block)
        columns = COLUMNS if chosen or span is None else ("series_id", "metric")
        keys: set[tuple[str, str]] = set()
        tables: list[pa.Table] = []
        ends: list[int] = []
        for table in self._batches(block, columns):
            coded = KeyCodes.of(self.path, table)
            keys |= {*coded.present()}
            if chosen:
                tables.append(table.filter(coded.of_metrics(chosen)))
            if span is None:
                ends += cast("dict[str, int]", pc.min_max(times_of(self.path, table)).as_py()).values()
        first, last = span if span is not None else (min(ends), max(ends))
        held = to_block(self.path, pa.concat_tables(tables)) if tables else NO_SAMPLES
        return BlockOutline(tuple(sorted(keys)), first, last, held)

    def read(self, block: int, series: str | None = None) -> SampleBlock:
        """Returns one row group, or what it has of one series."""
        tables = self._batches(block, COLUMNS)
        if series is not None:
            tables = (table.filter(KeyCodes.of(self.path, table).of_series(series)) for table in tables)
        return to_block(self.path, pa.concat_tables(tables))

    def _batches(self, block: int, columns: Sequence[str]) -> Iterator[pa.Table]:
        rows = self._file.metadata.row_group(block).num_rows
        if rows > MAX_BLOCK_ROWS:
            refuse(
                self.path,
                f"has a row group of {rows:,} rows, which would not fit into memory",
                "Write it with row groups of about 1,000,000 rows.",
            )
        batches = self._file.iter_batches(
            _BATCH_ROWS, row_groups=[block], columns=list(columns), use_threads=False
        )
        while (batch := self._guarded(lambda: next(batches, None))) is not None:
            yield pa.Table.from_batches([batch])

    def _may_hold(self, block: int, metric: str) -> bool:
        """Tells whether a row group may have a metric, by its statistics; False is certain."""
        statistics = self._statistics(block, "metric")
        if statistics is None or not statistics.has_min_max:
            return True
        return bool(statistics.min <= metric <= statistics.max)

    def _span_ms(self, block: int) -> tuple[int, int] | None:
        """Returns the first and last time of a row group by its statistics; None where they don't say."""
        statistics = self._statistics(block, "timestamp")
        if statistics is None or not statistics.has_min_max or statistics.null_count != 0:
            return None
        column = self._file.schema.column(self._column("timestamp"))
        unit = json.loads(column.logical_type.to_json()).get("timeUnit")
        if column.physical_type != "INT64" or unit not in _UNITS_PER_MS:
            return None
        first, last = (int(raw / _UNITS_PER_MS[unit]) for raw in (statistics.min_raw, statistics.max_raw))
        return first, last

    def _statistics(self, block: int, name: str) -> Any:
        return self._file.metadata.row_group(block).column(self._column(name)).statistics

    def _column(self, name: str) -> int:
        return self._file.schema.names.index(name)

    def _guarded[T](self, action: Callable[[], T]) -> T:
        try:
            return action()
        except OSError as error:
            if error.strerror:
                refuse(self.path, f"cannot be read: {error.strerror}", "Check that it may be read.")
            refuse(self.path, "is truncated or damaged", "Copy or write it again.")
        except pa.ArrowInvalid as error:
            if "magic bytes" in str(error) or "Parquet file size" in str(error):
                remedy = "Give a Parquet file, or name a CSV file .csv; a copy that broke off also looks so."
                refuse(self.path, "is not Parquet, or truncated", remedy)
            refuse(self.path, "is truncated or damaged", "Copy or write it again.")


class CsvFile:
    """A CSV file with a header line, plain or gzip. Held in memory, 20 bytes a row: parsing is slow."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held = [to_block(path, table) for table in self._tables() if table.num_rows]
        self.blocks = len(self._held)
        if not self._held:
            refuse(path, "holds no rows", "Write it again with samples in it.")

    def outline(self, block: int, carried: Collection[str]) -> BlockOutline:
        """Returns what one block holds."""
        held = self._held[block]
        first, last = int(held.times.min()), int(held.times.max())
        return BlockOutline(held.keys, first, last, held.only(None, carried))

    def read(self, block: int, series: str | None = None) -> SampleBlock:
        """Returns one block, or what it has of one series."""
        held = self._held[block]
        return held if series is None else held.only(series)

    def _tables(self) -> Iterator[pa.Table]:
        types = {"series_id": _TEXT, "metric": _TEXT, "timestamp": TIME, "value": pa.float64()}
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
        remedy = f"Each {column} must be {_WANTED[column]}." if column in _WANTED else "Correct it there."
        if column == "timestamp":
            remedy += " Write 2026-11-23T10:00:00Z."
        refuse(self.path, f"is not valid CSV: {first_line}", remedy, column)


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
            refuse(
                path, f"has a column {name} of type {kind}", f"It must be {_WANTED[name]}; write it so.", name
            )


def _is_text(kind: Any) -> bool:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner)


def _refuse_missing(path: Path, column: str, present: tuple[str, ...]) -> NoReturn:
    unknown = tuple(name for name in present if name and name not in COLUMNS)
    remedy = f"It must hold {', '.join(COLUMNS)}."
    if unknown:
        remedy += f" It also has {', '.join(unknown[:10])}: {suggestion(column, unknown)}"
    refuse(path, f"has no column {column}", remedy, column)
