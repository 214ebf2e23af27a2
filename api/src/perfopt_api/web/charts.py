"""Small charts as SVG, with the parts and classes of all our pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from perfopt.charts import svg

_TICKS = [(value / 4, f"{25 * value} %") for value in range(5)]


def reliability(bins: Sequence[Mapping[str, Any]]) -> Markup:
    """Draws stated confidence against the share that was accurate; the dotted line is what should be."""
    if not bins:
        return Markup("")
    frame = svg.PlotFrame.of(420, 300, (0.0, 1.0), (0.0, 1.0))
    parts = frame.axes(_TICKS, _TICKS, "stated confidence", "share accurate")
    parts.append(svg.path([_at(frame, 0, 0), _at(frame, 1, 1)], "diagonal"))
    points = [_at(frame, one["stated"], one["accuracy"]) for one in bins]
    parts.append(svg.path(points, "reliability"))
    for (x, y), one in zip(points, bins, strict=True):
        tip = f"stated {one['stated']:.2f}, accurate {one['accuracy']:.2f}, n {one['scored']}"
        parts.append(svg.circle(x, y, 4, "ours", tip))
    label = "Stated confidence against the share of recommendations that was accurate"
    return _picture(420, 300, label, parts)


def bars(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """Draws expected and realised savings by week, oldest first."""
    weeks = [row for row in reversed(rows) if row["expected"] is not None]
    if not weeks:
        return Markup("")
    most = max(1e-9, *(max(row["expected"], row["realised"]) for row in weeks))
    frame = svg.PlotFrame.of(560, 300, (0.0, float(len(weeks))), (0.0, most))
    ticks = [(value, f"{value:g}") for value in svg.nice_ticks(0.0, most)]
    names = [(index + 0.5, row["name"][5:]) for index, row in enumerate(weeks)]
    parts = frame.axes(names, ticks, "week from", f"saving a month, {weeks[0]['currency']}")
    for index, row in enumerate(weeks):
        for shift, key, kind in ((0.15, "expected", "mass"), (0.5, "realised", "ok")):
            top = frame.y.at(row[key])
            left, right = frame.x.at(index + shift), frame.x.at(index + shift + 0.35)
            tip = f"{row['name']}: {key} {row[key]:,.2f} {row['currency']}"
            parts.append(svg.rectangle(left, top, right - left, frame.y.begin - top, kind, tip))
    return _picture(560, 300, "Expected and realised savings by week", parts)


def _at(frame: svg.PlotFrame, x: float, y: float) -> tuple[float, float]:
    return frame.x.at(x), frame.y.at(y)


def frontier(points: Sequence[Mapping[str, Any]], relative_to: str) -> Markup:
    """Draws what other sizes would cost, against how probably they would be accurate."""
    if len(points) < 2:
        return Markup("")
    costs = [one["cost_change_percent"] for one in points]
    sure = [one["confidence"] for one in points]
    frame = svg.PlotFrame.of(420, 260, (min(costs), max(costs) + 1e-9), (min(0.5, *sure), 1.0))
    x_ticks = [(value, f"{value:+g} %") for value in svg.nice_ticks(min(costs), max(costs))]
    y_ticks = [(value, f"{value:g}") for value in svg.nice_ticks(frame.y.low, 1.0)]
    parts = frame.axes(x_ticks, y_ticks, f"cost against the {relative_to} one", "confidence")
    at = [_at(frame, cost, confidence) for cost, confidence in zip(costs, sure, strict=True)]
    parts.append(svg.path(at, "reliability"))
    for (x, y), cost, confidence in zip(at, costs, sure, strict=True):
        parts.append(svg.circle(x, y, 4, "ours", f"{cost:+.1f} % cost at {confidence:.2f} confidence"))
    return _picture(420, 260, "Other trades of cost against confidence", parts)


def _picture(width: float, height: float, label: str, parts: Sequence[str]) -> Markup:
    return Markup(svg.picture(width, height, label, parts))  # noqa: S704  its parts escape all text
