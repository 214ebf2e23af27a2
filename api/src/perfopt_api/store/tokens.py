"""Tokens of the API on PostgreSQL, and the audit of calls that were denied."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from perfopt.errors import ConflictError, NotFoundError
from perfopt_api.auth.roles import Grant, Role
from perfopt_api.auth.tokens import TokenRecord, new_secret
from perfopt_api.store.apply_port import AuditEntry
from perfopt_api.store.apply_rows import write_audit
from perfopt_api.store.database import Database
from perfopt_api.store.user_tables import api_tokens

_USED_STEP = timedelta(hours=1)


class PostgresTokens:
    """The tokens of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, token_id: str) -> TokenRecord | None:
        """See TokenReader.find."""
        table = api_tokens
        stale = or_(table.c.last_used_at.is_(None), table.c.last_used_at < func.now() - _USED_STEP)
        query = select(table).where(table.c.token_id == token_id)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
            if row is not None:
                used = update(table).where(table.c.token_id == token_id, stale)
                await connection.execute(used.values(last_used_at=func.now()))
        return None if row is None else _record(row)

    async def create(self, name: str, grant: Grant, expires_at: datetime, by: str) -> tuple[TokenRecord, str]:
        """Stores a new token; returns it with the text to send, which is given this once only."""
        token_id, secret_hash, text = new_secret()
        values = {
            "token_id": token_id,
            "name": name,
            "role": grant.role.value,
            "namespaces": list(grant.namespaces),
            "secret_hash": secret_hash,
            "created_by": by,
            "expires_at": expires_at,
        }
        async with self._database.transaction() as connection:
            statement = insert(api_tokens).values(values).returning(api_tokens)
            record = _record((await connection.execute(statement)).mappings().one())
            await write_audit(connection, _entry("token_created", record, by))
        return record, text

    async def list_tokens(self) -> tuple[TokenRecord, ...]:
        """Lists all tokens, newest first."""
        query = select(api_tokens).order_by(api_tokens.c.created_at.desc(), api_tokens.c.token_id)
        async with self._database.reading() as connection:
            return tuple(_record(row) for row in (await connection.execute(query)).mappings())

    async def revoke(self, token_id: str, by: str) -> TokenRecord:
        """Has a token refused from now on.

        Raises:
            NotFoundError: there is no such token.
            ConflictError: it was revoked before.
        """
        table = api_tokens
        async with self._database.transaction() as connection:
            query = select(table).where(table.c.token_id == token_id).with_for_update()
            row = (await connection.execute(query)).mappings().one_or_none()
            if row is None:
                raise NotFoundError(
                    f"There is no token {token_id!r}.", remedy="`perfopt token list` shows them."
                )
            if row["revoked_at"] is not None:
                raise ConflictError(
                    f"The token {token_id} was revoked at {row['revoked_at']:%Y-%m-%d %H:%M}Z."
                )
            statement = update(table).where(table.c.token_id == token_id).values(revoked_at=func.now())
            changed = await connection.execute(statement.returning(table))
            record = _record(changed.mappings().one())
            await write_audit(connection, _entry("token_revoked", record, by))
        return record

    async def note_denied(self, principal: str | None, call: str, reason: str) -> None:
        """Writes a call that was denied to the audit."""
        async with self._database.transaction() as connection:
            await write_audit(
                connection, AuditEntry(action="denied", subject=call, principal=principal, reason=reason)
            )


def _entry(action: str, record: TokenRecord, by: str) -> AuditEntry:
    allowed = {"name": record.name, "role": record.grant.role, "namespaces": list(record.grant.namespaces)}
    return AuditEntry(action=action, subject=f"token {record.token_id}", principal=by, after=allowed)


def _record(row: Mapping[Any, Any]) -> TokenRecord:
    fields = {name: row[name] for name in TokenRecord.__struct_fields__ if name != "grant"}
    return TokenRecord(**fields, grant=Grant(role=Role(row["role"]), namespaces=tuple(row["namespaces"])))
