"""Policies: what holds, where each line is set, what it says of a workload's changes, and restoring."""

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from litestar.response import Redirect

from perfopt.config.describe import attribute_texts
from perfopt.config.show import DEFAULT, redact
from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.errors import ConflictError, InvalidInputError
from perfopt_api.apply.order import order_of, proposed_change
from perfopt_api.apply.request import ApplyRecommendationRequest
from perfopt_api.http.applying import wake
from perfopt_api.http.body import require_plain
from perfopt_api.http.policy import Scope
from perfopt_api.http.ports import all_recommendations
from perfopt_api.policy.decide import denied, frozen_by, objections
from perfopt_api.policy.facts import Decision, PolicyClock
from perfopt_api.policy.settings import SECTION, PolicySettings, WeeklyWindow, range_of
from perfopt_api.policy.windows import next_window
from perfopt_api.store.apply_port import ApplyFacts
from perfopt_api.web.ports import WebPorts
from perfopt_api.web.view import page, written

if TYPE_CHECKING:
    from perfopt.rules.pack import RulePack

_CANARY = ApplyRecommendationRequest(mode="canary")
_COMMAND = "this command"
_NEXT_SESSIONS = 3
_MAX_PACK = 65_536


@get("/policies", include_in_schema=False)
async def policies(
    request: Request[Any, Any, Any],
    web: NamedDependency[WebPorts],
    workload: Annotated[str, QueryParameter(max_length=1000)] = "",
) -> Response[Any]:
    """Shows the policy in effect; of one workload, what it says of each change that is recommended."""
    require_plain(workload, "workload")
    ports, settings = web.api, web.api.policy
    facts, clock = await ports.applies.facts(), await policy_clock(web)
    return page(
        request,
        "policies.html",
        settings=_settings(web),
        policy=settings,
        executor=ports.executor,
        running=sum(past.ended_at is None for past in facts.past),
        freezes=facts.freezes,
        demoted=sorted(facts.demoted),
        window=next_window([WeeklyWindow.parse(text) for text in settings.windows], clock.now),
        sessions={name: _next(spans, clock) for name, spans in clock.sessions.items()},
        packs=await asyncio.to_thread(_packs, web, _namespace(workload)),
        workload=workload,
        own_range=_bounds(workload, settings),
        own_freezes=frozen_by(workload, facts.freezes) if workload else (),
        answers=await _answers(web, workload, facts, clock) if workload else (),
    )


@post("/policies/check", status_code=200, include_in_schema=False)
async def check(request: Request[Any, Any, Any], web: NamedDependency[WebPorts]) -> Response[Any]:
    """Checks a rule pack as `perfopt rules check` does, without storing it."""
    text = str((await request.form()).get("pack", ""))
    if not text.strip() or len(text) > _MAX_PACK:
        raise InvalidInputError(
            "There is no rule pack to check.",
            field="pack",
            remedy=f"Give YAML of up to {_MAX_PACK} characters.",
        )
    pack, problems = await asyncio.to_thread(_checked, text)
    return page(request, "rulecheck.html", text=text, pack=pack, problems=problems)


def _checked(text: str) -> "tuple[RulePack | None, list[str]]":
    """Returns the pack, or all that is wrong with it, each with its line."""
    from perfopt.rules.reading import check_pack

    with tempfile.TemporaryDirectory(prefix="perfopt-pack-") as folder:
        file = Path(folder) / "pack.yaml"
        file.write_text(text, encoding="utf-8", newline="")
        pack, problems = check_pack(file)
        return pack, [str(one).replace(f"{folder}/", "") for one in problems]


@post("/restore", status_code=303, include_in_schema=False)
async def restore(request: Request[Any, Any, Any], web: NamedDependency[WebPorts]) -> Redirect:
    """Takes back every change within a scope that is in force or under way."""
    form = await request.form()
    given, reason = (str(form.get(name, "")).strip()[:1000] for name in ("scope", "reason"))
    if not given or not reason:
        raise InvalidInputError(
            "Restoring needs a scope and a reason.", field="scope", remedy="State both; * is everything."
        )
    try:
        scope = msgspec.convert(given, Scope)
    except msgspec.ValidationError as error:
        raise InvalidInputError(
            f"{given!r} is no scope.", field="scope", remedy="Use *, a namespace or a workload's full name."
        ) from error
    ids = await web.api.applies.restore(scope, principal=request.scope.get("user"), reason=reason)
    for job_id in ids[:1]:
        await wake(web.api, job_id)
    return Redirect("/ui/jobs?status=APPLYING", status_code=303)


async def policy_clock(web: WebPorts) -> PolicyClock:
    """Returns what policy knows of this instant."""
    await web.time.refresh(web.api.now())
    return web.time(web.api.now())


def _settings(web: WebPorts) -> tuple[dict[str, Any], ...]:
    """Returns each setting with its value, where that is set, and what it means."""
    texts = attribute_texts(PolicySettings)
    values = redact(msgspec.to_builtins(web.api.policy))
    document, given = web.api.config.document, web.api.config.sections.get(SECTION) or {}
    return tuple(
        {
            "name": name,
            "value": written(value),
            "origin": document.origin((SECTION, name)) or (_COMMAND if name in given else DEFAULT),
            "meaning": texts.get(name, ""),
        }
        for name, value in values.items()
    )


def _bounds(workload: str, settings: PolicySettings) -> dict[str, Any]:
    """Returns what the workload's sizes may be changed to, without what is unbounded."""
    allowed = range_of(workload, settings.ranges)
    return (
        {} if allowed is None else {k: v for k, v in msgspec.structs.asdict(allowed).items() if v is not None}
    )


def _next(spans: Any, clock: PolicyClock) -> Any:
    """Returns the sessions that are on or come next; None where the calendar is not known."""
    return None if spans is None else [span for span in spans if span[1] > clock.now][:_NEXT_SESSIONS]


def _packs(web: WebPorts, namespace: str) -> tuple[dict[str, Any], ...]:
    from perfopt.rules import pack_settings

    return tuple(one.shown() for one in pack_settings(web.rules, namespace))


def _namespace(workload: str) -> str:
    parts = workload.split("/")
    return parts[-3] if len(parts) >= 3 else ""


async def _answers(
    web: WebPorts, workload: str, facts: ApplyFacts, clock: PolicyClock
) -> tuple[dict[str, Any], ...]:
    """Returns of each recommendation in force what each rule says, asked for by a person and by itself."""
    current = await all_recommendations(web.api.store, service_name=workload)
    changes = [one for one in current if one.workload == workload and not one.no_change_needed]
    return tuple(
        {
            "made": one,
            "by_person": decisions(web, one, facts, clock, automatic=False),
            "by_itself": decisions(web, one, facts, clock, automatic=True),
        }
        for one in changes
    )


def decisions(
    web: WebPorts,
    recommendation: OptimizationRecommendation,
    facts: ApplyFacts,
    clock: PolicyClock,
    *,
    automatic: bool,
) -> tuple[Decision, ...]:
    """Returns what stands against a change now, by rule; nothing where it is allowed."""
    try:
        order = order_of(recommendation, _CANARY, web.api.policy, automatic=automatic)
    except ConflictError as error:
        return (denied(error.code, error.message),)
    return objections(proposed_change(order, before=order.expected), facts, web.api.policy, clock)
