"""Services that do nothing, and those that nobody calls."""

from datetime import timedelta

import numpy as np

from perfopt.plugin import AnalysisContext, Array, Reason
from perfopt_cost.demand import ContainerDemand

LONG_ENOUGH = timedelta(days=3)
_PROBES_REQUESTS = 0.02  # a second: an hourly check, a scrape
_PROBES_BYTES = 1000.0  # a second and workload: health checks and scrapes weigh less


def idle_reasons(context: AnalysisContext, needs: list[ContainerDemand]) -> tuple[Reason, ...]:
    """Returns that the service is idle or abandoned, and what to do about it; nothing where it is neither."""
    length = context.snapshot.grid.size * context.snapshot.grid.step
    if length < LONG_ENOUGH or not all(need.idle for need in needs):
        return ()
    days = length / timedelta(days=1)
    called = _called(context)
    if called is False:
        text = (
            f"It used next to no cpu and was not called in {days:.0f} days: it looks abandoned. Ask its"
            " owner; scaled to zero or removed it would cost nothing."
        )
        return (Reason(code="abandoned", text=text, data={"days": round(days, 1)}),)
    calls = "It was called all the same" if called else "Whether it was called is not measured"
    text = f"It used next to no cpu in {days:.0f} days (at most 10m a replica). {calls}."
    return (Reason(code="idle", text=text, data={"days": round(days, 1)}),)


def _called(context: AnalysisContext) -> bool | None:
    """Returns whether anything called the service; None where that is not measured."""
    for metric, most in (
        ("requests_per_second", _PROBES_REQUESTS),
        ("network_receive_bytes_per_second", _PROBES_BYTES),
    ):
        values = context.snapshot.service.get(metric)
        known: Array = values[np.isfinite(values)] if values is not None else np.empty(0)
        if known.size:
            return bool(np.quantile(known, 0.99) > most)
    return None
