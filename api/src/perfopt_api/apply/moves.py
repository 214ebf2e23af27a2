"""Transitions of an apply job: each returns what to store and note. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from perfopt.domain.enums import OptimizationStatus
from perfopt_api.apply.state import ApplyState, Progress, Step
from perfopt_api.store.apply_port import TimelineEntry
from perfopt_api.store.port import JobError

_NO_DATA: Mapping[str, Any] = {}


def note(
    now: datetime,
    step: Step,
    code: str,
    message: str,
    data: Mapping[str, Any] = _NO_DATA,
    commands: Sequence[str] = (),
) -> TimelineEntry:
    """Returns an entry of the timeline."""
    return TimelineEntry(
        at=now, step=step, code=code, message=message, data=dict(data), commands=tuple(commands)
    )


def go(state: ApplyState, step: Step, now: datetime, *entries: TimelineEntry, **changes: Any) -> Progress:
    """Goes on with another step at once."""
    moved = replace(state, step=step, since=now, attempts=0, **changes)
    return Progress(state=moved, entries=entries)


def stay(
    state: ApplyState, seconds: float, *entries: TimelineEntry, attempts: int = 0, **changes: Any
) -> Progress:
    """Does the same step again after a time, or when the cluster shows a change."""
    return Progress(
        state=replace(state, attempts=attempts, **changes), entries=entries, wait=timedelta(seconds=seconds)
    )


def end(
    state: ApplyState,
    status: OptimizationStatus,
    now: datetime,
    *entries: TimelineEntry,
    verification: str = "",
) -> Progress:
    """Ends the job."""
    ended = replace(state, step="ended", since=now, attempts=0)
    return Progress(state=ended, entries=entries, status=status, verification=verification)


def fail(
    state: ApplyState, failure: JobError, now: datetime, *, manual: bool = False, **changes: Any
) -> Progress:
    """Goes back, or ends at once where nothing was changed. The first failure stays."""
    latched = state.failure or failure
    failed = replace(state, failure=latched, manual=state.manual or manual, **changes)
    entry = note(now, state.step, failure.code, failure.message)
    if not state.written:
        return end(failed, OptimizationStatus.FAILED, now, entry)
    return go(failed, "rollback", now, entry)
