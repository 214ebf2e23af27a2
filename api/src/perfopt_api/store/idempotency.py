"""Idempotency keys: the same key with the same body is the same job, for a day."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from perfopt.errors import ConflictError
from perfopt_api.store.tables import idempotency_keys

KEY_LIFETIME = timedelta(hours=24)


async def earlier_job(connection: AsyncConnection, requester: str, key: str, body_hash: str) -> str | None:
    """Returns the job of the same key, after waiting for a request with it that is under way.

    Raises:
        ConflictError: the key came with another body.
    """
    lock = func.pg_advisory_xact_lock(func.hashtextextended(f"{requester}\x1f{key}", 0))
    await connection.execute(select(lock))
    table = idempotency_keys
    query = select(table.c.job_id, table.c.body_hash).where(
        table.c.requester == requester, table.c.key == key, table.c.expires_at > func.now()
    )
    row = (await connection.execute(query)).one_or_none()
    if row is not None and row.body_hash != body_hash:
        raise ConflictError(
            "Idempotency-Key was used with another body.",
            field="Idempotency-Key",
            remedy="Use a new key for a new request.",
        )
    return None if row is None else str(row.job_id)


async def remember_job(
    connection: AsyncConnection, requester: str, key: str, body_hash: str, job_id: str
) -> None:
    """Keeps the key of a job, under the lock of `earlier_job`."""
    now = datetime.now(UTC)
    values = {"body_hash": body_hash, "job_id": job_id, "created_at": now, "expires_at": now + KEY_LIFETIME}
    statement = insert(idempotency_keys).values(requester=requester, key=key, **values)
    # What is there can only be expired: a live one was seen under the same lock.
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["requester", "key"], set_=values)
    )
