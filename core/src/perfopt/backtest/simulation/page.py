"""A simulation of autoscalers as one self-contained HTML page: no script, nothing loaded from elsewhere."""

from collections.abc import Sequence
from html import escape

from perfopt.backtest.labels import LabelledDot, labels
from perfopt.backtest.simulation.autoscalers import CLASSES
from perfopt.backtest.simulation.report import (
    ALL,
    PolicyFigures,
    SameCostComparison,
    SimulationResult,
    shown_groups,
)
from perfopt.charts import svg
from perfopt.charts.page import document


def render_simulation_page(result: SimulationResult) -> str:
    """Returns the page."""
    title = f"Simulation of autoscalers on {result.source}"
    groups = shown_groups(tuple(result.policies[0].groups))
    charts = "".join(
        f"<figure><figcaption><b>{escape(name)}</b>, {_services(result, name)}</figcaption>"
        f"{_chart(result.policies, name)}</figure>"
        for name in groups
    )
    parts = [
        f"<h1>{escape(title)}</h1><p>{result.services} services, minute by minute.</p>",
        "<h2>Violated minutes against cost</h2><p>Down and to the left is better.</p>",
        f'<div class="row">{charts}</div>',
        "<h2>Figures</h2><p>Violated minutes / cost; means over services, each weighing the same.</p>",
        _table(result.policies, groups),
    ]
    if result.same_cost:
        parts += ["<h2>At each baseline's cost</h2><p>Violated minutes: baseline → perfopt.</p>"]
        parts += [_same_cost(result.same_cost, groups)]
    if result.loop and result.loop[0].groups:
        parts += ["<h2>By the autoscaler's 15-second loop</h2>", _table(result.loop, groups)]
    failed = [f"{one.service} could not be run: {one.message}" for one in result.failed]
    items = "".join(f"<li>{escape(note)}</li>" for note in (*result.notes, *failed))
    parts.append(f"<h2>Notes</h2><ul>{items}</ul>")
    return document(title, "".join(parts))


def _services(result: SimulationResult, group: str) -> str:
    count = result.policies[0].groups[group].services
    return "1 service" if count == 1 else f"{count} services"


def _chart(policies: Sequence[PolicyFigures], group: str) -> str:
    dots = [(one.policy, one.groups[group].cost, one.groups[group].violated) for one in policies]
    costs = [cost for _, cost, _ in dots]
    most = max(violated for _, _, violated in dots) * 1.1 or 0.01
    frame = svg.PlotFrame.of(560, 380, (min(costs) * 0.9, max(costs) * 1.1), (0.0, most))
    x_ticks = [(tick, f"{tick:g}") for tick in svg.nice_ticks(frame.x.low, frame.x.high, 5)]
    y_ticks = [(tick, f"{tick:.1%}") for tick in svg.nice_ticks(0.0, most, 5)]
    parts = frame.axes(x_ticks, y_ticks, "cost over the oracle's", "violated")
    placed = []
    for policy, cost, violated in dots:
        kind = "ours" if policy in CLASSES else "baseline"
        x, y = frame.x.at(cost), frame.y.at(violated)
        parts.append(svg.circle(x, y, 5.0, kind, f"{policy}: {violated:.2%} at {cost:.2f}"))
        placed.append(LabelledDot(x, y, policy, kind))
    return svg.picture(560, 380, f"Violated minutes against cost, {group}", [*parts, *labels(placed, frame)])


def _table(policies: Sequence[PolicyFigures], groups: Sequence[str]) -> str:
    rows = "".join(
        f"<tr{_kind(one.policy)}>"
        + _cells(
            "td",
            (
                one.policy,
                *(f"{one.groups[name].violated:.2%} / {one.groups[name].cost:.2f}" for name in groups),
                f"{one.groups[ALL].whole_cost:.2f}",
                f"{one.groups[ALL].starts_per_hour:.2f}",
            ),
        )
        + "</tr>"
        for one in policies
    )
    header = _cells("th", ("policy", *groups, "whole cost", "starts an hour"))
    return f'<div class="wide"><table><tr>{header}</tr>{rows}</table></div>'


def _same_cost(comparisons: Sequence[SameCostComparison], groups: Sequence[str]) -> str:
    rows: dict[str, list[str]] = {}
    for one in comparisons:
        if one.group not in groups:
            continue
        ours = "-" if one.violated is None else f"{one.violated:.2%}"
        rows.setdefault(one.baseline, []).append(f"{one.baseline_violated:.2%} → {ours} at {one.cost:.2f}")
    body = "".join(f"<tr>{_cells('td', (baseline, *cells))}</tr>" for baseline, cells in rows.items())
    header = _cells("th", ("baseline", *groups))
    return f'<div class="wide"><table><tr>{header}</tr>{body}</table></div>'


def _kind(policy: str) -> str:
    return ' class="ours"' if policy in CLASSES else ""


def _cells(tag: str, texts: Sequence[str]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)
