"""The sentences an operator reads, with the numbers they can check."""

from datetime import datetime, timedelta

import numpy as np

from perfopt.plugin import AnalysisContext, Array, Container, InsufficientHistory, Reason
from perfopt_resource.leak import SHOWN_LEVEL, MemoryLeak
from perfopt_resource.model.distribution import NeedDistribution
from perfopt_resource.model.features import SizeCeiling
from perfopt_resource.observed import ObservedContainer
from perfopt_resource.runs import ENOUGH_RUNS
from perfopt_resource.usage import HiddenDemand, OomKills

NEED_LEVELS = (0.01, *(round(0.05 * step, 2) for step in range(1, 20)), 0.99)
"""Quantile levels at which a recommendation keeps the distribution of the need."""


def quantity(field: str, value: float | None) -> str:
    """Prints a value of a container as Kubernetes does: ("cpu_request", 0.3) is "300m"."""
    if value is None:
        return "unset"
    if field.startswith("cpu"):
        return Container(name="", cpu_request_cores=value).to_map()["cpu_request"]
    return Container(name="", memory_request_bytes=int(value)).to_map()["memory_request"]


def duration(length: timedelta) -> str:
    """Prints a length of time in the unit that suits it: "7 days", "6 hours"."""
    hours = length.total_seconds() / 3600
    number, unit = (hours / 24, "day") if hours >= 48 else (hours, "hour")
    return f"{number:.3g} {unit}{'' if number == 1 else 's'}"


def cpu_bound(
    context: AnalysisContext, container: Container, seen: ObservedContainer, wanted: float
) -> Reason:
    """States what the cpu request rests on."""
    reference, samples = seen.features.references["cpu"], _samples(seen.usable("cpu").values)
    return Reason(
        code="cpu_bound",
        text=(
            f"{container.name}: cpu P99 was {quantity('cpu', reference)} in {samples} samples;"
            f" the model recommends {quantity('cpu', wanted)} for the next {duration(context.validity)}."
            f"{_capped(container.cpu_limit_cores, seen.features.ceilings.get('cpu'), wanted)}"
        ),
        data={"p99_cores": round(reference, 6), "bound_cores": round(wanted, 6), "samples": samples},
    )


def idle(name: str, values: Array) -> Reason:
    """States that the floor is enough."""
    samples, peak = _samples(values), float(np.nanmax(values))
    return Reason(
        code="cpu_idle",
        text=(
            f"{name}: cpu is idle (at most {quantity('cpu', peak)} in {samples} samples, 99 % within 5m);"
            " the smallest request, 10m, is enough."
        ),
        data={"peak_cores": round(peak, 6), "samples": samples},
    )


def memory_bound(
    context: AnalysisContext, container: Container, seen: ObservedContainer, wanted: float
) -> Reason:
    """States what the memory request rests on."""
    values = seen.usable("memory").values
    samples, peak = _samples(values), float(np.nanmax(values))
    return Reason(
        code="memory_bound",
        text=(
            f"{container.name}: memory peak was {mebibytes(peak)} in {samples} samples; the model"
            f" recommends {mebibytes(wanted)} for the next {duration(context.validity)}."
            f"{_capped(container.memory_limit_bytes, seen.features.ceilings.get('memory'), wanted)}"
        ),
        data={"peak_bytes": round(peak), "bound_bytes": round(wanted), "samples": samples},
    )


def need(name: str, distribution: NeedDistribution) -> Reason:
    """States what a container will need by the model; its data hold the distribution in quantiles."""
    shown, data = [], {}
    for resource in distribution.seen.references:
        low, high = (_size(resource, size) for size in distribution.interval(resource))
        shown.append(f"{low} to {high} of {resource}")
        sizes = distribution.quantiles(resource, NEED_LEVELS)
        data[resource] = [float(f"{size:.5g}") for size in sizes]
    return Reason(
        code="need",
        text=f"{name}: the need is expected to be {' and '.join(shown)} (80 % interval).",
        data={"container": name, "levels": list(NEED_LEVELS), **data},
    )


def _size(resource: str, value: float) -> str:
    return quantity(resource, value) if resource == "cpu" else mebibytes(value)


def _samples(values: Array) -> int:
    return int(np.count_nonzero(np.isfinite(values)))


