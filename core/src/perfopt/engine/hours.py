"""Hours of a month for which a workload is priced: jobs reserve nothing between their runs. Pure."""

import msgspec
import numpy as np

from perfopt.domain.price import HOURS_PER_MONTH, PriceBook
from perfopt.domain.recommendation import RUNNING_HOURS, Reason
from perfopt.metrics.snapshot import WorkloadSnapshot


def running_share(snapshot: WorkloadSnapshot) -> float:
    """Returns the share of the time, from its first run on, in which a job ran.

    1 for other kinds, and where the source does not say when it ran.
    """
    running = snapshot.running
    if running is None or not snapshot.workload.id.runs_to_completion or not running.any():
        return 1.0
    return float(running[int(np.argmax(running)) :].mean())


def book_of_hours(book: PriceBook, snapshot: WorkloadSnapshot) -> PriceBook:
    """Returns a price book that counts only the hours of a month in which the workload runs."""
    share = running_share(snapshot)
    return book if share == 1.0 else msgspec.structs.replace(book, hours_month=share * HOURS_PER_MONTH)


def hours_reason(snapshot: WorkloadSnapshot) -> tuple[Reason, ...]:
    """Returns the reason that costs are of the running hours only; nothing where they are of all."""
    share = running_share(snapshot)
    if share == 1.0:
        return ()
    hours = share * HOURS_PER_MONTH
    text = (
        f"It ran in {share:.1%} of the time since its first run of the period: costs and savings are for"
        f" {hours:.0f} of the {HOURS_PER_MONTH:.0f} hours of a month."
    )
    return (Reason(code=RUNNING_HOURS, text=text, data={"running_share": round(share, 4)}),)
