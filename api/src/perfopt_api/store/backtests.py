"""Backtests that run in the background: one row each, with its report once it is done."""

import zlib
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import uuid4

import msgspec
from msgspec import Meta
from sqlalchemy import and_, delete, func, or_, select, update

from perfopt.domain.enums import OptimizationType
from perfopt.errors import ConflictError, NotFoundError
from perfopt_api.store.apply_rows import plain_row
from perfopt_api.store.database import Database
from perfopt_api.store.port import JobError
from perfopt_api.store.user_tables import backtest_runs as runs

MAX_OPEN = 20
MAX_ATTEMPTS = 3
KEPT_RUNS = 200
"""Of older ones, those that ended are deleted when another is started."""

RunStatus = Literal["QUEUED", "RUNNING", "DONE", "FAILED", "CANCELLED"]
_Text = Annotated[str, Meta(max_length=200)]


class BacktestRequest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What to evaluate, as the options of `perfopt backtest` name it.

    Attributes:
        source: a configured one; None is the default.
        types: of recommendations; empty is all.
        match: regular expression that a service's name must contain; None is every service.
        policies: names; empty is all.
        history: what each recommendation is made from.
        validity: what each is scored on; None is 7 days, and less for a short service.
        origins: stride between origins, or their number; None is a stride of the validity.
        closed_loop: re-analyse sizes every day, each for the validity after, which is a day unless given.
    """

    source: _Text | None = None
    types: tuple[OptimizationType, ...] = ()
    match: _Text | None = None
    policies: Annotated[tuple[_Text, ...], Meta(max_length=20)] = ()
    history: _Text = "14d"
    validity: _Text | None = None
    origins: _Text | None = None
    closed_loop: bool = False


class BacktestRun(msgspec.Struct, frozen=True, kw_only=True):
    """A backtest that was asked for.

    Attributes:
        requester: who asked; None is nobody known.
        progress: the last line that it said.
        error: why it failed.
        result: its figures, as `perfopt backtest --format json` prints them; None in lists.
    """

    run_id: str
    request: BacktestRequest
    requester: str | None
    status: RunStatus
    progress: str
    error: JobError | None
    created_at: datetime
    completed_at: datetime | None
    result: dict[str, Any] | None = None


class PostgresBacktests:
    """Implements both ends: the pages', and the worker's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def start(self, request: BacktestRequest, requester: str | None) -> str:
        """Queues a backtest and returns its id.

        Raises:
            ConflictError: MAX_OPEN wait or run already.
        """
        run_id = str(uuid4())
        async with self._database.transaction() as connection:
            is_open = runs.c.status.in_(("QUEUED", "RUNNING"))
            count = await connection.scalar(select(func.count()).select_from(runs).where(is_open)) or 0
            if count >= MAX_OPEN:
                raise ConflictError(
                    f"{count} backtests wait or run.", remedy="Wait for one to end, or cancel one."
                )
            await connection.execute(
                runs.insert().values(
                    run_id=run_id, request=msgspec.to_builtins(request), requester=requester, status="QUEUED"
                )
            )
            newest = select(runs.c.run_id).order_by(runs.c.created_at.desc(), runs.c.run_id).limit(KEPT_RUNS)
            await connection.execute(delete(runs).where(~is_open, runs.c.run_id.not_in(newest)))
        return run_id

    async def list(self, *, page: int, limit: int) -> tuple[BacktestRun, ...]:
        """Returns a page of runs without results, newest first; one more where others follow."""
        names = [name for name in BacktestRun.__struct_fields__ if name != "result"]
        query = (
            select(*(runs.c[name] for name in names))
            .order_by(runs.c.created_at.desc(), runs.c.run_id)
            .limit(limit + 1)
            .offset((page - 1) * limit)
        )
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return tuple(msgspec.convert(plain_row(row), BacktestRun) for row in rows)

    async def get(self, run_id: str) -> BacktestRun:
        """Returns a run.

        Raises:
            NotFoundError: there is none of this id.
        """
        query = select(*(runs.c[name] for name in BacktestRun.__struct_fields__))
        async with self._database.reading() as connection:
            row = (await connection.execute(query.where(runs.c.run_id == run_id))).mappings().first()
        if row is None:
            raise NotFoundError(f"There is no backtest {run_id!r}.", remedy="Choose one from the list.")
        return msgspec.convert(plain_row(row), BacktestRun)

    async def report(self, run_id: str) -> str | None:
        """Returns the page of a run that is done."""
        async with self._database.reading() as connection:
            packed = await connection.scalar(select(runs.c.report).where(runs.c.run_id == run_id))
        return None if packed is None else zlib.decompress(packed).decode()

    async def latest_closed_loop(self) -> BacktestRun | None:
        """Returns the closed loop that was done last, with its figures; None where there is none."""
        query = select(runs.c.run_id).where(
            runs.c.status == "DONE", runs.c.request["closed_loop"].as_boolean()
        )
        async with self._database.reading() as connection:
            newest = await connection.scalar(query.order_by(runs.c.completed_at.desc()).limit(1))
        return None if newest is None else await self.get(newest)

    async def cancel(self, run_id: str) -> None:
        """Cancels a run that waits or runs; its worker stops it when it next renews its lease."""
        await self._set(run_id, None, status="CANCELLED", completed_at=func.now())

    async def claim(self, owner: str, lease: timedelta) -> BacktestRun | None:
        """Takes the oldest run that waits, or whose worker was lost; None where there is none."""
        lost = and_(runs.c.status == "RUNNING", runs.c.lease_expires_at < func.now())
        oldest = (
            select(runs.c.run_id)
            .where(or_(runs.c.status == "QUEUED", lost))
            .order_by(runs.c.created_at, runs.c.run_id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        async with self._database.transaction() as connection:
            row = (
                await connection.execute(select(runs).where(runs.c.run_id == oldest.scalar_subquery()))
            ).first()
            if row is None:
                return None
            mine = update(runs).where(runs.c.run_id == row.run_id)
            if row.attempts >= MAX_ATTEMPTS:
                error = JobError(
                    code="workers_lost", message="The workers that ran it were lost, three times."
                )
                await connection.execute(
                    mine.values(status="FAILED", error=msgspec.to_builtins(error), completed_at=func.now())
                )
                return None
            held = {"lease_owner": owner, "lease_expires_at": func.now() + lease}
            await connection.execute(mine.values(status="RUNNING", attempts=row.attempts + 1, **held))
        return await self.get(row.run_id)

    async def renew(self, run_id: str, owner: str, lease: timedelta, progress: str) -> bool:
        """Renews a lease and stores the progress; False where the run was cancelled or taken by another."""
        until = func.now() + lease
        return await self._set(run_id, owner, lease_expires_at=until, progress=progress)

    async def finish(self, run_id: str, owner: str, result: dict[str, Any], report: str) -> bool:
        """Stores the result of a run."""
        packed = zlib.compress(report.encode(), 6)
        return await self._set(
            run_id, owner, status="DONE", result=result, report=packed, completed_at=func.now()
        )

    async def fail(self, run_id: str, owner: str, error: JobError) -> bool:
        """Ends a run that could not be evaluated."""
        values = {"status": "FAILED", "error": msgspec.to_builtins(error)}
        return await self._set(run_id, owner, completed_at=func.now(), **values)

    async def release(self, run_id: str, owner: str) -> bool:
        """Gives a run back, for another worker to begin again."""
        return await self._set(run_id, owner, status="QUEUED", lease_expires_at=None, progress="")

    async def _set(self, run_id: str, owner: str | None, **values: Any) -> bool:
        where = [runs.c.run_id == run_id, runs.c.status.in_(("QUEUED", "RUNNING"))]
        if owner is not None:
            where.append(runs.c.lease_owner == owner)
        async with self._database.transaction() as connection:
            return (await connection.execute(update(runs).where(*where).values(values))).rowcount == 1
