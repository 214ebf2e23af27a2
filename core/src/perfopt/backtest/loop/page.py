"""Closed loops as one self-contained HTML page: no script, nothing loaded from elsewhere."""

import math
from collections.abc import Sequence
from html import escape

from perfopt.backtest.bootstrap import ConfidenceInterval
from perfopt.backtest.labels import LabelledDot, labels
from perfopt.backtest.loop.report import LoopResult, PolicyLoop
from perfopt.charts import svg
from perfopt.charts.page import document

SAVINGS = {
    "saving": "saving of the possible, by cost",
    "saving_by_service": "saving of the possible, each service alike",
    "memory_saving": "saving of the possible, memory alone",
}
_COLUMNS = (
    ("unsafe", "unsafe days", 2),
    ("unsafe_cpu", "cpu", 2),
    ("unsafe_memory", "memory", 2),
    ("saving", "saving by cost", 1),
    ("saving_by_service", "by service", 1),
    ("memory_saving", "memory alone", 1),
)
_UNSAFE_TICKS = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_ROOT = 0.02  # below it the axis of unsafe days is about linear, above it about logarithmic


def render_loop_page(result: LoopResult) -> str:
    """Returns the page."""
    title = f"Closed loop on {result.source}"
    charts = "".join(
        f"<figure><figcaption><b>{escape(label)}</b></figcaption>{drawn}</figure>"
        for figure, label in SAVINGS.items()
        if (drawn := _frontier(result.policies, figure, label))
    )
    failed = [f"{one.service} could not be run: {one.message}" for one in result.failed]
    notes = "".join(f"<li>{escape(note)}</li>" for note in (*result.notes, *failed))
    body = (
        f"<h1>{escape(title)}</h1><p>{result.services} services, analysed every {result.every} from"
        f" {result.first:%Y-%m-%d %H:%M} to {result.last:%Y-%m-%d %H:%M} UTC, each time from the"
        f" {result.history} before and for the {result.horizon} after. {escape(result.definition)}.</p>"
        "<h2>Unsafe days against saving</h2><p>Up and to the left is better. Bars are 95 % intervals from"
        " resampling services; the dashed line joins the policies that no other beats in both.</p>"
        f'<div class="row">{charts}</div><h2>Figures</h2><p>In small print the 95 % interval.</p>'
        f"{_table(result.policies)}<h2>Notes</h2><ul>{notes}</ul>"
    )
    return document(title, body)


def _frontier(policies: Sequence[PolicyLoop], figure: str, label: str) -> str:
    drawn = [one for one in policies if figure in one.figures]
    if not drawn:
        return ""
    savings = [one.figures[figure] for one in drawn]
    shares = [one.figures["unsafe"] for one in drawn]
    least, most = min(_low(one) for one in savings), max(_high(one) for one in savings)
    worst = max(*(_high(one) for one in shares), 0.02)
    most_unsafe = worst * 1.05
    frame = svg.PlotFrame.of(640, 420, (0.0, most_unsafe), (least - 0.02, most + 0.02), _compressed)
    x_ticks = [(tick, f"{tick:.1%}") for tick in _UNSAFE_TICKS if tick <= most_unsafe]
    y_ticks = [(tick, f"{tick:.0%}") for tick in svg.nice_ticks(least, most, 6)]
    parts = frame.axes(x_ticks, y_ticks, "unsafe days", label)
    parts.append(svg.path(_best(frame, drawn, figure), "frontier"))
    dots = []
    for one in drawn:
        saving, unsafe = one.figures[figure], one.figures["unsafe"]
        kind = "baseline" if one.baseline else "ours"
        x, y = frame.x.at(unsafe.value), frame.y.at(saving.value)
        bar = f"whisker {kind}"
        parts.append(svg.line(frame.x.at(_low(unsafe)), y, frame.x.at(_high(unsafe)), y, bar))
        parts.append(svg.line(x, frame.y.at(_low(saving)), x, frame.y.at(_high(saving)), bar))
        tip = f"{one.policy}: {unsafe.value:.2%} unsafe days, saving {saving.value:.1%}"
        parts.append(svg.circle(x, y, 4.0 if one.baseline else 5.5, kind, tip))
        dots.append(LabelledDot(x, y, one.policy, kind))
    parts += labels(dots, frame)
    return svg.picture(640, 420, f"Unsafe days against {label}", parts)


def _compressed(share: float) -> float:
    return math.log1p(share / _ROOT)


def _low(interval: ConfidenceInterval) -> float:
    return interval.value if interval.low is None else interval.low


def _high(interval: ConfidenceInterval) -> float:
    return interval.value if interval.high is None else interval.high


def _best(
    frame: svg.PlotFrame, policies: Sequence[PolicyLoop], figure: str
) -> list[tuple[float, float] | None]:
    """Returns the line through the policies that none other beats in both, from the fewest unsafe days on."""
    dots = sorted((one.figures["unsafe"].value, -one.figures[figure].value) for one in policies)
    points: list[tuple[float, float] | None] = []
    most = -math.inf
    for unsafe, saving in dots:
        if -saving > most:
            points.append((frame.x.at(unsafe), frame.y.at(-saving)))
            most = -saving
    return points


def _table(policies: Sequence[PolicyLoop]) -> str:
    titles = ("policy", "days", "abstained", *(title for _, title, _ in _COLUMNS), "changes a week", "raises")
    parts = [f"<tr>{''.join(f'<th>{escape(title)}</th>' for title in titles)}</tr>"]
    for one in policies:
        cells = [
            escape(one.policy) + (" IN-SAMPLE" if one.in_sample else ""),
            str(one.days),
            str(one.abstained),
        ]
        cells += [_share(one.figures.get(name), digits) for name, _, digits in _COLUMNS]
        cells += [_number(one.figures.get(name)) for name in ("changes", "raises")]
        kind = "" if one.baseline else ' class="ours"'
        parts.append(f"<tr{kind}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return f'<div class="wide"><table>{"".join(parts)}</table></div>'


def _share(interval: ConfidenceInterval | None, digits: int) -> str:
    if interval is None:
        return "-"
    value = f"{interval.value:.{digits}%}"
    if interval.low is None or interval.high is None:
        return value
    return f"{value}<br><small>{100 * interval.low:.{digits}f} to {100 * interval.high:.{digits}f}</small>"


def _number(interval: ConfidenceInterval | None) -> str:
    return "-" if interval is None else f"{interval.value:.2f}"
