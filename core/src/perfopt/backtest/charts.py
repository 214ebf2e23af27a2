"""The charts of a backtest's page: the frontier, the reliability of confidence, the worst misses."""

import math
from collections.abc import Sequence

import numpy as np

from perfopt.backtest.bootstrap import ConfidenceInterval
from perfopt.backtest.calibration import CalibrationFigures
from perfopt.backtest.evaluated import ReplicaTrace
from perfopt.backtest.labels import LabelledDot, labels
from perfopt.backtest.summary import PolicySummary
from perfopt.backtest.violations import ViolationSeries
from perfopt.charts import svg
from perfopt.charts.units import amount, unit
from perfopt.metrics.snapshot import Array

WASTE_TICKS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
MISS_COLUMNS = 360


def frontier(policies: Sequence[PolicySummary], resource: str) -> str:
    """Draws accuracy against the median waste of a resource, a dot with intervals for each policy."""
    shown = [summary for summary in policies if _dot(summary, resource) is not None]
    if not shown:
        return ""
    wastes = [interval.value for summary in shown if (interval := _waste(summary, resource))]
    most = next((tick for tick in WASTE_TICKS if tick >= max(*wastes, 0.25) * 1.05), 10.0)
    low = _lowest([summary.intervals["accuracy"] for summary in shown])
    frame = svg.PlotFrame.of(640, 420, (0.0, most), (low, 1.0), math.log1p)
    ticks = [(tick, f"{tick:.0%}") for tick in WASTE_TICKS if tick <= most]
    parts = frame.axes(
        ticks,
        [(tick, f"{tick:.0%}") for tick in svg.nice_ticks(low, 1.0, 5)],
        f"{resource} waste, median over the safe ones",
        "accuracy",
    )
    parts.append(svg.path(_staircase(frame, shown, resource), "frontier"))
    dots = []
    for summary in shown:
        accuracy, waste = summary.intervals["accuracy"], _waste(summary, resource)
        assert waste is not None
        x, y = frame.x.at(waste.value), frame.y.at(accuracy.value)
        kind = "baseline" if summary.baseline else "ours"
        parts += _whiskers(frame, accuracy, waste, kind)
        tip = f"{summary.policy}: accuracy {accuracy.value:.1%}, {resource} waste {waste.value:.0%}"
        parts.append(svg.circle(x, y, 4.0 if summary.baseline else 5.5, kind, tip))
        dots.append(LabelledDot(x, y, summary.policy, kind))
    parts += labels(dots, frame)
    return svg.picture(640, 420, f"Accuracy against {resource} waste by policy", parts)


def _lowest(accuracies: Sequence[ConfidenceInterval]) -> float:
    """Returns where the axis of accuracy begins: below every value and interval, in tenths."""
    low = min(one.value if one.low is None else one.low for one in accuracies)
    return max(math.floor(low * 10 - 1e-9) / 10, 0.0)


def _waste(summary: PolicySummary, resource: str) -> ConfidenceInterval | None:
    return summary.intervals.get(f"{resource}_waste_median")


def _dot(summary: PolicySummary, resource: str) -> tuple[float, float] | None:
    accuracy, waste = summary.intervals.get("accuracy"), _waste(summary, resource)
    return None if accuracy is None or waste is None else (waste.value, accuracy.value)


def _whiskers(
    frame: svg.PlotFrame, accuracy: ConfidenceInterval, waste: ConfidenceInterval, kind: str
) -> list[str]:
    parts, x, y = [], frame.x.at(waste.value), frame.y.at(accuracy.value)
    if accuracy.low is not None and accuracy.high is not None:
        parts.append(svg.line(x, frame.y.at(accuracy.low), x, frame.y.at(accuracy.high), f"whisker {kind}"))
    if waste.low is not None and waste.high is not None:
        parts.append(svg.line(frame.x.at(waste.low), y, frame.x.at(waste.high), y, f"whisker {kind}"))
    return parts


def _staircase(
    frame: svg.PlotFrame, shown: Sequence[PolicySummary], resource: str
) -> list[tuple[float, float] | None]:
    """Returns the steps through the policies that none other beats in both."""
    dots = sorted((dot for s in shown if (dot := _dot(s, resource))), key=lambda dot: (dot[0], -dot[1]))
    points: list[tuple[float, float] | None] = []
    best = -1.0
    for waste, accuracy in dots:
        if accuracy <= best:
            continue
        if points:
            points.append((frame.x.at(waste), frame.y.at(best)))
        points.append((frame.x.at(waste), frame.y.at(accuracy)))
        best = accuracy
    if points:
        points.append((frame.x.end, frame.y.at(best)))
    return points


def replicas(trace: ReplicaTrace, policy: str) -> str:
    """Draws the replicas of a policy over a window, and what the demand needed."""
    most = max(*trace.demand, *trace.replicas, 1.0) * 1.1
    frame = svg.PlotFrame.of(540, 220, (0.0, trace.hours), (0.0, most))
    every = next((hours for hours in (1, 2, 6, 12, 24, 48, 168) if trace.hours / hours <= 8), 336)
    x_ticks = [(float(at), f"{at} h") for at in range(0, int(trace.hours) + 1, every)]
    y_ticks = [(tick, f"{tick:g}") for tick in svg.nice_ticks(0.0, most, 4)]
    parts = frame.axes(x_ticks, y_ticks, "", "replicas")
    parts.append(svg.path(_stairs(frame, trace.replicas, trace.hours), "scheduled"))
    parts.append(svg.path(_stairs(frame, trace.demand, trace.hours), "use"))
    return svg.picture(540, 220, f"Demand against the replicas of {policy}", parts)


