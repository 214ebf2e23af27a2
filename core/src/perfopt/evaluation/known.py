"""What was known of a workload at an instant of its recorded history."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from perfopt.domain.enums import Basis
from perfopt.domain.fields import QUANTITIES, REQUEST_LIMIT_PAIRS
from perfopt.domain.recommendation import Coverage
from perfopt.domain.workload import Container, WorkloadState
from perfopt.metrics.snapshot import Array, ImageChange, WorkloadSnapshot


def known_at(snapshot: WorkloadSnapshot, index: int, begin: int = 0) -> WorkloadSnapshot:
    """Returns the snapshot as it would have been taken at the start of step `index`.

    History is [begin, index). Requests, limits and replicas are those recorded last before then; what was
    never recorded (autoscalers, labels, or requests of a source that records none) is taken as it is now.
    Coverage is counted anew as the share of steps with a sample, and warnings of the whole are left out.
    """
    state = state_at(snapshot, index)
    workload = msgspec.structs.replace(snapshot.workload, state=state)
    past = snapshot.slice(begin, index)
    return replace(past, workload=workload, coverage=_coverage(past), warnings=())


def state_at(snapshot: WorkloadSnapshot, index: int) -> WorkloadState:
    """Returns what the workload had at the start of step `index`, as far as it was recorded."""
    past, current = snapshot.slice(0, index), snapshot.workload.state
    containers = tuple(_container(past, c, current.basis, snapshot.image_changes) for c in current.containers)
    replicas = current.replicas
    if "replicas" in past.service:
        last = _last(past.service["replicas"])
        replicas = None if last is None else round(last)
    return msgspec.structs.replace(current, containers=containers, replicas=replicas)


def _container(
    past: WorkloadSnapshot, container: Container, basis: Basis, image_changes: tuple[ImageChange, ...]
) -> Container:
    recorded: dict[str, Any] = {"image": _image(container, past.grid.end, image_changes)}
    for field in QUANTITIES:  # metrics of the same names
        series = past.series(container.name, field)
        if series is not None:
            value = _last(series.hottest())
            recorded[field] = round(value) if value is not None and field.endswith("_bytes") else value
    known = msgspec.structs.replace(container, **recorded)
    for request, limit in REQUEST_LIMIT_PAIRS:
        if limit in recorded and (basis is Basis.ASSUMED_FROM_LIMIT or _above(known, request, limit)):
            known = msgspec.structs.replace(known, **{request: recorded[limit]})
    return known


def _above(container: Container, request: str, limit: str) -> bool:
    """Tells whether a request is above the limit: it was not recorded, and was another than it is now."""
    requested, allowed = getattr(container, request), getattr(container, limit)
    return requested is not None and allowed is not None and requested > allowed


def _image(container: Container, at: datetime, changes: tuple[ImageChange, ...]) -> str | None:
    """Returns the image that ran at an instant; None where only a later change is known."""
    own = [change for change in changes if change.container == container.name]
    before = [change.image for change in own if change.at < at]
    if before:
        return before[-1]
    return None if own else container.image


def _last(values: Array) -> float | None:
    """Returns the last finite value, or None."""
    if values.size and np.isfinite(values[-1]):
        return float(values[-1])
    present = np.flatnonzero(np.isfinite(values))
    return float(values[present[-1]]) if present.size else None


def _coverage(past: WorkloadSnapshot) -> Mapping[str, Coverage]:
    coverage = {
        f"{container}/{metric}": _counted(np.isfinite(series.values).any(axis=0))
        for container, metrics in past.containers.items()
        for metric, series in metrics.items()
    }
    return coverage | {metric: _counted(np.isfinite(values)) for metric, values in past.service.items()}


def _counted(present: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> Coverage:
    count = int(np.count_nonzero(present))
    return Coverage(
        expected=present.size, present=count, fraction=count / present.size if present.size else 0.0
    )
