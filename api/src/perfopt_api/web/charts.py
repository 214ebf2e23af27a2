"""Small charts as SVG, with the parts and classes of all our pictures."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from markupsafe import Markup

from perfopt.charts import svg
from perfopt.charts.units import amount
from perfopt.domain.quantity import parse_cpu, parse_memory

_PARSERS: dict[str, Callable[[str], float]] = {"cpu": parse_cpu, "memory": parse_memory}
_RATIOS = ("failed_requests", "slow_requests")
_NEED_WIDTH = 520  # a label of a size has half of it
_SHOWN_LEVELS = (0.05, 0.95)
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


def frontier(
    points: Sequence[Mapping[str, Any]], relative_to: str, recommended: tuple[float, float] | None = None
) -> Markup:
    """Draws what other sizes would cost, against how probably they would be accurate.

    Args:
        points: of the other sizes.
        relative_to: what costs are compared with.
        recommended: the cost, in percent, and the confidence of what is recommended; None is not drawn.
    """
    if len(points) < 2:
        return Markup("")
    costs = [one["cost_change_percent"] for one in points]
    confidences = [one["confidence"] for one in points]
    own = () if recommended is None else (recommended,)
    low, high = (pick([*costs, *(cost for cost, _ in own)]) for pick in (min, max))
    least = min([*confidences, *(confidence for _, confidence in own)])
    frame = svg.PlotFrame.of(420, 260, (low, high + 1e-9), (math.floor(20 * least) / 20, 1.0))
    x_ticks = [(value, f"{value:+g} %") for value in svg.nice_ticks(low, high)]
    y_ticks = [(value, f"{value:g}") for value in svg.nice_ticks(frame.y.low, 1.0)]
    parts = frame.axes(x_ticks, y_ticks, f"cost against the {relative_to} one", "confidence")
    at = [_at(frame, cost, confidence) for cost, confidence in zip(costs, confidences, strict=True)]
    parts.append(svg.path(at, "reliability"))
    for (x, y), cost, confidence in zip(at, costs, confidences, strict=True):
        parts.append(svg.circle(x, y, 4, "ours", f"{cost:+.1f} % cost at {confidence:.2f} confidence"))
    for cost, confidence in own:
        x, y = _at(frame, cost, confidence)
        tip = f"recommended: {cost:+.1f} % cost at {confidence:.2f} confidence"
        parts.append(svg.circle(x, y, 6, "chosen", tip))
        side = "end" if x > frame.x.at((low + high) / 2) else ""
        parts.append(svg.text(x + (-10 if side else 10), y + 22, "recommended", f"level new {side}".strip()))
    return _picture(420, 260, "Other trades of cost against confidence", parts)


class NeedChart(msgspec.Struct, frozen=True, kw_only=True):
    """The distribution of what a pod of one container will need of one resource, in cores or bytes.

    Attributes:
        levels: of the quantiles, rising.
        quantiles: at these levels.
        sizes: "current" and "recommended" request as Kubernetes writes them, as far as they are set.
    """

    container: str
    resource: str
    levels: tuple[float, ...]
    quantiles: tuple[float, ...]
    sizes: dict[str, str]


def need(chart: NeedChart) -> Markup:
    """Draws how probable each need is, with the sizes on it; what is beyond 5 and 95 % is left out."""
    bins = _bins(chart)
    if not bins:
        return Markup("")
    sizes = {name: _PARSERS[chart.resource](text) for name, text in chart.sizes.items()}
    known = [*(low for low, _, _ in bins), *(high for _, high, _ in bins), *sizes.values()]
    low, high = 0.95 * min(known), 1.05 * max(known)
    top = max(mass / math.log(right / left) for left, right, mass in bins)
    frame = svg.PlotFrame.of(_NEED_WIDTH, 220, (low, high), (0.0, top), math.log)
    frame = replace(frame, y=replace(frame.y, end=frame.y.end + 30))
    steps = (low * (high / low) ** share for share in (0.05, 0.35, 0.65, 0.95))
    ticks = [(size, amount(size, chart.resource)) for size in steps]
    parts = frame.axes(ticks, (), f"{chart.resource} needed per pod", f"{chart.container}: {chart.resource}")
    for left, right, mass in bins:
        x, y = _at(frame, left, mass / math.log(right / left))
        tip = f"{mass:.0%} between {amount(left, chart.resource)} and {amount(right, chart.resource)}"
        parts.append(svg.rectangle(x, y, frame.x.at(right) - x, frame.y.begin - y, "mass", tip))
    for row, (name, size) in enumerate(sizes.items()):
        parts += _size_mark(frame, chart, 30.0 + 14 * row, name, size)
    label = f"Distribution of the {chart.resource} that {chart.container} will need, with the sizes on it"
    return _picture(_NEED_WIDTH, 220, label, parts)


def _bins(chart: NeedChart) -> list[tuple[float, float, float]]:
    """Returns from, to and probability of each bar; of quantiles that are alike there is none."""
    points = [
        (level, size)
        for level, size in zip(chart.levels, chart.quantiles, strict=True)
        if _SHOWN_LEVELS[0] <= level <= _SHOWN_LEVELS[1]
    ]
    return [(a, b, above - below) for (below, a), (above, b) in pairwise(points) if b > 1.0005 * a]


def _size_mark(frame: svg.PlotFrame, chart: NeedChart, top: float, name: str, size: float) -> Iterator[str]:
    x, end = frame.x.at(size), frame.x.at(size) > (frame.x.begin + frame.x.end) / 2
    enough = float(np.interp(size, chart.quantiles, chart.levels))
    share = f"{'over ' if enough >= chart.levels[-1] else ''}{enough:.0%}"
    text = f"{name} {chart.sizes[name]}: enough at {share}"
    yield svg.line(x, top - 8, x, frame.y.begin, name)
    kind = "level new" if name == "recommended" else "level"
    yield svg.text(x + (-5 if end else 5), top, text, f"{kind} end" if end else kind)


def harm(name: str, looks: Sequence[Mapping[str, Any]]) -> Markup:
    """Draws what each look of a verification showed of one metric: the bounds, and the harm accepted.

    Args:
        name: of the metric.
        looks: oldest first, as the verification stores them.
    """
    seen = [(_seconds(one["at"]), one["bounds"][name]) for one in looks if name in one["bounds"]]
    known = [(at, bounds) for at, bounds in seen if bounds["estimate"] is not None]
    if not known:
        return Markup("")
    margin, neutral = known[-1][1]["margin"], harm_neutral(name)
    values = [
        margin,
        neutral,
        *(bounds[part] for _, bounds in known for part in ("estimate", "lower", "upper")),
    ]
    finite = [value for value in values if value is not None]
    most = max(abs(bounds["estimate"] - neutral) for _, bounds in known) + abs(margin - neutral)
    low, high = (max(min(finite), neutral - 3 * most), min(max(finite), neutral + 3 * most))
    room = 0.08 * (high - low)
    begin, end = known[0][0], known[-1][0]
    frame = svg.PlotFrame.of(420, 240, (begin - 1, end + 1), (low - 2 * room, high + room))
    y_ticks = [(value, f"{value:g}") for value in svg.nice_ticks(low - 2 * room, high + room)]
    x_ticks = [(at, f"+{at - begin:.0f} s") for at in dict.fromkeys((begin, (begin + end) / 2, end))]
    parts = frame.axes(x_ticks, y_ticks, "since the first look", name.replace("_", " "))
    parts += _bounds(frame, known)
    # At opposite ends and on opposite sides of their lines, as both values may be alike.
    above, below = -4, 13
    sides = (below, above) if margin >= neutral else (above, below)
    for value, kind in ((neutral, "grid"), (margin, "needed")):
        parts.append(svg.line(frame.x.begin, frame.y.at(value), frame.x.end, frame.y.at(value), kind))
    parts.append(svg.text(frame.x.begin + 4, frame.y.at(neutral) + sides[0], "as the control", "level"))
    parts.append(svg.text(frame.x.end, frame.y.at(margin) + sides[1], "harm accepted", "tick end"))
    return _picture(420, 240, f"{name}: changed pods against the control at each look", parts)


def harm_neutral(name: str) -> float:
    """Returns the value at which changed pods are as the control: 1 of a ratio, 0 of a difference."""
    return 1.0 if name.startswith(_RATIOS) and not name.endswith("_share") else 0.0


def _bounds(frame: svg.PlotFrame, known: Sequence[tuple[float, Mapping[str, Any]]]) -> Iterator[str]:
    for at, bounds in known:
        x, lower, upper = frame.x.at(at), bounds["lower"], bounds["upper"]
        top = frame.y.end if upper is None else frame.y.at(upper)
        bottom = frame.y.begin if lower is None else frame.y.at(lower)
        yield svg.rectangle(x - 3, top, 6, max(bottom - top, 1.0), "mass")
    yield svg.path([_at(frame, at, bounds["estimate"]) for at, bounds in known], "reliability")
    for at, bounds in known:
        ends = " to ".join(
            "unknown" if bounds[part] is None else f"{bounds[part]:.3g}" for part in ("lower", "upper")
        )
        yield svg.circle(*_at(frame, at, bounds["estimate"]), 3, "ours", f"{bounds['estimate']:.3g} ({ends})")


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def _picture(width: float, height: float, label: str, parts: Sequence[str]) -> Markup:
    return Markup(svg.picture(width, height, label, parts))  # noqa: S704  its parts escape all text
