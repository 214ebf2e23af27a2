"""How far a long command is: a bar on a terminal, a plain line now and then elsewhere, on standard error."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

import click

PLAIN_SECONDS = 30.0
ProgressReporter = Callable[[str, int, int | None], None]
"""Takes what is being done, how much of it is done, and of how much; None where that is not known."""


class CountedProgress:
    """Counts what is done of one stage.

    Args:
        report: shows it.
        label: what is being done.
        total: how many there are; None where that is not known yet.
    """

    def __init__(self, report: ProgressReporter, label: str, total: int | None) -> None:
        self._report, self._label, self._total, self._done = report, label, total, 0
        report(label, 0, total)

    def expect(self, total: int) -> None:
        """Takes how many there are, once that is known."""
        self._total = total
        self._report(self._label, self._done, total)

    def advance(self) -> None:
        """Counts one."""
        self._done += 1
        self._report(self._label, self._done, self._total)


@contextlib.contextmanager
def progress_bar(
    total: int | None = None, *, shown: bool = True, label: str = "analysing"
) -> Iterator[CountedProgress]:
    """Shows the progress of one stage while the block runs.

    Args:
        total: how many services there are; None where that is not known yet.
        shown: False where a bar would be mixed with the output.
        label: what is being done.
    """
    with progress_reporter(shown=shown) as report:
        yield CountedProgress(report, label, total)


@contextlib.contextmanager
def progress_reporter(*, shown: bool = True) -> Iterator[ProgressReporter]:
    """Shows the progress of one stage after the other while the block runs.

    Args:
        shown: False where a bar would be mixed with the output.
    """
    if not shown:
        yield lambda _label, _done, _total: None
    elif sys.stderr.isatty():
        with _terminal() as report:
            yield report
    else:
        yield PlainProgress()


class PlainProgress:
    """Prints a line every half minute, for logs: what is done, how fast, and how long it may still take.

    Args:
        clock: seconds that only rise.
        write: takes each line.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        write: Callable[[str], object] = lambda line: click.echo(line, err=True),
    ) -> None:
        self._clock, self._write = clock, write
        self._label, self._began, self._printed = "", 0.0, 0.0

    def __call__(self, label: str, done: int, total: int | None) -> None:
        """Takes the state of a stage; the first of another stage begins that one."""
        instant = self._clock()
        if label != self._label:
            self._label, self._began, self._printed = label, instant, instant
        elif instant - self._printed >= PLAIN_SECONDS:
            self._printed = instant
            self._write(progress_line(label, done, total, instant - self._began))


def progress_line(label: str, done: int, total: int | None, elapsed: float) -> str:
    """Returns such as "analysing: 120 of 1000, 4.2 a second, about 3 min left".

    Args:
        label: what is being done.
        done: how many are.
        total: of how many; None where that is not known.
        elapsed: seconds since the beginning.
    """
    parts = [f"{label}: {done}" if total is None else f"{label}: {done} of {total}"]
    if done and elapsed > 0:
        parts.append(rate(done, elapsed))
        if total is not None and total > done:
            parts.append(f"about {approximate_time((total - done) * elapsed / done)} left")
    return ", ".join(parts)


def rate(done: int, elapsed: float) -> str:
    """Prints how fast it goes: so many a second, or so long for each."""
    if not done or elapsed <= 0:
        return ""
    each = elapsed / done
    if each <= 1:
        return f"{1 / each:.1f} a second"
    return f"{each:.1f} s each" if each < 10 else f"{approximate_time(each)} each"


def approximate_time(seconds: float) -> str:
    """Prints a duration as people say it: "40 s", "3 min", "2.5 h"."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def _terminal() -> Iterator[ProgressReporter]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None, rate="")

        def report(label: str, done: int, total: int | None) -> None:
            state = progress.tasks[0]
            if label != state.description:
                progress.reset(task, description=label, total=total, rate="")
            progress.update(task, completed=done, total=total, rate=rate(done, state.elapsed or 0.0))

        yield report
