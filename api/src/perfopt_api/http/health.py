"""Whether the process lives, and whether it can work."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency

from perfopt.errors import PerfoptError
from perfopt_api.http.errors import problem_response
from perfopt_api.http.ports import ApiPorts, Checks
from perfopt_api.http.problems import FieldError, Problem

CHECK_SECONDS = 2.0


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """An answer of the health checks.

    Attributes:
        checks: what was looked at, each "ok".
    """

    status: str
    checks: dict[str, str] = {}


@get("/health/live", operation_id="live", summary="Is the process alive?", tags=["Health"])
async def live() -> Health:
    """Answers as long as the process does; it looks at nothing else."""
    return Health(status="alive")


@get("/health/ready", operation_id="ready", summary="Can it work?", tags=["Health"])
async def ready(
    request: Request[Any, Any, Any], ports: NamedDependency[ApiPorts]
) -> Response[Health | Problem]:
    """Answers 200 while PostgreSQL takes writes, its schema fits and NATS answers, else 503."""
    return await readiness(request, ports.checks)


async def readiness(
    request: Request[Any, Any, Any], checks: Checks, failing: Sequence[FieldError] = ()
) -> Response[Health | Problem]:
    """Returns 200 where all checks answer and nothing fails, else 503 with each reason."""
    checked = await asyncio.gather(*(failed_check(name, ping) for name, ping in checks.items()))
    down = (*(error for error in checked if error is not None), *failing)
    if down:
        detail = " ".join(error.message for error in down)
        return problem_response(request, "unavailable", detail, errors=down)  # type: ignore[return-value]
    return Response(Health(status="ready", checks=dict.fromkeys(checks, "ok")))


async def failed_check(name: str, ping: Callable[[], Awaitable[None]]) -> FieldError | None:
    """Returns why a check fails, or does not answer in time; None where it is well."""
    # Not asyncio.timeout: that waits for the cancelled call, and a driver takes seconds to give one up.
    call = asyncio.ensure_future(ping())
    done, _ = await asyncio.wait({call}, timeout=CHECK_SECONDS)
    if not done:
        call.cancel()
        call.add_done_callback(_retrieved)
        return FieldError(field=name, message=f"{name} did not answer within {CHECK_SECONDS:g} s.")
    try:
        await call
    except PerfoptError as error:
        return FieldError(field=name, message=error.message, remedy=error.remedy)
    return None


def _retrieved(call: asyncio.Future[None]) -> None:
    """Takes what came of a call that nobody waits for, so that asyncio does not complain of it."""
    if not call.cancelled():
        call.exception()
