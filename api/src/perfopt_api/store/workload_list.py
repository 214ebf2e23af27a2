"""Which workloads a list of the dashboard shows, in which order, and what their status is."""

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, case, func, or_, select

from perfopt.domain.enums import OptimizationStatus
from perfopt_api.store.refusals import REFUSED
from perfopt_api.store.tables import jobs, recommendations, workloads

EXPIRED, APPLIED, ROLLED_BACK = "expired", "applied", "rolled_back"
STATUSES = ("change", "approval", APPLIED, ROLLED_BACK, REFUSED, "no_change", "abstained", "failed", EXPIRED)


class WorkloadFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which workloads a list shows; "" is any.

    Attributes:
        name: part of the full name.
        owner: HPA, VPA or KEDA, which sets replicas or requests.
        status: one of STATUSES.
        sort: "saving", "name", "confidence" or "analysed".
        page: from 1 on.
        visible: only of these namespaces; None is all.
    """

    name: str = ""
    cluster: str = ""
    namespace: str = ""
    kind: str = ""
    owner: str = ""
    status: str = ""
    sort: str = "saving"
    page: int = 1
    visible: frozenset[str] | None = None


def workload_status() -> ColumnElement[str]:
    """Returns the status of a row of `workloads`: one of STATUSES."""
    over: ColumnElement[bool] = and_(
        workloads.c.status.in_(("change", "approval", "no_change")), workloads.c.valid_until <= func.now()
    )
    changes = workloads.c.status.in_(("change", "approval"))
    in_force = select(recommendations.c.recommendation_id).where(recommendations.c.applied)
    applied: ColumnElement[bool] = and_(changes, workloads.c.recommendation_id.in_(in_force))
    taken_back = select(func.jsonb_array_elements_text(jobs.c.request["recommendation_ids"])).where(
        jobs.c.status == OptimizationStatus.ROLLED_BACK,
        jobs.c.parent_job_id.is_not(None),
        jobs.c.fleet_id.is_(None),  # by which the index is found
    )
    rolled_back: ColumnElement[bool] = and_(changes, workloads.c.recommendation_id.in_(taken_back))
    return case((over, EXPIRED), (applied, APPLIED), (rolled_back, ROLLED_BACK), else_=workloads.c.status)


def matching(wanted: WorkloadFilter) -> list[ColumnElement[bool]]:
    """Returns the conditions of a filter."""
    where = [
        workloads.c[name] == value
        for name in ("cluster", "namespace", "kind", "owner")
        if (value := getattr(wanted, name))
    ]
    if wanted.visible is not None:
        where.append(workloads.c.namespace.in_(wanted.visible))
    if wanted.status:
        where.append(workload_status() == wanted.status)
    if wanted.name:
        part = wanted.name
        where.append(
            or_(
                workloads.c.workload.icontains(part, autoescape=True),
                workloads.c.service_name.icontains(part, autoescape=True),
            )
        )
    return where


def ordering(sort: str) -> tuple[ColumnElement[Any], ...]:
    """Returns the order of a list, the same at each page."""
    saving = workloads.c.cost_current - workloads.c.cost_recommended
    by_name = workloads.c.workload
    orders: dict[str, tuple[ColumnElement[Any], ...]] = {
        "saving": (workloads.c.assumed, saving.desc().nulls_last(), by_name),
        "name": (by_name,),
        "confidence": (workloads.c.confidence.desc().nulls_last(), by_name),
        "analysed": (workloads.c.analysed_at.desc(), by_name),
    }
    return orders[sort]
