"""What sources were asked for while a piece of work ran, counted where the queries are sent."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from perfopt.domain.job import SourceUsage


class UsageMeter:
    """Adds up what is asked for within `measured_usage`.

    Attributes:
        total: so far.
    """

    def __init__(self) -> None:
        self.total = SourceUsage()

    def add(self, usage: SourceUsage) -> None:
        """Counts what was asked for."""
        self.total += usage


_METERS: ContextVar[tuple[UsageMeter, ...]] = ContextVar("perfopt_usage_meters", default=())


@contextlib.contextmanager
def measured_usage() -> Iterator[UsageMeter]:
    """Measures what the sources are asked for by the block and by the tasks that it starts."""
    meter = UsageMeter()
    token = _METERS.set((*_METERS.get(), meter))
    try:
        yield meter
    finally:
        _METERS.reset(token)


def count_usage(usage: SourceUsage) -> None:
    """Adds what was asked for to every meter of the calling task."""
    for meter in _METERS.get():
        meter.add(usage)
