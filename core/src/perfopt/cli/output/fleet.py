"""What a cluster's nodes cost, as a person reads it."""

from perfopt.cli.output.render import table
from perfopt.fleet import FleetBudget, FleetSide, FleetView

_LABELS = (
    "pods", "cpu requested", "memory requested", "cost of requests", "nodes", "", "cost of nodes",
    "lower bound", "gap",
)  # fmt: skip


def _column(side: FleetSide, currency: str) -> tuple[str, ...]:
    return (
        str(side.pods),
        f"{side.cpu_cores:,.2f} cores",
        f"{side.memory_bytes / 2**30:,.1f} GiB",
        _money(side.requests_cost_month, currency),
        str(side.node_count),
        ", ".join(f"{count} x {name}" for name, count in side.nodes.items()),
        _money(side.packed_cost_month, currency),
        _money(side.bound_month, currency),
        f"{side.gap:.1%}",
    )


def fleet_text(view: FleetView) -> str:
    """Prints both sides in columns, the saving, and what a budget asks for."""
    current, recommended = _column(view.current, view.currency), _column(view.recommended, view.currency)
    shown = table(("", "CURRENT", "RECOMMENDED"), zip(_LABELS, current, recommended, strict=True))
    saved = f"{_money(view.saving_month, view.currency)} a month ({view.saving_percent:.1f} %)"
    lines = [
        f"Packing {view.workloads} workloads as recommended saves {saved} of nodes, by {view.price_book}."
    ]
    if view.budget is not None:
        lines += _budget(view.budget, view.currency)
    lines += [f"Left out: {name}: {why}." for name, why in view.left_out.items()]
    return shown + "\n".join(lines) + "\n"


def _budget(budget: FleetBudget, currency: str) -> list[str]:
    limit = _money(budget.budget_month, currency)
    if budget.fleet is None:
        return [f"No choice of the recommended changes was found to bring nodes within {limit} a month."]
    count, most = len(budget.change), len(budget.change) + len(budget.leave)
    lines = [
        f"For {limit} a month, {count} of {most} changes are enough: nodes then cost"
        f" {_money(budget.fleet.packed_cost_month, currency)}, at a risk of"
        f" {_money(budget.risk_month, currency)} (optimality gap {budget.gap:.2%}, by HiGHS)."
    ]
    lines += [f"Change: {', '.join(budget.change)}."] if budget.change else []
    lines += [f"Leave: {', '.join(budget.leave)}."] if budget.leave else []
    return lines


def _money(amount: float, currency: str) -> str:
    return f"{amount:,.2f} {currency}"
