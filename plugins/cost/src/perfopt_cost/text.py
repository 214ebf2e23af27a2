"""The sentences an operator reads, with the numbers they can check."""

from datetime import timedelta
from typing import Any

from perfopt.plugin import AnalysisContext, PriceBook, Reason, WorkloadState, format_cpu, format_memory
from perfopt_cost.autoscaler import LowerMinimum
from perfopt_cost.availability import AvailabilityNeeds, survivors
from perfopt_cost.demand import ContainerDemand
from perfopt_cost.milp import MilpSolution


def description(context: AnalysisContext, target: WorkloadState, current: float, recommended: float) -> str:
    """States what to change and what it saves."""
    state = context.snapshot.workload.state
    book = context.price_book
    money = f"{current:,.2f} to {recommended:,.2f} {book.currency} a month by price book {book.name}"
    return f"{'; '.join(_changes(state, target))}: {money}."


def _changes(state: WorkloadState, target: WorkloadState) -> list[str]:
    parts = []
    if target.extra.get("schedule") and target.extra.get("schedule") != state.extra.get("schedule"):
        counts = sorted({entry["min_replicas"] for entry in target.extra["schedule"]})
        parts.append(f"Run {counts[0]} to {counts[-1]} replicas by schedule instead of {state.replicas}")
    elif target.hpa is not None and state.hpa is not None and target.hpa != state.hpa:
        parts.append(f"Lower the HPA's minimum from {state.hpa.min_replicas} to {target.hpa.min_replicas}")
    elif target.replicas != state.replicas:
        parts.append(f"Run {target.replicas} replicas instead of {state.replicas}")
    for new in target.containers:
        old = state.container(new.name)
        moves = []
        if old is not None and old.cpu_request_cores != new.cpu_request_cores:
            moves.append(f"cpu_request from {_cpu(old.cpu_request_cores)} to {_cpu(new.cpu_request_cores)}")
        if old is not None and old.memory_request_bytes != new.memory_request_bytes:
            memory = f"{_memory(old.memory_request_bytes)} to {_memory(new.memory_request_bytes)}"
            moves.append(f"memory_request from {memory}")
        if moves:
            parts.append(f"set {', '.join(moves)} on {new.name}")
    if target.extra.get("node_type") and target.extra.get("node_type") != state.extra.get("node_type"):
        parts.append(f"place it on {target.extra['node_type']}")
    if target.extra.get("spot_share", 0.0) != state.extra.get("spot_share", 0.0):
        parts.append(f"run {target.extra['spot_share']:.0%} of the replicas on spot")
    text = [part[0].upper() + part[1:] if not number else part for number, part in enumerate(parts)]
    return text or ["Change nothing"]


def _cpu(cores: float | None) -> str:
    return "unset" if cores is None else format_cpu(cores)


def _memory(size: float | None) -> str:
    return "unset" if size is None else format_memory(size)


def no_change(context: AnalysisContext, cost: float, solution: MilpSolution | None) -> str:
    """States that nothing is worth changing."""
    book = context.price_book
    compared = f" Combinations compared: {solution.combinations}." if solution is not None else ""
    return f"No change needed ({cost:,.2f} {book.currency} a month): no safe alternative saves 5 %.{compared}"


def solved(solution: MilpSolution) -> Reason:
    """States how good the combination is known to be."""
    how = "all compared" if solution.method == "enumerated" else "by HiGHS"
    proof = "proven cheapest" if solution.gap == 0 else f"within {solution.gap:.2%} of the cheapest"
    return Reason(
        code="optimality",
        text=(
            f"Of {solution.combinations} feasible combinations of size, placement and replicas, this is"
            f" {proof} (optimality gap {solution.gap:.2%}, {how})."
        ),
        data={
            "gap": round(solution.gap, 6),
            "method": solution.method,
            "combinations": solution.combinations,
        },
    )


