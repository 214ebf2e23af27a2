"""The tables of registered models and of which is active."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    text,
)

from perfopt_api.store.columns import created_at, instant, metadata, uuid_key

models = Table(
    "models",
    metadata,
    uuid_key(),
    Column("kind", String(50), nullable=False),
    Column("version", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("status", String(20), nullable=False, server_default=text("'candidate'")),
    Column("card", JSON, nullable=False),
    Column("replay", JSON(none_as_null=True)),
    Column("content", LargeBinary, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("created_by", String(100), nullable=False),
    created_at(),
    Column("promoted_by", String(100)),
    instant("promoted_at"),
    UniqueConstraint("kind", "version"),
    UniqueConstraint("kind", "sha256"),
    # One active model of a kind: PostgreSQL itself refuses a second.
    Index("uq_models_active", "kind", unique=True, postgresql_where=text("status = 'active'")),
)


# How each active model came to be; a rollback undoes the last promotion that was not undone.
model_activations = Table(
    "model_activations",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True),
    Column("kind", String(50), nullable=False),
    # None: what the configuration names, or what plugins ship.
    Column("version", Integer),
    Column("replaced_version", Integer),
    Column("action", String(20), nullable=False),
    Column("replay", JSON(none_as_null=True)),
    Column("created_by", String(100), nullable=False),
    created_at(),
    instant("undone_at"),
    Index("ix_model_activations_kind", "kind", text("id DESC")),
)
