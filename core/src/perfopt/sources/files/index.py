"""Where the samples of each series stand in its files, so that one service is read without the rest."""

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from perfopt.metrics.catalogue import METRICS
from perfopt.metrics.snapshot import Array
from perfopt.sources.files.blocks import BlockOutline, SampleBlock
from perfopt.sources.files.samples import SampleFile, list_files, open_samples, release_memory

Times = NDArray[np.int64]
Fingerprint = tuple[tuple[str, int, int], ...]
CACHED_ROWS = 6 * 2**20  # of whole blocks: about 72 MiB at 12 bytes a row
CACHED_SERIES_ROWS = 2**20  # of blocks read for one series, which a pass over a fleet asks for once: 12 MiB


_CARRIED = frozenset(name for name, metric in METRICS.items() if metric.carry_forward)


@dataclass(frozen=True, slots=True)
class BlockSpan:
    """A block of a file, and from when to when its samples are."""

    file: int
    block: int
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class _HeldBlock:
    """A block in memory: all of it, or what it has of one series."""

    samples: SampleBlock
    series: str | None
    rows: Mapping[tuple[str, str], slice]

    @classmethod
    def of(cls, samples: SampleBlock, series: str | None) -> Self:
        ends = zip(samples.bounds[:-1].tolist(), samples.bounds[1:].tolist(), strict=True)
        return cls(samples, series, dict(zip(samples.keys, (slice(*pair) for pair in ends), strict=True)))


class SampleIndex:
    """An index over files: which blocks hold which series, by outlines of the blocks; thread-safe.

    Samples are read when they are asked for: of the first series that a block is asked for its own only,
    and the whole block where a second one is asked for.

    Attributes:
        metrics: series_id to its metrics, both sorted.
        last_ms: time of the last sample of all.
    """

    def __init__(self, files: Iterable[SampleFile]) -> None:
        self._files = tuple(files)
        self._lock = threading.Lock()
        self._blocks: OrderedDict[tuple[int, int], _HeldBlock] = OrderedDict()
        self._spans: dict[tuple[str, str], list[BlockSpan]] = defaultdict(list)
        changes: dict[tuple[str, str], list[tuple[Times, Array]]] = defaultdict(list)
        for number, file in enumerate(self._files):
            for block in range(file.blocks):
                self._add(number, block, file.outline(block, _CARRIED), changes)
        self._changes = {key: _changes(*_joined(parts)) for key, parts in changes.items()}
        metrics: dict[str, list[str]] = defaultdict(list)
        for series, metric in sorted(self._spans):
            metrics[series].append(metric)
        self.metrics = {series: tuple(names) for series, names in metrics.items()}
        self.last_ms = max(s.last_ms for spans in self._spans.values() for s in spans)

    def span_ms(self, series: str) -> tuple[int, int]:
        """Returns the times of the first and the last sample of a series.

        Only blocks are read that may hold one of them.
        """
        spans = {span for metric in self.metrics[series] for span in self._spans[series, metric]}
        first = last = None
        for span in sorted(spans, key=lambda s: s.first_ms):
            if first is not None and first <= span.first_ms:
                break
            first = min(x for x in (first, self._ends(span, series)[0]) if x is not None)
        for span in sorted(spans, key=lambda s: -s.last_ms):
            if last is not None and last >= span.last_ms:
                break
            last = max(x for x in (last, self._ends(span, series)[1]) if x is not None)
        assert first is not None
        assert last is not None
        return first, last

    def read(self, series: str, metric: str, start_ms: int, end_ms: int) -> tuple[Times, Array]:
        """Returns the samples in [start, end), in the order of the files: times (n,), values (n,)."""
        parts = []
        for span in self._spans.get((series, metric), ()):
            if span.first_ms < end_ms and span.last_ms >= start_ms:
                times, values = self._samples(span, series, metric)
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
        outline: BlockOutline,
        changes: dict[tuple[str, str], list[tuple[Times, Array]]],
    ) -> None:
        span = BlockSpan(file, number, outline.first_ms, outline.last_ms)
        for key in outline.keys:
            self._spans[key].append(span)
        held = _HeldBlock.of(outline.carried, None)
        for key, rows in held.rows.items():
            times, values = held.samples.times[rows], held.samples.values[rows]
            changes[key].append(_changes(times, values.astype(np.float64)))

    def _ends(self, span: BlockSpan, series: str) -> tuple[int, int]:
        parts = [
            self._samples(span, series, metric)[0]
            for metric in self.metrics[series]
            if span in self._spans[series, metric]
        ]
        return min(int(part.min()) for part in parts), max(int(part.max()) for part in parts)

    def _samples(
        self, span: BlockSpan, series: str, metric: str
    ) -> tuple[Times, NDArray[np.float64] | NDArray[np.float32]]:
        held = self._block(span.file, span.block, series)
        rows = held.rows[series, metric]
        return held.samples.times[rows], held.samples.values[rows]

    def _block(self, file: int, number: int, series: str) -> _HeldBlock:
        with self._lock:
            held = self._blocks.pop((file, number), None)
            if held is None or held.series not in (None, series):
                one = series if held is None else None
                held = _HeldBlock.of(self._files[file].read(number, one), one)
            self._blocks[file, number] = held
            self._evict(whole=True, most=CACHED_ROWS)
            self._evict(whole=False, most=CACHED_SERIES_ROWS)
            return held

    def _evict(self, *, whole: bool, most: int) -> None:
        """Forgets blocks, those first that were not asked for the longest; the last one stays."""
        rows = {
            place: len(block.samples.times)
            for place, block in self._blocks.items()
            if (block.series is None) is whole
        }
        held = sum(rows.values())
        for place in list(rows)[:-1]:
            if held <= most:
                return
            held -= rows[place]
            del self._blocks[place]


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
    begins = np.flatnonzero(np.r_[True, values[1:] != values[:-1]]) if len(values) else np.empty(0, np.int64)
    return times[begins], values[begins]


def _joined(parts: list[tuple[Times, Array]]) -> tuple[Times, Array]:
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return np.empty(0, np.int64), np.empty(0)
    return np.concatenate([times for times, _ in parts]), np.concatenate([values for _, values in parts])