def _capped(limit: float | None, ceiling: SizeCeiling | None, wanted: float) -> str:
    """States that a size goes no further than what the limit lets through."""
    if limit is None or ceiling is None or wanted < ceiling.size:
        return ""
    if ceiling.size > limit:
        return " Capped at 10 % above the highest observed use, because the limit restrained it."
    return " Capped at the limit, which use cannot exceed."


def mebibytes(size: float) -> str:
    """Prints bytes as whole MiB."""
    return f"{size / 2**20:,.0f} MiB"


def throttled(name: str, seen: HiddenDemand, value: float) -> Reason:
    """States that throttling hid demand."""
    return Reason(
        code="cpu_throttled",
        text=(
            f"{name}: over 5 % of the periods were throttled in {seen.share:.0%} of the steps, so demand was"
            f" above the measured use; cpu is raised for a demand of {quantity('cpu', value)}."
        ),
        data={"throttled_share": round(seen.share, 4), "throttled_p99": round(seen.worst, 4)},
    )


def oom_killed(name: str, seen: OomKills) -> Reason:
    """States that memory ran out."""
    return Reason(
        code="oom_killed",
        text=(
            f"{name}: {seen.count} OOM kill{'s' if seen.count > 1 else ''} at {mebibytes(seen.held_bytes)};"
            f" memory is at least {mebibytes(seen.least_bytes)} (20 % or 100 MiB above, whichever is more)."
        ),
        data={"kills": seen.count, "held_bytes": round(seen.held_bytes)},
    )


def sized_by_runs(runs: int) -> Reason:
    """States that sizes are from a few runs."""
    return Reason(
        code="few_runs",
        text=f"Sized from {runs} whole run{'' if runs == 1 else 's'}, which is little evidence.",
        data={"runs": runs},
    )


def too_few_runs(runs: int) -> str:
    """Says how many whole runs are needed."""
    return f"It was seen in {runs} whole run{'' if runs == 1 else 's'}; {ENOUGH_RUNS} are enough."


def held_after_kill(name: str, current: float, wanted: float) -> Reason:
    """States that memory does not fall after an OOM kill."""
    return Reason(
        code="held_after_oom_kill",
        text=(
            f"{name}: memory_request stays at {quantity('memory_request', current)}, although use needs"
            f" {quantity('memory_request', wanted)}: memory is not lowered after an OOM kill in the period."
        ),
    )


def leaking(context: AnalysisContext, name: str, leak: MemoryLeak) -> Reason:
    """States that memory only grows, by how much a day, and where that leads."""
    steps = timedelta(days=1) / context.snapshot.grid.step
    slope, low, high = (value * steps for value in (leak.slope, leak.low, leak.high))
    return Reason(
        code="memory_leak",
        text=(
            f"{name}: memory peaks rise by {mebibytes(slope)} a day ({SHOWN_LEVEL:.0%} interval"
            f" {mebibytes(low)} to {mebibytes(high)}) and will reach {mebibytes(leak.peak)} in"
            f" {duration(context.validity)}: probably a leak. A fix or a restart needs less memory."
        ).replace("%", " %"),
        data={
            "peak_bytes": round(leak.peak),
            "slope_bytes_per_day": round(slope),
            "slope_low_bytes_per_day": round(low),
            "slope_high_bytes_per_day": round(high),
        },
    )


def cpu_limit(name: str, current: float | None, limit: float) -> Reason:
    """States what happens to the cpu limit."""
    if limit == current:
        stated = f"the cpu limit stays at {quantity('cpu', limit)}: limits cost nothing, lower ones throttle."
    else:
        stated = f"the cpu limit goes from {quantity('cpu', current)} to {quantity('cpu', limit)}."
    return Reason(code="cpu_limit", text=f"{name}: {stated}")


def raised_to_peak(name: str, peak: float) -> Reason:
    """Says that the request is the observed peak: memory that was used once may be used again."""
    return Reason(
        code="memory_peak",
        text=f"{name}: the memory request is raised to the observed peak of {mebibytes(peak)}.",
        data={"peak_bytes": round(peak)},
    )


