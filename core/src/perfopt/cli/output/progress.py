"""A progress bar on standard error."""

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress_bar(total: int | None, *, shown: bool, label: str = "analysing") -> Iterator[Callable[[], None]]:
    """Shows progress while the block runs.

    Args:
        total: how many services there are.
        shown: whether a person watches.
        label: what is being done.

    Yields:
        What to call when one is done.
    """
    if not shown:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda: progress.advance(task)