def _stairs(frame: svg.PlotFrame, values: Sequence[float], hours: float) -> list[tuple[float, float] | None]:
    """Returns a line that holds each value over its stretch."""
    width = hours / len(values)
    points: list[tuple[float, float] | None] = []
    for number, value in enumerate(values):
        y = frame.y.at(value)
        points += [(frame.x.at(number * width), y), (frame.x.at((number + 1) * width), y)]
    return points


def reliability(calibration: CalibrationFigures) -> str:
    """Draws the share that was accurate against the confidence stated, and the count of each bin."""
    low = min([0.5, *(min(one.confidence, one.accuracy) for one in calibration.bins)])
    low = math.floor(low * 10) / 10
    frame = svg.PlotFrame.of(460, 380, (low, 1.0), (low, 1.0))
    ticks = [(tick, f"{tick:.0%}") for tick in svg.nice_ticks(low, 1.0, 5)]
    parts = frame.axes(ticks, ticks, "confidence stated", "share accurate")
    parts.append(svg.path([(frame.x.begin, frame.y.begin), (frame.x.end, frame.y.end)], "diagonal"))
    largest = max(one.count for one in calibration.bins)
    points: list[tuple[float, float] | None] = []
    for one in calibration.bins:
        x, y = frame.x.at(one.confidence), frame.y.at(one.accuracy)
        height = 50 * one.count / largest
        parts.append(svg.rectangle(x - 4, frame.y.begin - height, 8, height, "mass"))
        # Wilson's interval of a share, at 95 %
        bottom, top = wilson(one.accuracy, one.count)
        parts.append(svg.line(x, frame.y.at(bottom), x, frame.y.at(top), "whisker ours"))
        points.append((x, y))
    parts.append(svg.path(points, "reliability"))
    for one in calibration.bins:
        tip = f"{one.count} stated {one.low:.2f} to {one.high:.2f}: {one.accuracy:.1%} accurate"
        parts.append(svg.circle(frame.x.at(one.confidence), frame.y.at(one.accuracy), 4.5, "ours", tip))
    return svg.picture(460, 380, "Reliability of the stated confidence", parts)


def wilson(share: float, count: int, z: float = 1.959964) -> tuple[float, float]:
    """Returns Wilson's 95 % interval of a share of so many."""
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return centre - half, centre + half


def miss(series: ViolationSeries) -> str:
    """Draws what was known, what was recommended and what came."""
    values, grid = series.values, series.grid
    origin = grid.index(series.miss.made_at)
    most = max(float(np.nanmax(values, initial=0.0)), series.miss.recommended, series.miss.needed) * 1.08
    frame = svg.PlotFrame.of(540, 200, (0.0, float(grid.size)), (0.0, most))
    days = grid.size * grid.step_seconds / 86_400
    every = max(round(days / 6), 1)
    first = -(-origin * grid.step_seconds // 86_400 // every) * every
    marks = [
        (origin + k * every * 86_400 / grid.step_seconds, k * every) for k in range(-first - 1, first + 9)
    ]
    x_ticks = [(at, f"{day:+d} d" if day else "origin") for at, day in marks if 0 <= at <= grid.size]
    size = unit(most, series.miss.resource)
    ticks = [tick * size for tick in svg.nice_ticks(0.0, most / size, 4)]
    y_ticks = [(tick, amount(tick, series.miss.resource)) for tick in ticks]
    parts = [
        svg.rectangle(
            frame.x.at(origin), svg.TOP, frame.x.end - frame.x.at(origin), frame.y.begin - svg.TOP, "came"
        )
    ]
    parts += frame.axes(x_ticks, y_ticks, "", "")
    parts.append(svg.path(_line(frame, values[:origin], 0), "known"))
    parts.append(svg.path(_line(frame, values[origin:], origin), "after"))
    for value, kind in ((series.miss.needed, "needed"), (series.miss.recommended, "recommended")):
        y = frame.y.at(value)
        parts.append(svg.line(frame.x.at(origin), y, frame.x.end, y, kind))
    label = f"{series.miss.service}: {series.miss.resource} before and after {series.miss.made_at:%Y-%m-%d}"
    return svg.picture(540, 200, label, parts)


def _line(frame: svg.PlotFrame, values: Array, offset: int) -> list[tuple[float, float] | None]:
    """Returns the largest value of each column of pixels, so that no peak is lost in drawing."""
    columns = np.array_split(np.arange(values.size), min(MISS_COLUMNS, values.size) or 1)
    points: list[tuple[float, float] | None] = []
    for column in columns:
        part = values[column]
        if not np.isfinite(part).any():
            points.append(None)
            continue
        points.append((frame.x.at(offset + float(column.mean())), frame.y.at(float(np.nanmax(part)))))
    return points
