"""Jobs that apply recommendations: state, locks, timeline, approvals, freezes, audit, demoted strategies."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSON

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_JOB = "optimization_jobs.job_id"
_NOW = sa.text("now()")
_TABLES = (
    "strategy_demotions",
    "audit",
    "freezes",
    "apply_approvals",
    "apply_timeline",
    "workload_locks",
    "applies",
)


def _instant(name: str, *, default: bool = False) -> sa.Column[Any]:
    return sa.Column(
        name, sa.DateTime(timezone=True), nullable=not default, server_default=_NOW if default else None
    )


def _job(table: str) -> list[sa.schema.SchemaItem]:
    key = sa.ForeignKeyConstraint(
        ["job_id"], [_JOB], f"fk_{table}_job_id_optimization_jobs", ondelete="CASCADE"
    )
    return [sa.Column("job_id", sa.String(100), nullable=False), key]


def upgrade() -> None:
    op.create_table(
        "applies",
        *_job("applies"),
        sa.Column("workload", sa.Text(), nullable=False),
        sa.Column("cluster", sa.String(100), server_default=sa.text("''"), nullable=False),
        sa.Column("namespace", sa.String(100), nullable=False),
        sa.Column("step", sa.String(32), nullable=False),
        sa.Column("state", JSON(), nullable=False),
        sa.Column("wish", sa.String(20)),
        sa.Column("wished_by", sa.String(100)),
        sa.Column("wish_reason", sa.Text()),
        _instant("due_at", default=True),
        _instant("started_at"),
        _instant("ended_at"),
        sa.Column("strategy", sa.String(100), server_default=sa.text("''"), nullable=False),
        sa.Column("strategy_version", sa.String(100), server_default=sa.text("''"), nullable=False),
        sa.Column("automatic", sa.Boolean(), nullable=False),
        sa.Column("snapshot", JSON()),
        sa.Column("durability", sa.String(20), server_default=sa.text("'template'"), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name="pk_applies"),
    )
    op.create_index("ix_applies_workload", "applies", ["workload", sa.text("started_at DESC")])
    op.create_index("ix_applies_started_at", "applies", ["started_at"])
    op.create_index("ix_applies_due_at", "applies", ["due_at"], postgresql_where=sa.text("ended_at IS NULL"))
    op.create_table(
        "workload_locks",
        sa.Column("workload", sa.Text(), nullable=False),
        *_job("workload_locks"),
        _instant("taken_at", default=True),
        sa.PrimaryKeyConstraint("workload", name="pk_workload_locks"),
        sa.UniqueConstraint("job_id", name="uq_workload_locks_job_id"),
    )
    op.create_table(
        "apply_timeline",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        *_job("apply_timeline"),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("step", sa.String(32), nullable=False),
        sa.Column("code", sa.String(50), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("data", JSON(), nullable=False),
        sa.Column("commands", JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_apply_timeline"),
    )
    op.create_index("ix_apply_timeline_job_id", "apply_timeline", ["job_id", "id"])
    op.create_table(
        "apply_approvals",
        *_job("apply_approvals"),
        sa.Column("principal", sa.String(100), nullable=False),
        sa.Column("reason", sa.Text()),
        _instant("at", default=True),
        sa.PrimaryKeyConstraint("job_id", "principal", name="pk_apply_approvals"),
    )
    op.create_table(
        "freezes",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("principal", sa.String(100)),
        _instant("at", default=True),
        sa.PrimaryKeyConstraint("scope", name="pk_freezes"),
    )
    _create_audit()
    op.create_table(
        "strategy_demotions",
        sa.Column("strategy", sa.String(100), nullable=False),
        sa.Column("version", sa.String(100), nullable=False),
        sa.Column("service_class", sa.String(20), nullable=False),
        sa.Column("accuracy", sa.Float(), nullable=False),
        sa.Column("scored", sa.Integer(), nullable=False),
        _instant("at", default=True),
        sa.PrimaryKeyConstraint("strategy", "version", "service_class", name="pk_strategy_demotions"),
    )


def _create_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        _instant("at", default=True),
        sa.Column("principal", sa.String(100)),
        sa.Column("action", sa.String(50), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("job_id", sa.String(100)),
        sa.Column("reason", sa.Text()),
        sa.Column("before", JSON()),
        sa.Column("after", JSON()),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_subject", "audit", ["subject", sa.text("id DESC")])
    op.execute(
        "CREATE FUNCTION perfopt_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION perfopt_append_only()"
    )


def downgrade() -> None:
    for table in _TABLES:
        op.drop_table(table)
    op.execute("DROP FUNCTION perfopt_append_only()")
