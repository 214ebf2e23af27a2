"""The policy in effect, freezes, and restoring what was applied."""

import asyncio
from datetime import timedelta
from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Meta

from perfopt_api.http.applying import wake
from perfopt_api.http.auth import visible_namespaces
from perfopt_api.http.body import require_plain
from perfopt_api.http.ports import ApiPorts
from perfopt_api.http.rules import scope_namespaces
from perfopt_api.policy.decide import frozen_by
from perfopt_api.policy.settings import PolicySettings, SizeRange, range_of
from perfopt_api.store.apply_port import EVERYTHING, Freeze, PastApply

_SCOPE = "^(\\*|[A-Za-z0-9._:-]{1,253}(/[A-Za-z0-9._:-]{1,253}){0,3})$"
Scope = Annotated[str, Meta(pattern=_SCOPE, max_length=1000)]


class ScopeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the clusters, and why it is asked about.

    Attributes:
        scope: `*` for everything, `[cluster/]namespace`, or `[cluster/]namespace/kind/name`.
        reason: for the record.
    """

    scope: Scope = EVERYTHING
    reason: Annotated[str, Meta(max_length=1000)] | None = None


class RestoredJobs(msgspec.Struct, frozen=True, kw_only=True):
    """What is being taken back.

    Attributes:
        job_ids: the jobs, oldest first; each workload's newest change goes back first.
    """

    job_ids: tuple[str, ...]


class EffectivePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What holds now.

    Attributes:
        settings: as configured.
        executor: whether changes can be made here at all.
        freezes: all there are; those of a workload where one is asked for.
        range: sizes that the workload may be changed to; null where none is asked for or configured.
        running: changes that are under way.
        started_last_hour: changes that began within the last 60 minutes; as `running`, where you may see.
        demoted: strategies that are only advice, `strategy/version/service class`.
    """

    settings: PolicySettings
    executor: bool
    freezes: tuple[Freeze, ...]
    range: SizeRange | None
    running: tuple[PastApply, ...]
    started_last_hour: int
    demoted: tuple[str, ...]


@get("/policy", operation_id="getPolicy", summary="The policy in effect", tags=["Changes"])
async def get_policy(
    request: Request[Any, Any, Any],
    ports: NamedDependency[ApiPorts],
    workload: Annotated[
        str | None,
        QueryParameter(description="Only for `[cluster/]namespace/kind/name`.", max_length=1000),
    ] = None,
) -> EffectivePolicy:
    """Shows settings, freezes, and what runs; of one workload, what holds for it."""
    require_plain(workload, "workload")
    facts = await ports.applies.facts()
    hour_ago = ports.now() - timedelta(hours=1)
    visible = visible_namespaces(request)
    freezes = tuple(freeze for freeze in facts.freezes if _is_visible(freeze, visible))
    past = tuple(past for past in facts.past if visible is None or past.namespace in visible)
    return EffectivePolicy(
        settings=ports.policy,
        executor=ports.executor,
        freezes=freezes if workload is None else frozen_by(workload, freezes),
        range=None if workload is None else range_of(workload, ports.policy.ranges),
        running=tuple(one for one in past if one.ended_at is None),
        started_last_hour=sum(one.started_at >= hour_ago for one in past),
        demoted=tuple(sorted(facts.demoted)),
    )


def _is_visible(freeze: Freeze, visible: frozenset[str] | None) -> bool:
    namespaces = scope_namespaces(freeze.scope)
    return visible is None or namespaces is None or visible.issuperset(namespaces)


@post(
    "/policy/freeze",
    status_code=200,
    operation_id="freeze",
    summary="Hold back new changes",
    tags=["Changes"],
)
async def freeze(
    request: Request[Any, Any, Any], ports: NamedDependency[ApiPorts], part: NamedDependency[ScopeRequest]
) -> Freeze:
    """No new change begins within the scope, one that has begun is held, and rollbacks go on."""
    principal = request.scope.get("user")
    frozen = Freeze(
        scope=part.scope, reason=part.reason or "no reason given", principal=principal, at=ports.now()
    )
    await ports.applies.set_freeze(frozen)
    return frozen


@post(
    "/policy/unfreeze",
    status_code=200,
    operation_id="unfreeze",
    summary="Let changes begin again",
    tags=["Changes"],
)
async def unfreeze(
    request: Request[Any, Any, Any], ports: NamedDependency[ApiPorts], part: NamedDependency[ScopeRequest]
) -> tuple[Freeze, ...]:
    """Lifts the freeze of exactly this scope, and answers with those that are left."""
    principal = request.scope.get("user")
    await ports.applies.lift_freeze(part.scope, principal=principal, reason=part.reason)
    visible = visible_namespaces(request)
    return tuple(one for one in (await ports.applies.facts()).freezes if _is_visible(one, visible))


@post(
    "/policy/restore",
    status_code=202,
    operation_id="restore",
    summary="Take back every change of a workload, a namespace, or everywhere",
    tags=["Changes"],
)
async def restore(
    request: Request[Any, Any, Any], ports: NamedDependency[ApiPorts], part: NamedDependency[ScopeRequest]
) -> RestoredJobs:
    """Rolls back what is in force or under way; freeze first where nothing new should begin."""
    principal = request.scope.get("user")
    ids = await ports.applies.restore(part.scope, principal=principal, reason=part.reason)
    await asyncio.gather(*(wake(ports, job_id) for job_id in ids))
    return RestoredJobs(job_ids=ids)
