"""The built-in safety rules: what holds for every plugin's proposals."""

import math
from datetime import timedelta

import msgspec
import numpy as np

from perfopt.domain.enums import OptimizationType
from perfopt.domain.floors import CPU_FLOOR_CORES, MEMORY_FLOOR_BYTES
from perfopt.domain.quantity import format_memory
from perfopt.domain.recommendation import Reason
from perfopt.domain.workload import Container
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.strategy import Proposal


class FloorRule:
    """No request or limit under 10m of CPU or 16Mi of memory (DESIGN.md section 5)."""

    name = "floor"

    def apply(self, proposal: Proposal, context: AnalysisContext) -> Proposal:
        """Raises what is under the floor."""
        raised = tuple(_at_least(c, CPU_FLOOR_CORES, MEMORY_FLOOR_BYTES) for c in proposal.target.containers)
        reason = Reason(code="rule_floor", text="Raised to the least that is ever recommended: 10m and 16Mi.")
        return _changed(proposal, raised, reason)


class RecentMemoryPeakRule:
    """No memory request or limit under what a pod of the workload held in the last 24 hours.

    Memory, unlike CPU, can't be taken back: less than a recent peak is an OOM kill in waiting. A type that
    does not set resources may leave a request as it is, even where it is under the peak.
    """

    name = "recent_memory_peak"
    _recent = timedelta(hours=24)

    def apply(self, proposal: Proposal, context: AnalysisContext) -> Proposal:
        """Raises memory to the peak of the last 24 hours."""
        peaks = {c.name: self._peak(context.snapshot, c.name) for c in proposal.target.containers}
        raised = tuple(
            _at_least(container, 0.0, peaks[container.name])
            if self._applies(proposal, container, context)
            else container
            for container in proposal.target.containers
        )
        names = [new.name for new, old in zip(raised, proposal.target.containers, strict=True) if new != old]
        held = ", ".join(f"{name} {format_memory(peaks[name])}" for name in names)
        reason = Reason(code="rule_recent_memory_peak", text=f"Raised to the last 24 hours' peak: {held}.")
        return _changed(proposal, raised, reason)

    def _peak(self, snapshot: WorkloadSnapshot, container: str) -> int:
        series = snapshot.series(container, "memory_bytes")
        if series is None:
            return 0
        recent = series.values[:, snapshot.grid.index(snapshot.grid.end - self._recent) :]
        present = recent[np.isfinite(recent)]
        return math.ceil(present.max()) if present.size else 0

    def _applies(self, proposal: Proposal, container: Container, context: AnalysisContext) -> bool:
        if proposal.optimization_type is OptimizationType.RESOURCE_OPTIMIZATION:
            return True
        current = context.snapshot.workload.state.container(container.name)
        return current is None or container.memory_request_bytes != current.memory_request_bytes


SAFETY_RULES = (FloorRule(), RecentMemoryPeakRule())


def _at_least(container: Container, cpu_cores: float, memory_bytes: int) -> Container:
    """Raises requests and limits to the values given; what is unset stays unset."""
    least = {
        "cpu_request_cores": cpu_cores,
        "cpu_limit_cores": cpu_cores,
        "memory_request_bytes": memory_bytes,
        "memory_limit_bytes": memory_bytes,
    }
    raised = {
        field: value
        for field, value in least.items()
        if (now := getattr(container, field)) is not None and now < value
    }
    return msgspec.structs.replace(container, **raised) if raised else container


def _changed(proposal: Proposal, containers: tuple[Container, ...], reason: Reason) -> Proposal:
    if containers == proposal.target.containers:
        return proposal
    target = msgspec.structs.replace(proposal.target, containers=containers)
    return msgspec.structs.replace(proposal, target=target, reasons=(*proposal.reasons, reason))
