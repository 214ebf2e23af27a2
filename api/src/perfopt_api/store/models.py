"""The registry of models on PostgreSQL: what was trained, what is in use, and how it came to be."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import Select, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from perfopt.engine.models import sha256
from perfopt.errors import ConflictError, NotFoundError
from perfopt_api.store.database import Database
from perfopt_api.store.model_tables import model_activations, models

ModelStatus = Literal["candidate", "active", "retired", "rejected"]
_LISTED = tuple(column for column in models.c if column.name not in ("id", "content"))


class RegisteredModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model of the registry, without its content.

    Attributes:
        kind: what it is for; "sizing" sizes requests.
        version: counts up within its kind.
        sha256: of its content, as recommendations made with it carry it.
        status: "candidate" was never replayed, "active" is used by the workers, "retired" was, "rejected"
            did not beat what was active.
        size_bytes: of its content.
        card: what it is and how it did where it was trained.
        replay: the last replay against what was active then, with its figures.
        created_by, created_at: who registered it, and when.
        promoted_by, promoted_at: who last made it active, and when.
    """

    kind: str
    version: int
    sha256: str
    status: ModelStatus
    size_bytes: int
    card: dict[str, Any]
    replay: dict[str, Any] | None = None
    created_by: str
    created_at: datetime
    promoted_by: str | None = None
    promoted_at: datetime | None = None


class CorruptModelError(ConflictError):
    """The content of a registered model is not what was registered."""

    code = "corrupt_model"


