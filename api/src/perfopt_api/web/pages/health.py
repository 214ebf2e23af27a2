"""Doctor: what is broken, and its remedy."""

import asyncio
from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency

from perfopt_api.http.health import failed_check
from perfopt_api.http.ports import Checks
from perfopt_api.http.problems import FieldError
from perfopt_api.web.ports import WebPorts
from perfopt_api.web.view import page


async def failing(checks: Checks) -> list[FieldError]:
    """Returns what does not answer, with the remedy."""
    checked = await asyncio.gather(*(failed_check(name, ping) for name, ping in checks.items()))
    return [error for error in checked if error is not None]


@get("/doctor", include_in_schema=False)
async def doctor(request: Request[Any, Any, Any], web: NamedDependency[WebPorts]) -> Response[Any]:
    """Shows every check, plugin and source, and analyses that failed lately."""
    return page(
        request,
        "doctor.html",
        checks=tuple(web.api.checks),
        failing={error.field: error for error in await failing(web.api.checks)},
        sources=tuple(web.api.config.sources),
        broken=await web.pages.broken(),
        failed=(await web.pages.jobs(status="FAILED"))[:10],
        open_to_all=not web.api.auth.required,
    )


@get("/doctor/plugins", include_in_schema=False)
async def doctor_plugins(request: Request[Any, Any, Any], web: NamedDependency[WebPorts]) -> Response[Any]:
    """Shows the installed plugins, which takes a process to find out."""
    return page(request, "plugins.html", plugins=await web.api.plugins.list())
