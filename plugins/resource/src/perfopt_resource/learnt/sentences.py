"""The sentences of a learnt sizing; those it shares with the rule are in perfopt_resource.text."""

import numpy as np

from perfopt.plugin import AnalysisContext, Array, Container, Reason
from perfopt_resource import text
from perfopt_resource.learnt.observed import Observed


def cpu_bound(
    context: AnalysisContext, container: Container, seen: Observed, wanted: float, value: float
) -> Reason:
    """Says what the cpu request rests on."""
    reference, samples = seen.features.references["cpu"], _samples(seen.usable("cpu").values)
    return Reason(
        code="cpu_bound",
        text=(
            f"{container.name}: the P99 of cpu was {text.quantity('cpu', reference)} in {samples} samples;"
            f" for the next {text.duration(context.validity)} the model asks for"
            f" {text.quantity('cpu', wanted)}."
            f"{_capped(container.cpu_limit_cores, wanted, value)}"
        ),
        data={"p99_cores": round(reference, 6), "bound_cores": round(value, 6), "samples": samples},
    )


def idle(name: str, values: Array, peak: float) -> Reason:
    """Says that the floor is enough."""
    samples = _samples(values)
    return Reason(
        code="cpu_idle",
        text=(
            f"{name}: cpu is close to idle (at most {text.quantity('cpu', peak)} in {samples} samples,"
            " and nearly always far less); the least request there is, 10m, is enough."
        ),
        data={"peak_cores": round(peak, 6), "samples": samples},
    )


def memory_bound(
    context: AnalysisContext, container: Container, seen: Observed, peak: float, wanted: float, value: float
) -> Reason:
    """Says what the memory request rests on."""
    samples = _samples(seen.usable("memory").values)
    return Reason(
        code="memory_bound",
        text=(
            f"{container.name}: memory peaked at {text.mebibytes(peak)} in {samples} samples; for the next"
            f" {text.duration(context.validity)} the model asks for {text.mebibytes(wanted)}."
            f"{_capped(container.memory_limit_bytes, wanted, value)}"
        ),
        data={"peak_bytes": round(peak), "bound_bytes": round(value), "samples": samples},
    )


def _samples(values: Array) -> int:
    return int(np.count_nonzero(np.isfinite(values)))


def _capped(limit: float | None, wanted: float, value: float) -> str:
    """Says that a size was lowered to what the limit lets through."""
    if limit is None or value >= wanted:
        return ""
    if value > limit:
        return " It stops a tenth above the highest use seen, which the limit was meant to hold down."
    return " It stops at the limit, which use can't pass."
