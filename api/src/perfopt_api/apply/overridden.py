"""Sees that somebody changed what was applied: the recommendation is no longer in force then."""

from collections.abc import Callable
from datetime import datetime

import structlog

from perfopt.errors import PerfoptError
from perfopt_api.apply.cluster import Cluster
from perfopt_api.apply.fields import applied_fields, differing
from perfopt_api.apply.moves import note
from perfopt_api.apply.refusals import ClusterUnavailableError, WorkloadGoneError
from perfopt_api.apply.rescue import applied_order
from perfopt_api.store.apply_port import AppliedWorkload, ApplyWork, TimelineEntry
from perfopt_api.supervision import BackgroundTask

_log = structlog.get_logger(__name__)


class AppliedWatch(BackgroundTask):
    """Compares the changes that are in force with their workloads, some of them in each round.

    Args:
        store: knows the changes.
        cluster: where they are.
        now: the clock.
        pause_seconds: from one round to the next.
        per_round: workloads that are read in one round.
    """

    name = "overridden"

    def __init__(
        self,
        store: ApplyWork,
        cluster: Cluster,
        now: Callable[[], datetime],
        *,
        pause_seconds: float = 60.0,
        per_round: int = 50,
    ) -> None:
        self._store = store
        self._cluster = cluster
        self._now = now
        self.pause_seconds = pause_seconds
        self._per_round = per_round
        self._first = 0

    async def round(self) -> None:
        """Looks at the next workloads."""
        changes = await self._store.in_force()
        self._first = self._first if self._first < len(changes) else 0
        for applied in changes[self._first : self._first + self._per_round]:
            try:
                entry = await self._overridden(applied)
            except ClusterUnavailableError:
                raise
            except PerfoptError as error:
                _log.warning("applied_not_read", workload=applied.workload, reason=error.message)
                continue
            if entry is not None:
                await self._store.note_overridden(applied, entry)
        self._first += self._per_round

    async def _overridden(self, applied: AppliedWorkload) -> TimelineEntry | None:
        change = applied_order(applied).whole
        try:
            view = await self._cluster.read(change.target)
        except WorkloadGoneError as error:
            message = f"{error.message} The change is no longer in force."
            return note(self._now(), "ended", error.code, message)
        moved = differing(view, applied_fields(change))
        if not moved:
            return None
        current_values = ", ".join(f"{path} is {value}" for path, value in moved.items())
        message = f"Somebody changed what was applied: {current_values}. It is no longer in force."
        return note(self._now(), "ended", "overridden", message, moved)
