"""What happened to a workload, as rows of marks below its series: events, and the windows of the backtest."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from perfopt.domain.recommendation import Evidence
from perfopt.domain.workload import WorkloadState
from perfopt.evaluation.resources import score_resources
from perfopt.metrics.snapshot import Array, WorkloadSnapshot

_THROTTLED = 0.05
_MAX_MARKS = 400
_ROW = 7.0


@dataclass(frozen=True, slots=True)
class TimelineMark:
    """One mark of a lane.

    Attributes:
        begin, end: seconds since the epoch.
        kind: CSS class.
        tip: shown when pointed at.
        row: where marks of a lane overlap, which row of it.
    """

    begin: float
    end: float
    kind: str
    tip: str
    row: int = 0


@dataclass(frozen=True, slots=True)
class TimelineLane:
    """A row of marks with its name at the left and a summary at the right."""

    label: str
    marks: tuple[TimelineMark, ...]
    summary: str

    @property
    def rows(self) -> int:
        """How many rows its marks take."""
        return max((mark.row for mark in self.marks), default=0) + 1

    def height(self, single: float) -> float:
        """Returns its height, that of a single row given."""
        return single if self.rows == 1 else self.rows * _ROW + 6


def event_lanes(snapshot: WorkloadSnapshot, container: str) -> Iterator[TimelineLane]:
    """Returns throttling, OOM kills, restarts and image changes of a container, as far as measured."""
    for metric, label, kind in (
        ("cpu_throttled_fraction", "throttled", "warn"),
        ("oom_kills", "OOM kills", "not"),
        ("restarts", "restarts", "warn"),
    ):
        series = snapshot.series(container, metric)
        if series is not None and len(series.values):
            yield _events(snapshot, label, kind, series.hottest())
    changes = [change for change in snapshot.image_changes if change.container == container]
    if changes:
        marks = tuple(
            TimelineMark(c.at.timestamp(), c.at.timestamp(), "info", f"image {c.image}") for c in changes
        )
        yield TimelineLane("image", marks, f"{len(changes)} changed")


def _events(snapshot: WorkloadSnapshot, label: str, kind: str, values: Array) -> TimelineLane:
    throttling = label == "throttled"
    steps = np.flatnonzero(np.nan_to_num(values) > (_THROTTLED if throttling else 0.0))
    seconds, length = snapshot.grid.epoch_seconds(), snapshot.grid.step_seconds
    marks = []
    for run in np.array_split(steps, np.flatnonzero(np.diff(steps) > 1) + 1) if steps.size else ():
        peak = float(values[run].max()) if throttling else float(values[run].sum())
        tip = f"up to {peak:.0%} of periods" if throttling else f"{peak:g} {label}"
        marks.append(TimelineMark(float(seconds[run[0]]), float(seconds[run[-1]]) + length, kind, tip))
    share = steps.size / max(int(np.isfinite(values).sum()), 1)
    summary = f"{share:.1%} of time" if throttling else f"{np.nansum(values):g}"
    return TimelineLane(label, tuple(_merged(marks)), summary)


def _merged(marks: list[TimelineMark]) -> list[TimelineMark]:
    """Joins neighbours until a picture can hold them."""
    while len(marks) > _MAX_MARKS:
        pairs = zip(marks[::2], [*marks[1::2], marks[-1]], strict=False)
        marks = [TimelineMark(one.begin, other.end, one.kind, one.tip) for one, other in pairs]
    return marks


def window_lanes(
    snapshot: WorkloadSnapshot, current: WorkloadState, evidence: Evidence
) -> Iterator[TimelineLane]:
    """Returns the windows of the backtest: what the strategy would have done, and the current requests."""
    windows = [(window.made_at, window.scored_until) for window in evidence.windows]
    if not windows:
        return
    outcomes = [window.accurate for window in evidence.windows]
    yield _windows("backtest", "accurate", windows, outcomes)
    unchanged = [_unchanged(snapshot, current, *window) for window in windows]
    if any(outcome is not None for outcome in unchanged):
        yield _windows("unchanged", "safe", windows, unchanged)


def _windows(
    label: str, good: str, windows: list[tuple[datetime, datetime]], outcomes: list[bool | None]
) -> TimelineLane:
    kinds: dict[bool | None, str] = {True: "ok", False: "not", None: "unknown"}
    marks = tuple(
        TimelineMark(
            begin.timestamp(),
            end.timestamp(),
            kinds[outcome],
            f"{begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}:"
            f" {'not scored' if outcome is None else good if outcome else f'not {good}'}",
            row,
        )
        for row, ((begin, end), outcome) in enumerate(zip(windows, outcomes, strict=True))
    )
    scored = [outcome for outcome in outcomes if outcome is not None]
    return TimelineLane(label, marks, f"{sum(scored)} of {len(scored)} {good}")


def _unchanged(
    snapshot: WorkloadSnapshot, current: WorkloadState, begin: datetime, end: datetime
) -> bool | None:
    """Tells whether the requests and limits of now would have been safe in a window; None is not known."""
    window = snapshot.slice(snapshot.grid.index(begin), snapshot.grid.index(end))
    score = score_resources(current, window)
    return score.accurate if score.scored else None
