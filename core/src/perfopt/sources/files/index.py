"""Where the samples of each series stand in its files, so that one service is read without the rest."""

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perfopt.metrics.catalogue import METRICS
from perfopt.metrics.snapshot import Array
from perfopt.sources.files.samples import SampleBlock, SampleFile, list_files, open_samples, release_memory

Times = NDArray[np.int64]
Fingerprint = tuple[tuple[str, int, int], ...]
CACHED_ROWS = 6 * 2**20  # about 72 MiB at 12 bytes a row


@dataclass(frozen=True, slots=True)
class SampleRange:
    """Samples of one metric of one series that stand together: rows [begin, end) of a block."""

    file: int
    block: int
    begin: int
    end: int
    first_ms: int
    last_ms: int


class SampleIndex:
    """An index over files, built by reading each block once; thread-safe.

    Attributes:
        metrics: series_id to its metrics, both sorted.
        last_ms: time of the last sample of all.
    """

    def __init__(self, files: Iterable[SampleFile]) -> None:
        self._files = tuple(files)
        self._lock = threading.Lock()
        self._blocks: OrderedDict[tuple[int, int], SampleBlock] = OrderedDict()
        self._stretches: dict[tuple[str, str], list[SampleRange]] = defaultdict(list)
        changes: dict[tuple[str, str], list[tuple[Times, Array]]] = defaultdict(list)
        for number, file in enumerate(self._files):
            for block in range(file.blocks):
                self._add(number, block, self._block(number, block), changes)
        self._changes = {key: _changes(*_joined(parts)) for key, parts in changes.items()}
        metrics: dict[str, list[str]] = defaultdict(list)
        for series, metric in sorted(self._stretches):
            metrics[series].append(metric)
        self.metrics = {series: tuple(names) for series, names in metrics.items()}
        self.last_ms = max(s.last_ms for stretches in self._stretches.values() for s in stretches)

    def span_ms(self, series: str) -> tuple[int, int]:
        """Returns the times of the first and the last sample of a series."""
        found = [s for metric in self.metrics[series] for s in self._stretches[series, metric]]
        return min(s.first_ms for s in found), max(s.last_ms for s in found)

    def overlaps(self, series: str, metric: str, start_ms: int, end_ms: int) -> bool:
        """Tells whether a metric may have samples in [start, end); False is certain."""
        stretches = self._stretches.get((series, metric), ())
        return any(s.first_ms < end_ms and s.last_ms >= start_ms for s in stretches)

    def read(self, series: str, metric: str, start_ms: int, end_ms: int) -> tuple[Times, Array]:
        """Returns the samples in [start, end), in the order of the files: times (n,), values (n,)."""
        parts = []
        for s in self._stretches.get((series, metric), ()):
            if s.first_ms < end_ms and s.last_ms >= start_ms:
                block = self._block(s.file, s.block)
                times, values = block.times[s.begin : s.end], block.values[s.begin : s.end]
                inside = (times >= start_ms) & (times < end_ms)
                parts.append((times[inside], values[inside].astype(np.float64)))
        return _joined(parts)

    def value_before(self, series: str, metric: str, end_ms: int) -> tuple[int, float] | None:
        """Returns the last sample of a carried-forward metric before an instant: its time and value."""
        times, values = self._changes.get((series, metric), (np.empty(0, np.int64), np.empty(0)))
        position = int(np.searchsorted(times, end_ms, side="left")) - 1
        return None if position < 0 else (int(times[position]), float(values[position]))

    def _add(
        self,
        file: int,
        number: int,
        block: SampleBlock,
        changes: dict[tuple[str, str], list[tuple[Times, Array]]],
    ) -> None:
        for position, key in enumerate(block.keys):
            begin, end = int(block.bounds[position]), int(block.bounds[position + 1])
            times = block.times[begin:end]
            self._stretches[key].append(
                SampleRange(file, number, begin, end, int(times.min()), int(times.max()))
            )
            metric = METRICS.get(key[1])
            if metric is not None and metric.carry_forward:
                changes[key].append(_changes(times, block.values[begin:end].astype(np.float64)))

    def _block(self, file: int, number: int) -> SampleBlock:
        with self._lock:
            block = self._blocks.pop((file, number), None)
            if block is None:
                block = self._files[file].read(number)
            self._blocks[file, number] = block
            while len(self._blocks) > 1 and sum(len(b.times) for b in self._blocks.values()) > CACHED_ROWS:
                self._blocks.popitem(last=False)
            return block


class IndexedFiles:
    """The index over some paths, built again when a file of them changes; thread-safe."""

    def __init__(self, paths: tuple[str, ...], opener: Callable[[Path], SampleFile] = open_samples) -> None:
        self._paths = paths
        self._opener = opener
        self._lock = threading.Lock()
        self._seen: Fingerprint = ()
        self._index: SampleIndex | None = None

    def index(self) -> SampleIndex:
        """Returns the index over the files as they are now.

        Raises:
            SourceError: a file is missing, damaged or has other columns.
        """
        with self._lock:
            files = list_files(self._paths)
            seen = tuple((str(f), f.stat().st_mtime_ns, f.stat().st_size) for f in files)
            if self._index is None or seen != self._seen:
                self._index = SampleIndex([self._opener(file) for file in files])
                self._seen = seen
                release_memory()
            return self._index

    def forget(self) -> None:
        """Drops the index and the blocks it holds."""
        with self._lock:
            self._index = None


def _changes(times: Times, values: Array) -> tuple[Times, Array]:
    """Keeps the samples at which the value changes, in order of time, without NaN."""
    known = ~np.isnan(values)
    order = np.argsort(times[known], kind="stable")
    times, values = times[known][order], values[known][order]
    kept = np.flatnonzero(np.r_[True, values[1:] != values[:-1]]) if len(values) else np.empty(0, np.int64)
    return times[kept], values[kept]


def _joined(parts: list[tuple[Times, Array]]) -> tuple[Times, Array]:
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return np.empty(0, np.int64), np.empty(0)
    return np.concatenate([times for times, _ in parts]), np.concatenate([values for _, values in parts])
