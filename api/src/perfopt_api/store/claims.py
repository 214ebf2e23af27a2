"""Which job a worker claims next, and how lost leases count."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, ScalarSelect, and_, case, func, or_, select

from perfopt.domain.enums import OptimizationStatus
from perfopt_api.store.port import JobClass
from perfopt_api.store.tables import jobs

_ANALYZING = OptimizationStatus.ANALYZING.value


def unleased() -> ColumnElement[bool]:
    """No worker holds it: it was never claimed, was released, or its lease ran out."""
    return or_(jobs.c.lease_expires_at.is_(None), jobs.c.lease_expires_at < func.now())


def lost_leases() -> ColumnElement[int]:
    """How many workers were lost with the job, the one whose lease ran out just now included."""
    return jobs.c.lost_leases + case((jobs.c.lease_owner.is_not(None), 1), else_=0)


def next_job(classes: Collection[JobClass]) -> ScalarSelect[str]:
    """The job to claim next; one that another worker is claiming just now is passed over."""
    held = and_(jobs.c.status == _ANALYZING, jobs.c.lease_expires_at >= func.now())
    running = (
        select(jobs.c.namespace, func.count().label("count"))
        .where(held)
        .group_by(jobs.c.namespace)
        .subquery("running")
    )
    return (
        select(jobs.c.job_id)
        .outerjoin(running, running.c.namespace == jobs.c.namespace)
        .where(
            jobs.c.status == _ANALYZING,
            unleased(),
            jobs.c.queued_at <= func.now(),
            jobs.c.priority.in_([int(each) for each in classes]),
        )
        .order_by(jobs.c.priority, func.coalesce(running.c.count, 0), jobs.c.created_at, jobs.c.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=jobs)
        .scalar_subquery()
    )
