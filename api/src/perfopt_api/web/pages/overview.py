"""Overview: savings, harm, what waits, what is broken, freezes."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect

from perfopt.errors import InvalidInputError
from perfopt_api.http.auth import visible_namespaces
from perfopt_api.http.links import PREFIX
from perfopt_api.http.policy import Scope
from perfopt_api.http.rules import scope_namespaces
from perfopt_api.store.apply_port import EVERYTHING, Freeze
from perfopt_api.store.workload_list import STATUSES
from perfopt_api.web.pages.health import failing
from perfopt_api.web.ports import WebPorts
from perfopt_api.web.view import page

_TOP = 10
_MAX_TEXT = 1000


@get("", include_in_schema=False)
async def overview(request: Request[Any, Any, Any], web: NamedDependency[WebPorts]) -> Response[Any]:
    """Shows what all workloads come to, and what to look at first."""
    pages, visible = web.pages, visible_namespaces(request)
    statuses = await pages.statuses(visible)
    if not statuses:
        api = f"{(web.api.settings.base_url or str(request.base_url)).rstrip('/')}{PREFIX}"
        return page(request, "empty.html", sources=tuple(web.api.config.sources), api=api)
    bound = visible is not None  # what adds up all namespaces is left out then
    # In two rounds: one request takes a few connections only.
    totals, top, waiting, approvals = await asyncio.gather(
        pages.totals(visible),
        pages.top(_TOP, visible),
        pages.waiting(visible),
        pages.approvals(visible=visible),
    )
    whole = None if bound else await _whole(web)
    return page(
        request,
        "overview.html",
        statuses={code: statuses[code] for code in STATUSES if code in statuses},
        available=[row for row in totals if not row["applied"]],
        in_force=[row for row in totals if row["applied"]],
        whole=whole,
        waiting=waiting,
        approvals=len(approvals),
        freezes=_seen(await pages.freezes(), visible),
        top=top,
    )


async def _whole(web: WebPorts) -> dict[str, Any]:
    """Returns what adds up all namespaces."""
    recorded, harm, broken, down = await asyncio.gather(
        web.pages.recorded(), web.pages.harm(), web.pages.broken(), failing(web.api.checks)
    )
    weeks = None if recorded is None else recorded["week"]
    return {"weeks": weeks, "harm": harm, "broken": broken, "failing": down}


def _seen(
    freezes: tuple[Mapping[str, Any], ...], visible: frozenset[str] | None
) -> tuple[Mapping[str, Any], ...]:
    """Returns the freezes of everything, and those of visible namespaces."""
    return tuple(
        one for one in freezes if visible is None or set(scope_namespaces(one["scope"]) or ()) <= visible
    )


@post("/freeze", status_code=303, include_in_schema=False)
async def freeze(request: Request[Any, Any, Any], web: NamedDependency[WebPorts]) -> Redirect:
    """Freezes a scope: no new change is made within it."""
    form = await request.form()
    scope, reason = (str(form.get(name, "")).strip()[:_MAX_TEXT] for name in ("scope", "reason"))
    if not reason:
        raise InvalidInputError("A freeze needs a reason.", field="reason", remedy="State why.")
    try:
        scope = msgspec.convert(scope or EVERYTHING, Scope)
    except msgspec.ValidationError as error:
        raise InvalidInputError(
            f"{scope!r} is no scope.", field="scope", remedy="Use *, a namespace or a workload's full name."
        ) from error
    principal = request.scope.get("user")
    await web.api.applies.set_freeze(Freeze(scope=scope, reason=reason, principal=principal))
    return Redirect("/ui", status_code=303)


@post("/unfreeze", status_code=303, include_in_schema=False)
async def unfreeze(request: Request[Any, Any, Any], web: NamedDependency[WebPorts]) -> Redirect:
    """Lifts the freeze of a scope."""
    form = await request.form()
    principal = request.scope.get("user")
    await web.api.applies.lift_freeze(str(form.get("scope", "")), principal=principal, reason=None)
    return Redirect("/ui", status_code=303)
