"""Jobs that apply something: taking them back, stopping them, approving them, and following them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from litestar.response import ServerSentEvent, ServerSentEventMessage
from msgspec import Meta

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.job import OptimizationJob
from perfopt.errors import ConflictError, NotFoundError, UnavailableError
from perfopt_api.http.body import require_plain
from perfopt_api.http.links import PREFIX
from perfopt_api.http.ports import ApiPorts
from perfopt_api.store.apply_port import TimelineEntry, Wish

EVENT_STREAM = "text/event-stream"
_LOOK_SECONDS = 1.0


class ChangeReason(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why something is asked for.

    Attributes:
        reason: for the record.
    """

    reason: Annotated[str, Meta(max_length=1000)] | None = None


@post(
    "/jobs/{job_id:str}/rollback",
    status_code=202,
    operation_id="rollBackJob",
    summary="Take back what a job applied, or is applying",
    tags=["Changes"],
)
async def roll_back_job(
    request: Request[Any, Any, Any],
    ports: NamedDependency[ApiPorts],
    why: NamedDependency[ChangeReason],
    job_id: FromPath[str],
) -> OptimizationJob:
    """Sets every field that is still the job's to what it was; asking twice is asking once."""
    return await _request_wish(request, ports, why, job_id, "rollback")


@post(
    "/jobs/{job_id:str}/cancel",
    status_code=202,
    operation_id="cancelJob",
    summary="Stop a job",
    tags=["Changes"],
)
async def cancel_job(
    request: Request[Any, Any, Any],
    ports: NamedDependency[ApiPorts],
    why: NamedDependency[ChangeReason],
    job_id: FromPath[str],
) -> OptimizationJob:
    """Ends it as FAILED where it has changed nothing yet; else it is rolled back.

    An analysis ends as FAILED with the code `cancelled`; what a fleet has recommended by then stays.
    """
    require_plain(job_id, "job_id")
    if (await _job(ports, job_id)).status is OptimizationStatus.ANALYZING and (
        await ports.store.cancel_analysis(job_id)
    ):
        return await _job(ports, job_id)
    return await _request_wish(request, ports, why, job_id, "cancel")


async def _request_wish(
    request: Request[Any, Any, Any], ports: ApiPorts, why: ChangeReason, job_id: str, wish: Wish
) -> OptimizationJob:
    require_plain(job_id, "job_id")
    principal = request.scope.get("user")
    await ports.applies.ask(job_id, wish, principal=principal, reason=why.reason)
    await wake(ports, job_id)
    return await _job(ports, job_id)


@post(
    "/jobs/{job_id:str}/approve",
    status_code=202,
    operation_id="approveJob",
    summary="Approve a job that waits for it",
    tags=["Changes"],
)
async def approve_job(
    request: Request[Any, Any, Any],
    ports: NamedDependency[ApiPorts],
    why: NamedDependency[ChangeReason],
    job_id: FromPath[str],
) -> OptimizationJob:
    """Approves it as the holder of the token, who must be another than the one who asked for the change."""
    require_plain(job_id, "job_id")
    principal = request.scope.get("user")
    if principal is None:
        raise ConflictError(
            "Without tokens nobody can be told from who asked for the change.",
            remedy="Set service.auth to on, and give each principal a token.",
        )
    await ports.applies.approve(job_id, principal=principal, reason=why.reason)
    await wake(ports, job_id)
    return await _job(ports, job_id)


async def wake(ports: ApiPorts, job_id: str) -> None:
    """Has a worker look at a job at once; without the message one looks within a second or two."""
    try:
        await ports.queue.enqueue(job_id)
    except UnavailableError:
        return


async def _job(ports: ApiPorts, job_id: str) -> OptimizationJob:
    job = await ports.store.get_job(job_id)
    if job is None:
        raise NotFoundError(f"There is no job {job_id!r}.", field="job_id")
    return job


@get(
    "/jobs/{job_id:str}/timeline",
    operation_id="getTimeline",
    summary="What a job did to the cluster, step by step",
    tags=["Changes"],
    opt={"media_types": (EVENT_STREAM,)},
)
async def get_timeline(
    request: Request[Any, Any, Any],
    ports: NamedDependency[ApiPorts],
    job_id: FromPath[str],
    after: Annotated[int, QueryParameter(ge=0, le=2**53, description="Only entries of a higher id.")] = 0,
) -> Response[list[TimelineEntry]]:
    """Lists steps with figures and the kubectl commands that do the same by hand.

    With `Accept: text/event-stream` the entries come as they are made, until the job has ended.
    """
    require_plain(job_id, "job_id")
    entries = await ports.applies.timeline(job_id, after=after)
    if entries is None:
        raise NotFoundError(
            f"There is no job {job_id!r} that applies something.",
            field="job_id",
            remedy=f"List the jobs at {PREFIX}/jobs.",
        )
    if EVENT_STREAM in request.headers.get("accept", ""):
        return ServerSentEvent(_followed(ports, job_id, after))  # type: ignore[return-value]  # is a Response
    return Response(list(entries))


async def _followed(ports: ApiPorts, job_id: str, after: int) -> AsyncIterator[ServerSentEventMessage]:
    while True:
        job = await ports.store.get_job(job_id)  # before the entries: what ended it is among them
        for entry in await ports.applies.timeline(job_id, after=after) or ():
            after = entry.id
            yield ServerSentEventMessage(
                data=msgspec.json.encode(entry).decode(), id=str(entry.id), event=entry.code
            )
        if job is None or job.status is not OptimizationStatus.APPLYING:
            return
        await asyncio.sleep(_LOOK_SECONDS)
