"""What waits in PostgreSQL, for metrics and for scaling workers: jobs by class, and events."""

import msgspec
from sqlalchemy import and_, func, or_, select

from perfopt.domain.enums import OptimizationStatus
from perfopt_api.store.database import Database
from perfopt_api.store.port import JobClass
from perfopt_api.store.tables import jobs, outbox
from perfopt_api.store.user_tables import backtest_runs

_OPEN = (OptimizationStatus.ANALYZING.value, OptimizationStatus.APPLYING.value)

_free = or_(backtest_runs.c.lease_expires_at.is_(None), backtest_runs.c.lease_expires_at < func.now())
_age = func.extract("epoch", func.now() - func.min(backtest_runs.c.created_at).filter(_free))
_HEAVY = select(
    func.count().filter(_free).label("waiting"),
    func.count().label("all"),
    func.coalesce(_age, 0).label("oldest"),
).where(backtest_runs.c.status.in_(("QUEUED", "RUNNING")))
HEAVY = "heavy"
"""Name of the class of workers that run backtests."""


class ClassBacklog(msgspec.Struct, frozen=True, kw_only=True):
    """Unfinished jobs of one class.

    Attributes:
        waiting: held by no worker.
        running: held by one.
        oldest_seconds: age of the oldest that waits; 0 where none does.
    """

    waiting: int = 0
    running: int = 0
    oldest_seconds: float = 0.0


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that waits.

    Attributes:
        jobs: of every class.
        heavy: backtests that were started from the dashboard.
        events: committed and not yet published.
        lag_seconds: age of the oldest of them; 0 where there is none.
    """

    jobs: dict[JobClass, ClassBacklog]
    heavy: ClassBacklog
    events: int
    lag_seconds: float


class PostgresBacklog:
    """Counts unfinished jobs and unpublished events; both have partial indexes, so the past costs nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self) -> Backlog:
        """Returns what waits.

        Raises:
            UnavailableError: PostgreSQL is not reachable.
        """
        free = or_(jobs.c.lease_expires_at.is_(None), jobs.c.lease_expires_at < func.now())
        age = func.extract("epoch", func.now() - func.min(jobs.c.created_at).filter(free))
        by_class = (
            select(
                jobs.c.priority,
                func.count().filter(free).label("waiting"),
                func.count().label("all"),
                func.coalesce(age, 0).label("oldest"),
            )
            .where(jobs.c.status.in_(_OPEN))
            .group_by(jobs.c.priority)
        )
        pending = and_(outbox.c.published_at.is_(None), outbox.c.set_aside_at.is_(None))
        lag = func.extract("epoch", func.now() - func.min(outbox.c.created_at))
        events = select(func.count().label("events"), func.coalesce(lag, 0).label("lag")).where(pending)
        async with self._database.transaction() as connection:
            rows = (await connection.execute(by_class)).all()
            waiting = (await connection.execute(events)).one()
            heavy = (await connection.execute(_HEAVY)).one()
        backlogs = {
            JobClass(row.priority): ClassBacklog(
                waiting=row.waiting, running=row.all - row.waiting, oldest_seconds=float(row.oldest)
            )
            for row in rows
        }
        return Backlog(
            jobs={each: backlogs.get(each, ClassBacklog()) for each in JobClass},
            heavy=ClassBacklog(
                waiting=heavy.waiting, running=heavy.all - heavy.waiting, oldest_seconds=float(heavy.oldest)
            ),
            events=waiting.events,
            lag_seconds=float(waiting.lag),
        )
