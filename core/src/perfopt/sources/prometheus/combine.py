"""Series put together here rather than by the server, for which it costs several times as much. Pure."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np

from perfopt.sources.prometheus.answer import RangeSeries

_MIN_DIVISOR = 1e-9
_NAME = "__name__"


def grouped[Key: Hashable](
    series: Iterable[RangeSeries], key: Callable[[RangeSeries], Key | None]
) -> dict[Key, RangeSeries]:
    """Returns one series a key: of those with the same one, the largest value of each instant.

    Args:
        series: any.
        key: what a series belongs to; None leaves it out.
    """
    groups: dict[Key, list[RangeSeries]] = defaultdict(list)
    for one in series:
        if (mine := key(one)) is not None:
            groups[mine].append(one)
    return {mine: _largest(copies) for mine, copies in groups.items()}


def added[Key: Hashable](
    series: Iterable[RangeSeries], key: Callable[[RangeSeries], Key | None]
) -> dict[Key, RangeSeries]:
    """Returns one series a key: of those with the same one, the sum of each instant."""
    groups: dict[Key, list[RangeSeries]] = defaultdict(list)
    for one in series:
        if (mine := key(one)) is not None:
            groups[mine].append(one)
    return {mine: _sum(parts) for mine, parts in groups.items()}


def divided(series: Iterable[RangeSeries], divisors: Iterable[RangeSeries]) -> list[RangeSeries]:
    """Divides each series by the one with the same labels, at the instants that both have."""
    by_labels = {_identity(divisor): divisor for divisor in divisors}
    quotients = []
    for one in series:
        divisor = by_labels.get(_identity(one))
        if divisor is None:
            continue
        times, mine, other = np.intersect1d(one.times, divisor.times, assume_unique=True, return_indices=True)
        values = one.values[mine] / np.maximum(divisor.values[other], _MIN_DIVISOR)
        quotients.append(RangeSeries(one.labels, times, values))
    return quotients


def varies(series: RangeSeries) -> bool:
    """Returns whether a series has different values."""
    return bool(len(series.values)) and bool((series.values != series.values[0]).any())


def _largest(copies: Sequence[RangeSeries]) -> RangeSeries:
    if len(copies) == 1:
        return copies[0]
    together = RangeSeries.concatenated(copies)
    rank = np.where(np.isnan(together.values), -np.inf, together.values)
    order = np.lexsort((rank, together.times))
    times, values = together.times[order], together.values[order]
    largest = np.append(times[1:] != times[:-1], True)
    return RangeSeries(together.labels, times[largest], values[largest])


def _sum(parts: Sequence[RangeSeries]) -> RangeSeries:
    if len(parts) == 1:
        return parts[0]
    together = RangeSeries.concatenated(parts)
    times, place = np.unique(together.times, return_inverse=True)
    return RangeSeries(together.labels, times, np.bincount(place, np.nan_to_num(together.values)))


def _identity(series: RangeSeries) -> frozenset[tuple[str, str]]:
    return frozenset(item for item in series.labels.items() if item[0] != _NAME)
