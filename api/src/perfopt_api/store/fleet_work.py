"""Fleets on PostgreSQL: one job, its batches, and an analysis for each workload of them.

All are rows of the jobs' table. While batches run, nobody can claim the fleet's own row, whose lease never
ends.
"""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.job import SourceUsage
from perfopt.domain.recommendation import AnalysisResult
from perfopt_api.store.database import Database
from perfopt_api.store.endings import complete, lock_claimed
from perfopt_api.store.fleets import settle_fleet
from perfopt_api.store.mapping import new_job_row
from perfopt_api.store.port import FinishResult, FleetBatch, JobClaim, JobError, JobKind
from perfopt_api.store.summaries import write_summary
from perfopt_api.store.tables import jobs
from perfopt_api.store.work import PostgresWorkStore

_BATCHES = "batches"  # the owner of the lease of a fleet that is divided


class PostgresFleetStore:
    """Implements perfopt_api.store.port.FleetStore.

    Args:
        database: the pool.
        results: stores what an analysis gave.
    """

    def __init__(self, database: Database, results: PostgresWorkStore) -> None:
        self._database = database
        self._results = results

    async def divide(self, claim: JobClaim, batches: Sequence[FleetBatch]) -> tuple[str, ...]:
        """See FleetStore.divide."""
        fleet_id = claim.fleet_id or claim.job_id
        async with self._database.transaction() as connection:
            if await lock_claimed(connection, claim) is not FinishResult.DONE:
                return ()
            fleet = (await connection.execute(select(jobs).where(jobs.c.job_id == fleet_id))).one()
            if claim.fleet_id is None:
                held = {"lease_owner": _BATCHES, "lease_expires_at": text("'infinity'")}
                await connection.execute(update(jobs).where(jobs.c.job_id == fleet_id).values(held))
            else:
                await connection.execute(delete(jobs).where(jobs.c.job_id == claim.job_id))
            rows = [_batch_row(batch, fleet) for batch in batches]
            await connection.execute(insert(jobs).values(rows))
            return tuple(row["job_id"] for row in rows)

    async def samples_read(self, fleet_id: str) -> int:
        """See FleetStore.samples_read."""
        query = select(func.sum(jobs.c.usage["samples"].as_float())).where(jobs.c.fleet_id == fleet_id)
        async with self._database.reading() as connection:
            return int(await connection.scalar(query) or 0)

    async def stored_analyses(self, job_ids: Collection[str]) -> frozenset[str]:
        """See FleetStore.stored_analyses."""
        query = select(jobs.c.job_id).where(jobs.c.job_id.in_(list(job_ids)))
        async with self._database.reading() as connection:
            return frozenset((await connection.execute(query)).scalars())

    async def finish_workload(
        self, claim: JobClaim, job_id: str, name: str, result: AnalysisResult | None, error: JobError | None
    ) -> bool:
        """See FleetStore.finish_workload."""
        async with self._database.transaction() as connection:
            if await lock_claimed(connection, claim) is not FinishResult.DONE:
                return False
            if not await _insert_analysis(connection, claim, job_id, name):
                return False
            if error is None and result is not None:
                await self._results.store_result(connection, job_id, result, claim.fleet_id)
                return True
            failed, base_url = OptimizationStatus.FAILED, self._results.base_url
            await complete(connection, job_id, failed, result, error, base_url=base_url)
            if result is not None:
                await write_summary(connection, job_id, result, failed=True)
            return True

    async def finish_batch(self, claim: JobClaim, usage: SourceUsage) -> bool:
        """See FleetStore.finish_batch."""
        async with self._database.transaction() as connection:
            if await lock_claimed(connection, claim) is not FinishResult.DONE:
                return False
            read = {"usage": msgspec.to_builtins(usage)}
            await connection.execute(update(jobs).where(jobs.c.job_id == claim.job_id).values(read))
            ready, base_url = OptimizationStatus.RECOMMENDATIONS_READY, self._results.base_url
            await complete(connection, claim.job_id, ready, None, base_url=base_url)
            return claim.fleet_id is not None and await settle_fleet(connection, claim.fleet_id, base_url)


async def _insert_analysis(connection: AsyncConnection, claim: JobClaim, job_id: str, name: str) -> bool:
    batch = claim.request
    assert isinstance(batch, FleetBatch), "workloads are analysed in batches"
    row = new_job_row(batch.request.of_workload(name), None)
    row |= {"job_id": job_id, "fleet_id": claim.fleet_id, "fingerprint": None}
    statement = insert(jobs).values(row).on_conflict_do_nothing(index_elements=[jobs.c.job_id])
    return (await connection.execute(statement)).rowcount == 1


def _batch_row(batch: FleetBatch, fleet: Row[Any]) -> dict[str, Any]:
    return new_job_row(batch.request, fleet.requester) | {
        "service_name": f"{len(batch.workloads)} workloads",
        "request": msgspec.to_builtins(batch),
        "fingerprint": None,
        "priority": fleet.priority,
        "kind": JobKind.BATCH.value,
        "fleet_id": fleet.job_id,
    }
