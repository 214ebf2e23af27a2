"""Samples as they stand in a block of a file: sorted by series and metric, or in outline."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perfopt.errors import SourceError

Codes = NDArray[np.int32]
TIME = pa.timestamp("ms", "UTC")
_MAX_TABLE = 2**24  # pairs of series and metric that are looked up in a table


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

    def only(self, series: str | None, metrics: Collection[str] | None = None) -> "SampleBlock":
        """Returns the samples of one series, of some metrics, or both; None is all of them."""
        chosen = [
            number
            for number, (name, metric) in enumerate(self.keys)
            if series in (None, name) and (metrics is None or metric in metrics)
        ]
        spans = [np.arange(self.bounds[n], self.bounds[n + 1]) for n in chosen]
        rows = np.concatenate([np.empty(0, np.int64), *spans])
        bounds = np.cumsum([0, *(span.size for span in spans)], dtype=np.int64)
        return SampleBlock(tuple(self.keys[n] for n in chosen), bounds, self.times[rows], self.values[rows])


@dataclass(frozen=True, slots=True)
class BlockOutline:
    """What a block holds, without its samples.

    Attributes:
        keys: each (series_id, metric) in it.
        first_ms, last_ms: times of its first and last sample, milliseconds since the epoch.
        carried: the samples of the metrics that were asked for with it.
    """

    keys: tuple[tuple[str, str], ...]
    first_ms: int
    last_ms: int
    carried: SampleBlock


NO_SAMPLES = SampleBlock((), np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0))


@dataclass(frozen=True, slots=True)
class KeyCodes:
    """The series and metric of each row of a table, as positions in two lists.

    Attributes:
        series, metrics: names.
        series_codes, metric_codes: positions in them, shape (rows,).
    """

    series: list[str]
    metrics: list[str]
    series_codes: Codes
    metric_codes: Codes

    @classmethod
    def of(cls, path: Path, table: pa.Table) -> Self:
        """Returns the codes of a table with the columns series_id and metric.

        Raises:
            SourceError: a row has none of them.
        """
        series, series_codes = _codes(path, table, "series_id")
        metrics, metric_codes = _codes(path, table, "metric")
        return cls(series, metrics, series_codes, metric_codes)

    def key(self) -> NDArray[np.integer[Any]]:
        """Returns one number for series and metric of each row, in the order of the lists, shape (rows,)."""
        small = len(self.series) * len(self.metrics) < np.iinfo(np.int32).max
        codes = self.series_codes if small else self.series_codes.astype(np.int64)
        return codes * len(self.metrics) + self.metric_codes

    def names(self, keys: NDArray[np.integer[Any]]) -> list[tuple[str, str]]:
        """Returns the (series_id, metric) of keys."""
        count = len(self.metrics)
        return [(self.series[key // count], self.metrics[key % count]) for key in keys.tolist()]

    def present(self) -> list[tuple[str, str]]:
        """Returns each (series_id, metric) once."""
        key, most = self.key(), len(self.series) * len(self.metrics)
        if most > _MAX_TABLE:
            return self.names(np.unique(key))
        present_rows = np.zeros(most, np.bool_)
        present_rows[key] = True
        return self.names(np.flatnonzero(present_rows))

    def of_metrics(self, metrics: Collection[str]) -> Any:
        """Tells of each row whether it is of one of the metrics."""
        return _mask(np.array([name in metrics for name in self.metrics], np.bool_)[self.metric_codes])

    def of_series(self, series: str) -> Any:
        """Tells of each row whether it is of a series."""
        return _mask(np.array([name == series for name in self.series], np.bool_)[self.series_codes])


def _mask(present: NDArray[np.bool_]) -> Any:
    """Returns an array for Table.filter; `pyarrow.array` would import pandas, half a second."""
    packed = pa.py_buffer(np.packbits(present, bitorder="little").tobytes())
    return pa.BooleanArray.from_buffers(pa.bool_(), present.size, [None, packed])


def to_block(path: Path, table: pa.Table) -> SampleBlock:
    """Returns the rows of a table by series and metric.

    Raises:
        SourceError: a row without series, metric or timestamp.
    """
    coded = KeyCodes.of(path, table)
    times, values = _single(times_of(path, table)).to_numpy(), _numbers(table["value"])
    key = coded.key()
    if np.any(key[1:] < key[:-1]):
        order = np.argsort(key, kind="stable")
        key, times, values = key[order], times[order], values[order]
    starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]]) if len(key) else np.empty(0, np.int64)
    bounds = np.append(starts, len(key)).astype(np.int64)
    return SampleBlock(tuple(coded.names(key[starts])), bounds, times, values)


def times_of(path: Path, table: pa.Table) -> Any:
    """Returns the column of times as milliseconds since the epoch.

    Raises:
        SourceError: a row has none.
    """
    if table["timestamp"].null_count:
        refuse(path, "has rows without a timestamp", "Leave them out, or fill them.", "timestamp")
    return table["timestamp"].cast(TIME, safe=False).cast(pa.int64())


def _codes(path: Path, table: pa.Table, column: str) -> tuple[list[str], Codes]:
    if table[column].null_count:
        refuse(path, f"has rows without a {column}", "Leave them out, or fill them.", column)
    encoded = table[column]
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    array = _single(encoded.unify_dictionaries())
    return array.dictionary.to_pylist(), array.indices.to_numpy()


def _single(column: Any) -> Any:
    array = column.combine_chunks()
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _numbers(column: Any) -> NDArray[np.float64] | NDArray[np.float32]:
    kind = column.type if column.type in (pa.float32(), pa.float64()) else pa.float64()
    numbers: NDArray[np.float64] = _single(column.cast(kind, safe=False)).to_numpy(zero_copy_only=False)
    return numbers


def refuse(path: Path, problem: str, remedy: str, column: str | None = None) -> NoReturn:
    """Raises a SourceError about a file."""
    raise SourceError(f"The file {path} {problem}.", field=column or "source", remedy=remedy) from None