class PostgresModels:
    """The models of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, kind: str, content: bytes, card: Mapping[str, Any], by: str) -> RegisteredModel:
        """Stores a model as a candidate; content that is there already is that model, unchanged.

        Args:
            kind: of the model.
            content: of its file, read and found good by the caller.
            card: what the file says of itself.
            by: who registers it.
        """
        digest = sha256(content)
        async with self._database.transaction() as connection:
            await _lock(connection, kind)
            known = await connection.execute(_listed(kind).where(models.c.sha256 == digest))
            row = known.mappings().one_or_none()
            if row is None:
                newest = select(func.max(models.c.version)).where(models.c.kind == kind)
                values = {
                    "kind": kind,
                    "version": (await connection.scalar(newest) or 0) + 1,
                    "sha256": digest,
                    "card": dict(card),
                    "content": content,
                    "size_bytes": len(content),
                    "created_by": by,
                }
                stored = await connection.execute(insert(models).values(values).returning(*_LISTED))
                row = stored.mappings().one()
        return _model(row)

    async def list_models(self, *, kind: str | None = None) -> tuple[RegisteredModel, ...]:
        """Lists the models by kind, newest version first."""
        query = select(*_LISTED).order_by(models.c.kind, models.c.version.desc())
        if kind is not None:
            query = query.where(models.c.kind == kind)
        async with self._database.transaction() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return tuple(_model(row) for row in rows)

    async def get(self, kind: str, version: int) -> RegisteredModel:
        """Returns a model.

        Raises:
            NotFoundError: there is none; lists the versions.
        """
        known = await self.list_models(kind=kind)
        for model in known:
            if model.version == version:
                return model
        versions = tuple(str(model.version) for model in known)
        raise NotFoundError(
            f"There is no {kind} model {version}.",
            field="version",
            remedy=f"Known: {', '.join(versions)}." if versions else "`perfopt model register` adds one.",
            candidates=versions,
        )

    async def active(self) -> tuple[RegisteredModel, ...]:
        """Returns the models in use, at most one a kind."""
        query = select(*_LISTED).where(models.c.status == "active").order_by(models.c.kind)
        async with self._database.transaction() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return tuple(_model(row) for row in rows)

    async def content(self, model: RegisteredModel) -> bytes:
        """Returns the content of a model.

        Raises:
            CorruptModelError: it has not the hash it was registered with.
        """
        async with self._database.transaction() as connection:
            return await _content(connection, model.kind, model.version)

    async def activate(
        self,
        model: RegisteredModel,
        *,
        instead_of: int | None,
        replay: Mapping[str, Any],
        by: str,
    ) -> RegisteredModel:
        """Makes a model the active one of its kind.

        Args:
            model: that beat the active one.
            instead_of: the version that was active in the replay; None where none was.
            replay: the figures of that replay.
            by: who promotes it.

        Raises:
            ConflictError: another one was made active meanwhile.
            CorruptModelError: its content has not the hash it was registered with.
        """
        async with self._database.transaction() as connection:
            await _lock(connection, model.kind)
            current = await _active_version(connection, model.kind)
            if current != instead_of:
                raise ConflictError(
                    f"While {model.kind} model {model.version} was replayed, {_named(current)} took the"
                    f" place of {_named(instead_of)}.",
                    remedy="Replay it against what is active now: promote it again.",
                )
            await _content(connection, model.kind, model.version)
            await _switch(connection, model.kind, current, model.version, by)
            activation = {
                "kind": model.kind,
                "version": model.version,
                "replaced_version": current,
                "action": "promote",
                "replay": dict(replay),
                "created_by": by,
            }
            await connection.execute(insert(model_activations).values(activation))
            await _note_replay(connection, model, replay)
        return await self.get(model.kind, model.version)

    async def reject(self, model: RegisteredModel, replay: Mapping[str, Any]) -> RegisteredModel:
        """Notes that a model did not beat the active one; what is active stays active."""
        async with self._database.transaction() as connection:
            await _lock(connection, model.kind)
            idle = update(models).where(_is(model.kind, model.version), models.c.status == "candidate")
            await connection.execute(idle.values(status="rejected"))
            await _note_replay(connection, model, replay)
        return await self.get(model.kind, model.version)

    async def rollback(self, kind: str, by: str) -> tuple[RegisteredModel, RegisteredModel | None]:
        """Makes active again what was active before the last promotion that still stands.

        Returns:
            The model that was active, and the one that is now; None is no model of the registry.

        Raises:
            ConflictError: no promotion stands.
            CorruptModelError: the earlier model has not the hash it was registered with.
        """
        table = model_activations
        latest = (
            select(table.c.id, table.c.version)
            .where(table.c.kind == kind, table.c.action == "promote", table.c.undone_at.is_(None))
            .order_by(table.c.id.desc())
            .limit(2)
        )
        async with self._database.transaction() as connection:
            await _lock(connection, kind)
            versions = (await connection.execute(latest)).all()
            if not versions:
                raise ConflictError(
                    f"No {kind} model is active, so there is nothing to go back from.",
                    remedy="`perfopt model list` shows what there is.",
                )
            last, before = versions[0], versions[1].version if len(versions) > 1 else None
            if before is not None:
                await _content(connection, kind, before)
            undone = update(table).where(table.c.id == last.id).values(undone_at=func.now())
            await connection.execute(undone)
            await _switch(connection, kind, last.version, before, by)
            activation = {
                "kind": kind,
                "version": before,
                "replaced_version": last.version,
                "action": "rollback",
                "created_by": by,
            }
            await connection.execute(insert(table).values(activation))
        left = await self.get(kind, last.version)
        return left, None if before is None else await self.get(kind, before)


def _listed(kind: str) -> Select[Any]:
    return select(*_LISTED).where(models.c.kind == kind)


def _is(kind: str, version: int) -> Any:
    return (models.c.kind == kind) & (models.c.version == version)


def _model(row: Any) -> RegisteredModel:
    return RegisteredModel(**{name: row[name] for name in RegisteredModel.__struct_fields__})


def _named(version: int | None) -> str:
    return "no model" if version is None else f"version {version}"


async def _lock(connection: AsyncConnection, kind: str) -> None:
    """Has changes of a kind wait for each other until the end of the transaction."""
    await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"model {kind}", 0))))


async def _active_version(connection: AsyncConnection, kind: str) -> int | None:
    query = select(models.c.version).where(models.c.kind == kind, models.c.status == "active")
    version: int | None = await connection.scalar(query)
    return version


async def _content(connection: AsyncConnection, kind: str, version: int) -> bytes:
    query = select(models.c.content, models.c.sha256).where(_is(kind, version))
    rows: Sequence[Any] = (await connection.execute(query)).all()
    if not rows or sha256(rows[0].content) != rows[0].sha256:
        raise CorruptModelError(
            f"The content of {kind} model {version} has not the hash it was registered with.",
            remedy="Register its file again under a new version, or restore the row from a backup.",
        )
    return bytes(rows[0].content)


async def _switch(
    connection: AsyncConnection, kind: str, active: int | None, following: int | None, by: str
) -> None:
    if active is not None:
        await connection.execute(update(models).where(_is(kind, active)).values(status="retired"))
    if following is not None:
        values = {"status": "active", "promoted_by": by, "promoted_at": func.now()}
        await connection.execute(update(models).where(_is(kind, following)).values(values))


async def _note_replay(
    connection: AsyncConnection, model: RegisteredModel, replay: Mapping[str, Any]
) -> None:
    await connection.execute(update(models).where(_is(model.kind, model.version)).values(replay=dict(replay)))
