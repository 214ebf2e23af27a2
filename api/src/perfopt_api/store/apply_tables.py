"""The tables of changes to workloads: where each stands, what holds it back, and who did what."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)

from perfopt_api.store.columns import instant, key_of, metadata
from perfopt_api.store.tables import jobs

# Where each job that applies something stands. The job's own lease is held while one worker works on it.
applies = Table(
    "applies",
    metadata,
    key_of("job_id", jobs.c.job_id),
    Column("workload", Text, nullable=False),
    Column("cluster", String(100), nullable=False, server_default=text("''")),
    Column("namespace", String(100), nullable=False),
    # The state machine's step and whole state; of the latter others read only what it waits for.
    Column("step", String(32), nullable=False),
    Column("state", JSON, nullable=False),
    # What a person asked for while it runs: cancel or rollback.
    Column("wish", String(20)),
    Column("wished_by", String(100)),
    Column("wish_reason", Text),
    # Not worked on before.
    Column("due_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    # What blast radius, cool-down and breakers are counted by; set when its first change is about to be made.
    instant("started_at"),
    instant("ended_at"),
    Column("strategy", String(100), nullable=False, server_default=text("''")),
    Column("strategy_version", String(100), nullable=False, server_default=text("''")),
    Column("automatic", Boolean, nullable=False),
    # Of before the first change: what going back restores.
    Column("snapshot", JSON(none_as_null=True)),
    Column("durability", String(20), nullable=False, server_default=text("'template'")),
    Index("ix_applies_workload", "workload", text("started_at DESC")),
    Index("ix_applies_started_at", "started_at"),
    Index("ix_applies_due_at", "due_at", postgresql_where=text("ended_at IS NULL")),
)


# Taken with the first claim of an apply job and held until it ends or waits with nothing changed.
workload_locks = Table(
    "workload_locks",
    metadata,
    Column("workload", Text, primary_key=True),
    Column("job_id", String(100), ForeignKey(jobs.c.job_id, ondelete="CASCADE"), nullable=False),
    Column("taken_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    UniqueConstraint("job_id"),
)


apply_timeline = Table(
    "apply_timeline",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True),
    Column("job_id", String(100), ForeignKey(jobs.c.job_id, ondelete="CASCADE"), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("step", String(32), nullable=False),
    Column("code", String(50), nullable=False),
    Column("message", Text, nullable=False),
    Column("data", JSON, nullable=False),
    # The same by hand.
    Column("commands", JSON, nullable=False),
    Index("ix_apply_timeline_job_id", "job_id", "id"),
)


apply_approvals = Table(
    "apply_approvals",
    metadata,
    Column("job_id", String(100), ForeignKey(jobs.c.job_id, ondelete="CASCADE"), primary_key=True),
    Column("principal", String(100), primary_key=True),
    Column("reason", Text),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)


freezes = Table(
    "freezes",
    metadata,
    # `*`, `[cluster/]namespace`, or a workload's key.
    Column("scope", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("principal", String(100)),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)


# Who did what, when, why, before and after. A trigger refuses UPDATE and DELETE; no job takes it along.
audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("principal", String(100)),
    Column("action", String(50), nullable=False),
    Column("subject", Text, nullable=False),
    Column("job_id", String(100)),
    Column("reason", Text),
    Column("before", JSON(none_as_null=True)),
    Column("after", JSON(none_as_null=True)),
    Index("ix_audit_subject", "subject", text("id DESC")),
)


# Strategies whose realised accuracy fell below the floor: only advice until somebody restores them.
demotions = Table(
    "strategy_demotions",
    metadata,
    Column("strategy", String(100), primary_key=True),
    Column("version", String(100), primary_key=True),
    Column("service_class", String(20), primary_key=True),
    Column("accuracy", Float, nullable=False),
    Column("scored", Integer, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

# Days on which what was applied was in force, each once however many recommendations speak of it.
service_days = Table(
    "service_days",
    metadata,
    Column("workload", Text, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("unsafe", Boolean, nullable=False),
    Index("ix_service_days_day", "day"),
)