def memory_limit(name: str, current: int | None, limit: int) -> Reason:
    """States what happens to the memory limit, by the rule memory_limit_headroom."""
    if limit == current:
        stated = f"the memory limit stays at {quantity('memory', limit)}."
    else:
        stated = (
            f"the memory limit goes from {quantity('memory', current)} to {quantity('memory', limit)}"
            f" (rule memory_limit_headroom: at most a quarter above the request, at least a fifth above"
            " the observed peak)."
        )
    return Reason(code="memory_limit", text=f"{name}: {stated}")


def limit_kept(name: str, limit: int, wanted: int, known: timedelta, enough: timedelta) -> Reason:
    """States that a memory limit does not fall because the history is too short."""
    return Reason(
        code="memory_limit_kept",
        text=(
            f"{name}: the memory limit does not fall from {quantity('memory', limit)} to"
            f" {quantity('memory', wanted)}: of {duration(known)} of history a higher peak may be missing;"
            f" a limit falls after {duration(enough)}."
        ),
    )


def fall_bounded(
    name: str, field: str, current: float, wanted: float, known: timedelta, enough: timedelta
) -> Reason:
    """Says that a request falls by a part only, because its history is shorter than a day."""
    return Reason(
        code="fall_bounded",
        text=(
            f"{name}: {duration(known)} of history would allow {field} {quantity(field, wanted)}; it falls"
            f" from {quantity(field, current)} by half at most, until {duration(enough)} are known."
        ),
        data={"container": name, "field": field, "current": current, "wanted": wanted},
    )


def small_move(name: str, field: str, current: float, wanted: float) -> Reason:
    """States that a value stays because the move is small."""
    return Reason(
        code="small_move",
        text=(
            f"{name}: {field} stays at {quantity(field, current)}: a change to {quantity(field, wanted)}"
            f" ({abs(wanted - current) / current:.0%}) is too small to be worth a restart."
        ),
    )


def no_evidence(name: str, field: str, current: float, wanted: float) -> Reason:
    """States that a request does not rise, because nothing shows that the current one is too small."""
    return Reason(
        code="no_evidence_for_raise",
        text=(
            f"{name}: {field} stays at {quantity(field, current)}: it was enough throughout the history, and"
            f" is forecast to be; {quantity(field, wanted)} would only be safer."
        ),
    )


def held_for_autoscaler(name: str, resource: str, target: int, current: float, wanted: float) -> Reason:
    """States that a request does not fall because an autoscaler measures against it."""
    field = f"{resource}_request"
    return Reason(
        code="held_for_hpa",
        text=(
            f"{name}: {field} stays, because an HPA scales at {target} % of it and a fall from"
            f" {quantity(field, current)} to {quantity(field, wanted)} would add replicas. Change request and"
            f" target together."
        ),
    )


def autoscaler_shift(name: str, resource: str, target: int, current: float, wanted: float) -> Reason:
    """States that raising a request shifts an autoscaler's target."""
    field = f"{resource}_request"
    return Reason(
        code="hpa_target_shifts",
        text=(
            f"{name}: an HPA scales at {target} % of the request; with {quantity(field, wanted)} instead of"
            f" {quantity(field, current)} it scales out at higher use than today."
        ),
    )


def image_changed(name: str, metric: str, at: datetime) -> Reason:
    """States that history before the last image change was left out."""
    return Reason(
        code="image_change",
        text=f"{name}: the image changed on {at:%Y-%m-%d %H:%M} UTC; {metric} before it was left out.",
    )


def leak_ended(name: str, at: datetime) -> Reason:
    """States that a leak that ended was left out."""
    return Reason(
        code="leak_ended",
        text=(
            f"{name}: memory rose steadily until it began anew on {at:%Y-%m-%d %H:%M} UTC, and stayed lower"
            " for as long since; memory_bytes before it was left out."
        ),
    )


def keda(scaled_object: str) -> Reason:
    """States that something else scales the replicas."""
    return Reason(
        code="keda",
        text=(
            f"KEDA's ScaledObject {scaled_object} owns the replicas; if it has a trigger on cpu or memory"
            f" utilisation, that is a share of the request and moves with it."
        ),
    )


def not_sized(lacking: InsufficientHistory) -> Reason:
    """States why a resource of a container stays as it is."""
    return Reason(code="not_sized", text=f"{lacking.reason} It stays as it is.")
