"""One apply job in a file: what a command needs of the store where there is no service."""

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from perfopt.domain.enums import OptimizationStatus
from perfopt.errors import InvalidInputError
from perfopt_api.store.apply_port import (
    AppliedWorkload,
    ApplyClaim,
    ApplyEnd,
    ApplyFacts,
    NewApply,
    PastApply,
    TimelineEntry,
    Wish,
)
from perfopt_api.store.port import JobError


class FileJob(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An apply job as its file holds it.

    Attributes:
        new: what was ordered.
        step, state, snapshot: where it stands.
        entries: its timeline.
        status: APPLYING until it has ended.
        error: why, where it is not APPLIED.
        wish: what the user asked for meanwhile.
    """

    job_id: str
    new: NewApply
    created_at: datetime
    step: str
    state: dict[str, Any]
    snapshot: dict[str, Any] | None = None
    entries: list[TimelineEntry] = []
    status: OptimizationStatus = OptimizationStatus.APPLYING
    error: JobError | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    wish: Wish | None = None


class FileApplies:
    """Implements perfopt_api.store.apply_port.ApplyWork for one job, whose file is written before each step.

    Args:
        path: of the file.
        job: a new one, or one that was read.
        show: called with each new entry of the timeline.
    """

    def __init__(self, path: Path, job: FileJob, show: Callable[[TimelineEntry], None]) -> None:
        self._path = path
        self.job = job
        self._show = show
        self._held = False
        self._due = datetime.min.replace(tzinfo=UTC)
        self._write()

    @classmethod
    def read(cls, path: Path, show: Callable[[TimelineEntry], None]) -> "FileApplies":
        """Opens the file of a job that was begun.

        Raises:
            InvalidInputError: it cannot be read, or is no such file.
        """
        try:
            job = msgspec.json.decode(path.read_bytes(), type=FileJob)
        except (OSError, msgspec.MsgspecError) as error:
            why = getattr(error, "strerror", None) or error
            raise InvalidInputError(
                f"{path} is no state of a change: {why}.", field="--state", remedy="Name another file."
            ) from error
        return cls(path, job, show)

    def ask(self, wish: Wish) -> None:
        """Has the change cancelled or taken back."""
        self.job.wish = wish
        self._due = datetime.min.replace(tzinfo=UTC)
        self._write()

    async def claim_apply(self, *, owner: str, lease: timedelta) -> ApplyClaim | None:
        """See ApplyWork.claim_apply."""
        job = self.job
        if self._held or job.status is not OptimizationStatus.APPLYING or datetime.now(UTC) < self._due:
            return None
        self._held = True
        return self._claim(owner)

    async def extend_apply(self, claim: ApplyClaim, lease: timedelta) -> ApplyClaim | None:
        """See ApplyWork.extend_apply."""
        return self._claim(claim.owner)

    async def save_apply(
        self,
        claim: ApplyClaim,
        *,
        step: str,
        state: dict[str, Any],
        snapshot: dict[str, Any] | None = None,
        entries: Sequence[TimelineEntry] = (),
    ) -> bool:
        """See ApplyWork.save_apply."""
        self.job.step, self.job.state = step, state
        self.job.snapshot = snapshot if snapshot is not None else self.job.snapshot
        self._note(entries)
        return True

    async def start_apply(self, claim: ApplyClaim, permit: Callable[[ApplyFacts], bool]) -> bool:
        """See ApplyWork.start_apply."""
        if self.job.started_at is None:
            if not permit(await self.facts()):
                return False
            self.job.started_at = datetime.now(UTC)
            self._write()
        return True

    async def release_apply(self, claim: ApplyClaim, *, due_at: datetime, unlock: bool) -> None:
        """See ApplyWork.release_apply."""
        self._held, self._due = False, due_at if self.job.wish is None else self._due

    async def finish_apply(
        self,
        claim: ApplyClaim,
        end: ApplyEnd,
        entries: Sequence[TimelineEntry] = (),
        *,
        state: dict[str, Any] | None = None,
    ) -> bool:
        """See ApplyWork.finish_apply."""
        if end.status is OptimizationStatus.APPLIED and self.job.wish is not None and claim.wish is None:
            self._held = False
            return False
        self.job.status, self.job.error, self.job.step = end.status, end.error, "ended"
        self.job.state = self.job.state if state is None else state
        self.job.ended_at, self.job.wish, self._held = datetime.now(UTC), None, False
        self._note(entries)
        return True

    async def facts(self) -> ApplyFacts:
        """See ApplyWork.facts: only the change itself is known."""
        job = self.job
        if job.started_at is None:
            return ApplyFacts()
        past = PastApply(
            job_id=job.job_id,
            workload=job.new.workload,
            cluster=job.new.cluster,
            namespace=job.new.namespace,
            strategy=job.new.strategy,
            strategy_version=job.new.strategy_version,
            status=job.status,
            started_at=job.started_at,
            ended_at=job.ended_at,
            failure_code=None if job.error is None else job.error.code,
        )
        return ApplyFacts(past=(past,))

    async def in_force(self, *, durability: str | None = None) -> tuple[AppliedWorkload, ...]:
        """See ApplyWork.in_force: nothing is kept in force without a service."""
        return ()

    async def note_overridden(self, applied: AppliedWorkload, entry: TimelineEntry) -> None:
        """See ApplyWork.note_overridden."""

    def _claim(self, owner: str) -> ApplyClaim:
        job = self.job
        return ApplyClaim(
            job_id=job.job_id,
            owner=owner,
            order=job.new.order,
            state=job.state,
            workload=job.new.workload,
            created_at=job.created_at,
            requester=job.new.requester,
            started=job.started_at is not None,
            wish=job.wish,
            wished_by=job.new.requester,
        )

    def _note(self, entries: Sequence[TimelineEntry]) -> None:
        self.job.entries += entries
        self._write()
        for entry in entries:
            self._show(entry)

    def _write(self) -> None:
        """Replaces the file at once: a crash leaves the old state or the new one."""
        text = msgspec.json.format(msgspec.json.encode(self.job), indent=2)
        beside = self._path.with_name(f".{self._path.name}.new")
        try:
            with beside.open("wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
        except OSError as error:
            raise InvalidInputError(
                f"{self._path} cannot be written: {error.strerror}.",
                field="--state",
                remedy="Name a file in a directory that you may write to.",
            ) from error
