"""Trend, season and changes of what a workload used, in words, as plain data and as pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

import numpy as np

from perfopt.charts import svg
from perfopt.charts.units import amount
from perfopt.domain.period import format_instant
from perfopt.forecast.decomposition import SeriesComponents, decompose
from perfopt.metrics.snapshot import Array, WorkloadSnapshot

WIDTH, LEFT, RIGHT, ROW = 900.0, 78.0, 192.0, 64.0
_RESOURCES = (("cpu", "cpu_cores"), ("memory", "memory_bytes"))
_CLEAR = 0.3  # strength from which on a season is worth naming
_MAX_TICKS = 9


@dataclass(frozen=True, slots=True)
class NamedComponents:
    """The components of one series of a container."""

    container: str
    resource: str
    metric: str
    parts: SeriesComponents


def components_of(snapshot: WorkloadSnapshot) -> list[NamedComponents]:
    """Takes cpu and memory of each container apart, where the history is long enough.

    Raises:
        ImportError: statsmodels is not installed.
    """
    components = []
    for container in sorted(snapshot.containers):
        for resource, metric in _RESOURCES:
            series = snapshot.series(container, metric)
            parts = None if series is None else decompose(series.hottest(), snapshot.grid)
            if parts is not None:
                components.append(NamedComponents(container, resource, metric, parts))
    return components


def as_text(components: Sequence[NamedComponents]) -> str:
    """Returns a line for each series."""
    lines = [f"{one.container} {one.resource}: {_sentence(one)}" for one in components]
    return "\n".join(["History (hours of the hottest pod, STL):", *(f"  {line}" for line in lines)]) + "\n"


def _sentence(one: NamedComponents) -> str:
    parts = one.parts
    sign = "-" if parts.trend_per_day < 0 else "+"
    phrases = [f"trend {sign}{amount(abs(parts.trend_per_day), one.resource)} a day"]
    if parts.season_strength >= _CLEAR:
        high, low = float(parts.day.max()), float(parts.day.min())
        phrases.append(
            f"days vary by {amount(high - low, one.resource)},"
            f" highest at {int(parts.day.argmax()):02d}:00 UTC (strength {parts.season_strength:.2f})"
        )
    else:
        phrases.append(f"no clear daily season (strength {parts.season_strength:.2f})")
    return "; ".join([*phrases, *_changes(one)])


def _changes(one: NamedComponents) -> Iterator[str]:
    changes = one.parts.changes
    if changes.shift is not None:
        levels = (
            amount(max(level, 0.0), one.resource) for level in (changes.shift.before, changes.shift.after)
        )
        yield f"level {' → '.join(levels)} on {changes.shift.at:%Y-%m-%d %H:%M}"
    if changes.leak is not None:
        since = one.parts.at(changes.leak.since)
        yield f"climbs by {amount(changes.leak.per_day, one.resource)} a day since {since:%Y-%m-%d}"
    for span in changes.dead:
        begin, end = (one.parts.at(step) for step in (span.begin, span.end))
        yield f"unused from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}"


def as_data(components: Sequence[NamedComponents]) -> list[dict[str, Any]]:
    """Returns plain data for JSON; values in cores and bytes by the hour."""
    return [
        {
            "container": one.container,
            "metric": one.metric,
            "start": format_instant(one.parts.grid.start),
            "step_seconds": one.parts.grid.step_seconds,
            "trend_per_day": _digits(one.parts.trend_per_day),
            "trend_strength": round(one.parts.trend_strength, 3),
            "season_strength": round(one.parts.season_strength, 3),
            "changes": list(_changes(one)),
            "trend": [_digits(value) for value in one.parts.trend],
            "season": [_digits(value) for value in one.parts.season],
            "remainder": [_digits(value) for value in one.parts.remainder],
        }
        for one in components
    ]


def _digits(value: float) -> float:
    return float(f"{value:.6g}")


def as_html(components: Sequence[NamedComponents]) -> str:
    """Returns a section with a picture for each series."""
    if not components:
        return ""
    about = "Use of the hottest pod by the hour, as trend, daily season and remainder (STL)."
    return f"<h2>Trend and season</h2><p>{about}</p>" + "".join(_figure(one) for one in components)


def _figure(one: NamedComponents) -> str:
    grid = one.parts.grid
    x = svg.PlotAxis(grid.start.timestamp(), grid.end.timestamp(), LEFT, WIDTH - RIGHT)
    rows = (("trend", one.parts.trend), ("season", one.parts.season), ("remainder", one.parts.remainder))
    parts: list[str] = []
    for number, (name, values) in enumerate(rows):
        parts += _row(one, name, values, x, number * ROW)
    bottom = len(rows) * ROW + 8
    shift = one.parts.changes.shift
    if shift is not None:
        at = x.at(shift.at.timestamp())
        parts.append(svg.line(at, 0, at, bottom, "now"))
    parts += _days(x, bottom)
    caption = f"{one.container} {one.resource}"
    drawing = svg.picture(WIDTH, bottom + 24, f"trend and season of {caption}", parts)
    text = f"<b>{escape(caption)}</b>: {escape(_sentence(one))}"
    return f'<figure class="series"><figcaption>{text}</figcaption>{drawing}</figure>'


def _row(one: NamedComponents, name: str, values: Array, x: svg.PlotAxis, top: float) -> Iterator[str]:
    low, high = float(values.min()), float(values.max())
    y = svg.PlotAxis(low, high, top + ROW - 6, top + 8)
    seconds = one.parts.grid.epoch_seconds()
    points = [(x.at(float(at)), y.at(float(value))) for at, value in zip(seconds, values, strict=True)]
    yield svg.line(x.begin, top + ROW, x.end, top + ROW, "grid")
    yield svg.text(x.begin - 6, top + ROW / 2 + 4, name, "tick end")
    yield svg.path(points, "use")
    for value, at in ((high, top + 14), (low, top + ROW - 6)):
        sign = "-" if value < 0 else ""
        yield svg.text(x.end + 6, at, f"{sign}{amount(abs(value), one.resource)}", "tick")


def _days(x: svg.PlotAxis, bottom: float) -> Iterator[str]:
    day = timedelta(days=1).total_seconds()
    every = max(-(-int((x.high - x.low) // day) // _MAX_TICKS), 1) * day
    yield svg.line(x.begin, bottom, x.end, bottom, "axis")
    for at in np.arange(-(-x.low // day) * day, x.high + 1, every):
        yield svg.line(x.at(float(at)), bottom, x.at(float(at)), bottom + 4, "axis")
        label = f"{datetime.fromtimestamp(float(at), UTC):%d %b}"
        yield svg.text(x.at(float(at)), bottom + 17, label, "tick middle")
