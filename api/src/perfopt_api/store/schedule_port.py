"""What analyses that repeat need of a store."""

from datetime import datetime
from typing import Annotated, Protocol
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim, CronSimError
from msgspec import Meta

from perfopt.domain.request import FleetAnalysisRequest


class ScheduleRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When to analyse which workloads again.

    Attributes:
        name: of the schedule.
        cron: minute, hour, day of month, month, day of week, such as `0 2 * * *`.
        time_zone: IANA name, such as `Europe/Berlin`, in which `cron` counts.
        analysis: what is asked for each time.
    """

    name: Annotated[str, Meta(pattern="^[A-Za-z0-9_.-]{1,100}$")]
    cron: Annotated[str, Meta(max_length=100)]
    time_zone: Annotated[str, Meta(max_length=100)] = "UTC"
    analysis: FleetAnalysisRequest


DECLARED_BY = "configuration"
"""Requester of schedules that the configuration declares."""


class DeclaredSchedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A schedule of the configuration, which is its home: workers create, change and delete it accordingly.

    Attributes:
        cron: minute, hour, day of month, month, day of week, such as `0 2 * * *`.
        time_zone: IANA name in which `cron` counts.
        analysis: what is asked for each time; `{selector: {}}` is all workloads.
    """

    cron: Annotated[str, Meta(max_length=100)]
    time_zone: Annotated[str, Meta(max_length=100)] = "UTC"
    analysis: FleetAnalysisRequest

    def __post_init__(self) -> None:
        """Refuses what never fires, where the configuration is read."""
        try:
            next(CronSim(self.cron, datetime.now(ZoneInfo(self.time_zone))))
        except (CronSimError, StopIteration) as error:
            raise ValueError(f"cron {self.cron!r} is no expression that fires") from error
        except (KeyError, OSError) as error:
            raise ValueError(f"there is no time zone {self.time_zone!r}") from error

    def named(self, name: str) -> ScheduleRequest:
        """Returns what creates it."""
        return ScheduleRequest(name=name, cron=self.cron, time_zone=self.time_zone, analysis=self.analysis)


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as it is stored.

    Attributes:
        name, cron, time_zone, analysis: as asked for.
        requester: who made it; its jobs are theirs.
        next_at: when it fires next.
        last_at, last_job_id: of its last firing.
    """

    name: str
    cron: str
    time_zone: str
    analysis: FleetAnalysisRequest
    requester: str | None = None
    next_at: datetime
    last_at: datetime | None = None
    last_job_id: str | None = None


class ScheduleStore(Protocol):
    """Schedules. Every method raises UnavailableError while PostgreSQL is not reachable."""

    async def create_schedule(
        self, request: ScheduleRequest, *, now: datetime, requester: str | None = None
    ) -> Schedule:
        """Stores a schedule.

        Raises:
            ConflictError: there is one of that name.
            InvalidInputError: the expression or the time zone is wrong.
            QuotaExceededError: there are too many.
        """

    async def list_schedules(self) -> tuple[Schedule, ...]:
        """Returns all schedules by name."""

    async def delete_schedule(self, name: str, *, requester: str | None = None) -> Schedule:
        """Deletes a schedule and returns it; jobs that it started go on.

        Raises:
            NotFoundError: there is none of that name.
        """
