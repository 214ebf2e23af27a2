"""Pictures of a workload on one time axis: what it used, has and should have, and what happened to it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from html import escape

import numpy as np

from perfopt.charts import svg
from perfopt.charts.units import amount, unit
from perfopt.cli.output.lanes import TimelineLane, TimelineMark, event_lanes, window_lanes
from perfopt.domain import fields
from perfopt.domain.recommendation import AnalysisResult, Evidence, PredictionSeries
from perfopt.domain.workload import Container, WorkloadState
from perfopt.metrics.snapshot import PodSeries, WorkloadSnapshot

WIDTH, LEFT, RIGHT = 900.0, 78.0, 192.0
PANEL, LANE, GAP = 150.0, 17.0, 30.0
_LABEL_GAP = 12.0
_OUT_OF_RANGE = 2.5
_STEPS = tuple(timedelta(hours=hours) for hours in (1, 2, 3, 6, 12, 24, 48, 96, 168, 336, 672))
_MAX_TICKS, _MAX_LONG_TICKS = 9, 6  # without and with the hour
_Point = tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class _WorkloadView:
    """What all pictures of a workload share."""

    snapshot: WorkloadSnapshot
    current: WorkloadState
    recommended: WorkloadState | None
    evidence: Evidence
    x: svg.PlotAxis
    made_at: float
    forecasts: Mapping[str, PredictionSeries]
    changes: tuple[TimelineMark, ...]
    owners: tuple[TimelineLane, ...]


def pictures(
    result: AnalysisResult,
    snapshot: WorkloadSnapshot,
    forecasts: Mapping[str, PredictionSeries] | None = None,
    changes: Sequence[TimelineMark] = (),
    owners: Sequence[TimelineLane] = (),
) -> str:
    """Returns a section of HTML with one picture a container, and one of the workload's replicas if known.

    Args:
        result: of the analysis.
        snapshot: what the workload used.
        forecasts: of its use, "container/metric" to quantiles; None takes those of the recommendations.
        changes: what was changed of it, and when.
        owners: when which autoscaler set its replicas or requests.
    """
    stored = next(
        (
            recommendation.predictions
            for recommendation in result.recommendations
            if recommendation.predictions
        ),
        {},
    )
    view = _view(result, snapshot, stored if forecasts is None else forecasts, changes, owners)
    drawn = [_container(view, name) for name in sorted(snapshot.containers)]
    drawn.append(_replicas(view))
    return f"<section><h2>{escape(result.service_name)}</h2>{_head(result)}{''.join(drawn)}</section>"


def _view(
    result: AnalysisResult,
    snapshot: WorkloadSnapshot,
    forecasts: Mapping[str, PredictionSeries],
    changes: Sequence[TimelineMark],
    owners: Sequence[TimelineLane],
) -> _WorkloadView:
    whole = result.plan or next(iter(result.recommendations), None)
    recommended = None if whole is None else fields.parse_state(whole.recommended_state)
    ends = [recommendation.valid_until for recommendation in result.recommendations]
    made_at = min(
        (recommendation.made_at for recommendation in result.recommendations), default=snapshot.grid.end
    )
    begin = snapshot.grid.start + _first_step(snapshot) * snapshot.grid.step
    axis = svg.PlotAxis(begin.timestamp(), max([*ends, snapshot.grid.end]).timestamp(), LEFT, WIDTH - RIGHT)
    evidence = Evidence(windows=()) if whole is None else whole.evidence
    current = snapshot.workload.state if whole is None else fields.parse_state(whole.current_state)
    within = [replace(lane, marks=_inside(lane.marks, axis)) for lane in owners]
    return _WorkloadView(
        snapshot=snapshot,
        current=current,
        recommended=recommended,
        evidence=evidence,
        x=axis,
        made_at=made_at.timestamp(),
        forecasts=forecasts,
        changes=_inside(changes, axis),
        owners=tuple(lane for lane in within if lane.marks),
    )


def _inside(marks: Sequence[TimelineMark], axis: svg.PlotAxis) -> tuple[TimelineMark, ...]:
    """Returns the marks within an axis, those that begin before or end after it as far as they are."""
    return tuple(
        replace(mark, begin=max(mark.begin, axis.low), end=min(mark.end, axis.high))
        for mark in marks
        if axis.low <= mark.end and mark.begin <= axis.high
    )


def _first_step(snapshot: WorkloadSnapshot) -> int:
    """Returns the first step at which any container was measured."""
    known = [
        np.isfinite(series.values).any(axis=0)
        for metrics in snapshot.containers.values()
        for name, series in metrics.items()
        if name in ("cpu_cores", "memory_bytes") and len(series.values)
    ]
    steps = [int(row.argmax()) for row in known if row.any()]
    return min(steps, default=0)


def _head(result: AnalysisResult) -> str:
    texts = [recommendation.description for recommendation in result.recommendations]
    if result.plan is not None and len(texts) > 1:
        texts = [result.plan.description]
    return "".join(f"<p>{escape(text)}</p>" for text in texts) or "<p>No recommendation.</p>"


def _container(view: _WorkloadView, name: str) -> str:
    """Draws cpu, memory and the lanes of events of one container."""
    parts: list[str] = []
    top = 0.0
    for resource, metric in (("cpu", "cpu_cores"), ("memory", "memory_bytes")):
        series = view.snapshot.series(name, metric)
        if series is None or not np.isfinite(series.values).any():
            continue
        parts += _panel(view, name, resource, metric, series, top)
        top += PANEL + GAP
    lanes = [*event_lanes(view.snapshot, name), *window_lanes(view.snapshot, view.current, view.evidence)]
    lanes = [*view.owners, *lanes]
    if view.changes:
        lanes.insert(0, TimelineLane("changes", view.changes, f"{len(view.changes)} made"))
    for lane in lanes:
        parts += _lane(view, lane, top)
        top += lane.height(LANE)
    parts += _time_axis(view, top)
    return _figure(f"container {name}{_sizer(view)}", top + 24, parts) if top else ""


def _figure(caption: str, height: float, parts: Sequence[str]) -> str:
    drawing = svg.picture(WIDTH, height, caption, parts)
    return f'<figure class="series"><figcaption><b>{escape(caption)}</b></figcaption>{drawing}</figure>'


@dataclass(frozen=True, slots=True)
class _LabelledLevel:
    """A horizontal line with a label."""

    value: float
    text: str
    kind: str


def _levels(view: _WorkloadView, name: str, resource: str) -> list[_LabelledLevel]:
    states = (("current", view.current), ("recommended", view.recommended))
    levels = []
    for kind, state in states:
        container = None if state is None else state.container(name)
        for part in ("request", "limit"):
            value = None if container is None else _quantity(container, resource, part)
            if value is not None:
                levels.append(
                    _LabelledLevel(value, f"{kind} {part} {amount(value, resource)}", f"{kind} {part}")
                )
    return levels


def _quantity(container: Container, resource: str, part: str) -> float | None:
    suffix = "cores" if resource == "cpu" else "bytes"
    value: float | None = getattr(container, f"{resource}_{part}_{suffix}")
    return value


def _panel(
    view: _WorkloadView, name: str, resource: str, metric: str, series: PodSeries, top: float
) -> list[str]:
    known = series.values[np.isfinite(series.values)]
    p50, p99, most = float(np.median(known)), float(np.percentile(known, 99)), float(known.max())
    levels = _levels(view, name, resource)
    forecast = view.forecasts.get(f"{name}/{metric}")
    ahead = 0.0 if forecast is None else max(forecast.quantiles[max(forecast.quantiles, key=float)])
    highest = _highest(max(most, ahead), levels)
    y = svg.PlotAxis(0.0, highest, top + PANEL, top + 22)
    size = unit(highest, resource)
    parts = [
        svg.rectangle(
            view.x.at(view.made_at), y.end, view.x.end - view.x.at(view.made_at), PANEL - 22, "ahead"
        )
    ]
    for tick in (value * size for value in svg.nice_ticks(0.0, highest / size, 4)):
        parts.append(svg.line(view.x.begin, y.at(tick), view.x.end, y.at(tick), "grid"))
        parts.append(svg.text(view.x.begin - 6, y.at(tick) + 4, amount(tick, resource), "tick end"))
    figures = ", ".join(
        f"{label} {amount(value, resource)}" for label, value in (("p50", p50), ("p99", p99), ("max", most))
    )
    parts.append(svg.text(view.x.begin, top + 14, f"{resource} used per pod: {figures}", "title"))
    parts += _use(view, series, y)
    if forecast is not None:
        parts += _forecast(view, forecast, y)
    parts.append(svg.line(view.x.begin, y.at(p99), view.x.at(view.made_at), y.at(p99), "p99"))
    return [*parts, *_level_lines(view, levels, y)]


def _highest(most: float, levels: Sequence[_LabelledLevel]) -> float:
    """Returns the top of a panel: what is far above use and recommendation is left out of it."""
    shown = max([most, *(one.value for one in levels if one.kind == "recommended request")])
    return 1.08 * max([shown, *(one.value for one in levels if one.value <= _OUT_OF_RANGE * shown)])


def _use(view: _WorkloadView, series: PodSeries, y: svg.PlotAxis) -> list[str]:
    """Draws the median over each column of pixels in a band from its smallest to its largest sample."""
    seconds = view.snapshot.grid.epoch_seconds()
    first = int(np.searchsorted(seconds, view.x.low))
    values, seconds = series.values[:, first:], seconds[first:]
    width = view.x.at(view.snapshot.grid.end.timestamp()) - view.x.begin
    lows: list[_Point] = []
    middles: list[_Point] = []
    highs: list[_Point] = []
    for column in np.array_split(np.arange(seconds.size), max(min(int(width), seconds.size), 1)):
        x = view.x.at(float(seconds[column].mean()))
        known = values[:, column]
        known = known[np.isfinite(known)]
        for points, of in ((lows, np.min), (middles, np.median), (highs, np.max)):
            points.append((x, y.at(float(of(known)))) if known.size else None)
    return [_band(lows, highs), svg.path(middles, "use")]


def _forecast(view: _WorkloadView, forecast: PredictionSeries, y: svg.PlotAxis) -> list[str]:
    """Draws the median of the hottest pod's forecast in a band from its lowest to its highest quantile."""
    levels = sorted(forecast.quantiles, key=float)
    low, middle, high = (
        forecast.quantiles[level] for level in (levels[0], levels[len(levels) // 2], levels[-1])
    )
    seconds = forecast.start.timestamp() + forecast.step_seconds * np.arange(len(middle))
    seconds = seconds[seconds <= view.x.high]
    width = view.x.end - view.x.at(forecast.start.timestamp())
    columns = np.array_split(np.arange(seconds.size), max(min(int(width / 2), seconds.size), 1))
    at = [(view.x.at(float(seconds[column].mean())), column) for column in columns if column.size]
    lows, middles, highs = (
        [(x, y.at(float(of(np.asarray(values)[column])))) for x, column in at]
        for values, of in ((low, np.min), (middle, np.median), (high, np.max))
    )
    return [_band(lows, highs, "band forecast"), svg.path(middles, "use forecast")]


def _band(lows: Sequence[_Point], highs: Sequence[_Point], kind: str = "band") -> str:
    """Fills between two lines, in a piece for each stretch without gaps."""
    pieces: list[list[tuple[tuple[float, float], tuple[float, float]]]] = [[]]
    for low, high in zip(lows, highs, strict=True):
        if low is None or high is None:
            pieces.append([])
        else:
            pieces[-1].append((low, high))
    outlines = [
        [*(high for _, high in piece), *(low for low, _ in reversed(piece))] for piece in pieces if piece
    ]
    steps = "".join(
        "M" + "L".join(f"{svg.number(x)} {svg.number(y)}" for x, y in outline) + "Z" for outline in outlines
    )
    return f'<path d="{steps}" class="{kind}"/>'


def _level_lines(view: _WorkloadView, levels: Sequence[_LabelledLevel], y: svg.PlotAxis) -> Iterator[str]:
    """Draws the current values over the history and the recommended ones ahead, with labels at the right."""
    taken: list[float] = []
    now = view.x.at(view.made_at)
    for level in sorted(levels, key=lambda one: -one.value):
        at = y.at(level.value)
        outside = level.value > y.high
        ahead = level.kind.startswith("recommended")
        if not outside:
            yield svg.line(now if ahead else view.x.begin, at, view.x.end, at, level.kind)
            if ahead:
                yield svg.line(view.x.begin, at, now, at, f"{level.kind} past")
        label = max([at, *(other + _LABEL_GAP for other in taken)])
        taken.append(label)
        yield svg.text(
            view.x.end + 6,
            label + 4,
            f"{'↑ ' if outside else ''}{level.text}",
            "level new" if ahead else "level",
        )


def _lane(view: _WorkloadView, lane: TimelineLane, top: float) -> Iterator[str]:
    yield svg.text(view.x.begin - 6, top + 12, lane.label, "tick end")
    yield svg.line(view.x.begin, top + lane.height(LANE), view.x.end, top + lane.height(LANE), "grid")
    for mark in lane.marks:
        begin, end = view.x.at(mark.begin), view.x.at(mark.end)
        width, height = max(end - begin, 2.5), (LANE - 6 if not mark.row and lane.rows == 1 else 5.0)
        yield svg.rectangle(begin, top + 3 + mark.row * 7, width, height, mark.kind, mark.tip)
    yield svg.text(view.x.end + 6, top + 12, lane.summary, "tick")


def _time_axis(view: _WorkloadView, bottom: float) -> Iterator[str]:
    span = timedelta(seconds=view.x.high - view.x.low)
    day = timedelta(days=1)
    fitting = _MAX_TICKS if span <= day else _MAX_LONG_TICKS
    step = next(
        (step for step in _STEPS if span / step <= (_MAX_TICKS if step >= day else fitting)), _STEPS[-1]
    )
    seconds = step.total_seconds()
    first = -(-view.x.low // seconds) * seconds
    form = "%d %b" if step >= day else "%d %b %H:%M" if span > day else "%H:%M"
    yield svg.text(view.x.end + 6, bottom + 17, "UTC", "tick")
    yield svg.line(view.x.begin, bottom, view.x.end, bottom, "axis")
    for at in np.arange(first, view.x.high + 1, seconds):
        x = view.x.at(float(at))
        yield svg.line(x, bottom, x, bottom + 4, "axis")
        yield svg.text(x, bottom + 17, f"{datetime.fromtimestamp(float(at), UTC):{form}}", "tick middle")
    now = view.x.at(view.made_at)
    yield svg.line(now, 20, now, bottom, "now")


def _replicas(view: _WorkloadView) -> str:
    """Draws how many replicas ran, the bounds of the autoscaler or the fixed number, and a schedule ahead."""
    recorded = view.snapshot.service.get("replicas")
    values = np.full(view.snapshot.grid.size, np.nan) if recorded is None else recorded
    levels, planned = _replica_levels(view), _scheduled(view)
    peak = max(
        [np.nanmax(values, initial=0.0), *(one.value for one in levels), *(most for _, _, most in planned)]
    )
    if peak <= 1:
        return ""
    y = svg.PlotAxis(0.0, 1.08 * float(peak), PANEL, 22)
    parts = [svg.text(view.x.begin, 14, "replicas", "title")]
    for tick in svg.nice_ticks(0.0, y.high, 4):
        parts.append(svg.line(view.x.begin, y.at(tick), view.x.end, y.at(tick), "grid"))
        parts.append(svg.text(view.x.begin - 6, y.at(tick) + 4, f"{tick:g}", "tick end"))
    parts += _use(view, PodSeries(("",), np.atleast_2d(values)), y)
    steps = [(view.x.at(at), y.at(count)) for begin, end, count in planned for at in (begin, end)]
    parts += [svg.path(steps, "scheduled"), *_level_lines(view, levels, y), *_time_axis(view, PANEL)]
    return _figure(
        f"replicas{_scaler(view)}{' (blue steps: the schedule minimum)' if planned else ''}",
        PANEL + 24,
        parts,
    )


def _scaler(view: _WorkloadView) -> str:
    """Names what sets the replicas."""
    state = view.current
    return ", set by KEDA" if state.keda is not None else ", set by an HPA" if state.hpa is not None else ""


def _sizer(view: _WorkloadView) -> str:
    """Names what sets the requests."""
    mode = view.current.vpa_mode
    return "" if mode in (None, "Off") else f", requests set by a VPA ({mode})"


def _replica_levels(view: _WorkloadView) -> list[_LabelledLevel]:
    levels: list[_LabelledLevel] = []
    for kind, state in (("current", view.current), ("recommended", view.recommended)):
        if state is not None and state.hpa is not None:
            least = state.hpa.min_replicas or 1
            bounds = (("maximum", "limit", state.hpa.max_replicas), ("minimum", "request", least))
            levels += [
                _LabelledLevel(float(n), f"{kind} {name} {n}", f"{kind} {line}") for name, line, n in bounds
            ]
        elif state is not None and state.replicas is not None:
            levels.append(
                _LabelledLevel(float(state.replicas), f"{kind} {state.replicas}", f"{kind} request")
            )
    return levels


def _scheduled(view: _WorkloadView) -> list[tuple[float, float, float]]:
    """Returns the recommended schedule: begin, end and least replicas of each entry, in seconds."""
    entries = [] if view.recommended is None else view.recommended.extra.get("schedule", [])
    return [
        (
            datetime.fromisoformat(entry["start"]).timestamp(),
            datetime.fromisoformat(entry["end"]).timestamp(),
            float(entry["min_replicas"]),
        )
        for entry in entries
        if {"start", "end", "min_replicas"} <= entry.keys()
    ]