def demand(context: AnalysisContext, need: ContainerDemand) -> Reason:
    """States what a container's size rests on."""
    days = context.validity / timedelta(days=1)
    parts: list[str] = []
    data: dict[str, float] = {}
    if need.cpu is not None:
        parts.append(
            f"cpu P99 {format_cpu(need.cpu.reference)}, upper bound"
            f" {format_cpu(need.cpu.value)} (coverage of such bounds {need.cpu.held:.0%})"
        )
        data |= {"cpu_p99_cores": round(need.cpu.reference, 6), "cpu_bound_cores": round(need.cpu.value, 6)}
    if need.memory is not None:
        parts.append(
            f"memory peak {need.memory.reference / 2**20:,.0f} MiB, upper bound"
            f" {need.memory.value / 2**20:,.0f} MiB (coverage {need.memory.held:.0%})"
        )
        data |= {"memory_peak_bytes": round(need.memory.reference)}
        data |= {"memory_bound_bytes": round(need.memory.value)}
    if not parts:
        return Reason(code="not_measured", text=f"{need.name} has no metrics: its requests stay.")
    stated = "; ".join(parts)
    text = f"{need.name}, per replica over the next {days:.3g} days: {stated}."
    return Reason(code="demand", text=text, data=data)


def off_hours(schedule: list[dict[str, Any]], saving_percent: float, calendar: str | None) -> Reason:
    """States what the schedule does."""
    counts = sorted({entry["min_replicas"] for entry in schedule})
    days = f"the sessions of {calendar}" if calendar else "weekdays and weekends"
    return Reason(
        code="off_hours",
        text=(
            f"The load follows the hours of {days}: {counts[-1]} replicas in busy and {counts[0]} in quiet"
            f" hours save {saving_percent:.0f} % of the replica-hours. Replicas are added 15 minutes early."
        ),
        data={"saving_percent": round(saving_percent, 2), "calendar": calendar},
    )


def minimum(lower: LowerMinimum, before: int) -> Reason:
    """States why an autoscaler's minimum can fall."""
    if lower.orphaned:
        why = "the load never needed more than the minimum, so the autoscaler never scaled"
    else:
        why = "the load often needed fewer replicas than the minimum"
    return Reason(
        code="orphaned_minimum" if lower.orphaned else "overlarge_minimum",
        text=(
            f"The HPA's minimum of {before} can be {lower.replicas}: {why}. On this history"
            f" {lower.expected:.1f} replicas would have run on average."
        ),
        data={"min_replicas": lower.replicas, "expected_replicas": round(lower.expected, 2)},
    )


def zone_loss(needs: AvailabilityNeeds, replicas: tuple[int, ...]) -> Reason:
    """States what the loss of a zone leaves of the replicas that run by hours."""
    zones = needs.zones
    counts = sorted({*replicas}, reverse=True)
    left = " and ".join(f"{survivors(count, zones)} of {count}" for count in counts)
    able = ", which carry the load within their limits, or are as many as today" if needs.carries else ""
    known = "" if needs.known else " (assumed)"
    return Reason(
        code="zone_loss",
        text=f"Spread evenly over {zones} zones{known}, the loss of one leaves {left} replicas{able}.",
        data={"zones": zones, "survivors": {str(count): survivors(count, zones) for count in counts}},
    )


def spot(book: PriceBook, node_type: str, share: float, steady: int) -> Reason:
    """States what running on spot risks."""
    node = book.node_type(node_type)
    assert node is not None
    assert node.spot_price_hour is not None
    less = 1 - node.spot_price_hour / node.price_hour if node.price_hour else 0.0
    return Reason(
        code="spot",
        text=(
            f"A spot {node_type} costs {less:.0%} less and may be reclaimed at short notice: at most"
            f" {share:.0%} of the replicas run there, and at least {steady} on demand."
        ),
        data={"spot_price_hour": node.spot_price_hour, "price_hour": node.price_hour},
    )
