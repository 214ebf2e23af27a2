"""Jobs, recommendations, outbox, counters and idempotency keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NEWEST_FIRST = (sa.text("created_at DESC"), sa.text("id DESC"))
_SERVICE = sa.text("replace(service_name, '_', '-')")
_CURRENT = sa.text("superseded_by IS NULL")


def upgrade() -> None:
    _jobs()
    _recommendations()
    _outbox()
    op.create_table(
        "recommendation_counters",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("day", name="pk_recommendation_counters"),
    )
    _idempotency_keys()


def downgrade() -> None:
    for table in (
        "idempotency_keys",
        "recommendation_counters",
        "outbox",
        "optimization_recommendations",
        "optimization_jobs",
    ):
        op.drop_table(table)


def _moment(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _now(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)


def _id() -> sa.Column[object]:
    return sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False)


def _jobs() -> None:
    empty = sa.text("'[]'")
    op.create_table(
        "optimization_jobs",
        _id(),
        sa.Column("job_id", sa.String(100), nullable=False),
        sa.Column("service_name", sa.String(100), nullable=False),
        sa.Column("optimization_type", sa.String(50), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("analysis_period", sa.String(50)),
        _now("created_at"),
        _moment("completed_at"),
        sa.Column("optimization_types", postgresql.JSONB(), server_default=empty, nullable=False),
        sa.Column("request", postgresql.JSONB(), nullable=False),
        sa.Column("declined", postgresql.JSONB(), server_default=empty, nullable=False),
        sa.Column("warnings", postgresql.JSONB(), server_default=empty, nullable=False),
        sa.Column("error", postgresql.JSONB()),
        sa.Column("requester", sa.String(100)),
        sa.Column("parent_job_id", sa.String(100)),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_owner", sa.String(100)),
        _moment("lease_expires_at"),
        _now("queued_at"),
        sa.PrimaryKeyConstraint("id", name="pk_optimization_jobs"),
        sa.UniqueConstraint("job_id", name="uq_optimization_jobs_job_id"),
    )
    op.create_index("ix_optimization_jobs_created_at", "optimization_jobs", [*_NEWEST_FIRST])
    op.create_index("ix_optimization_jobs_service", "optimization_jobs", [_SERVICE, *_NEWEST_FIRST])
    op.create_index("ix_optimization_jobs_status", "optimization_jobs", ["status", *_NEWEST_FIRST])
    op.create_index(
        "ix_optimization_jobs_open",
        "optimization_jobs",
        ["queued_at"],
        postgresql_where=sa.text("status = 'ANALYZING'"),
    )


def _recommendations() -> None:
    table = "optimization_recommendations"
    op.create_table(
        table,
        _id(),
        sa.Column("recommendation_id", sa.String(100), nullable=False),
        sa.Column("job_id", sa.String(100), nullable=False),
        sa.Column("service_name", sa.String(100), nullable=False),
        sa.Column("optimization_type", sa.String(50), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("current_state", sa.JSON(), nullable=False),
        sa.Column("recommended_state", sa.JSON(), nullable=False),
        sa.Column("expected_improvement", sa.JSON()),
        sa.Column("applied", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        _now("created_at"),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("workload", sa.Text(), nullable=False),
        _moment("made_at", nullable=False),
        _moment("valid_until", nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("predictions", sa.JSON()),
        sa.Column("announced", sa.JSON(), nullable=False),
        sa.Column("superseded_by", sa.String(100)),
        _moment("superseded_at"),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sa.UniqueConstraint("recommendation_id", name=f"uq_{table}_recommendation_id"),
    )
    op.create_index(f"ix_{table}_created_at", table, [*_NEWEST_FIRST])
    op.create_index(f"ix_{table}_job_id", table, ["job_id", "rank"])
    op.create_index(f"ix_{table}_service", table, [_SERVICE, *_NEWEST_FIRST])
    op.create_index(
        f"uq_{table}_current",
        table,
        ["workload", "optimization_type"],
        unique=True,
        postgresql_where=_CURRENT,
    )
    op.create_index(f"ix_{table}_current", table, [*_NEWEST_FIRST], postgresql_where=_CURRENT)


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("headers", sa.JSON(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        _now("created_at"),
        _moment("published_at"),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sa.UniqueConstraint("event_id", name="uq_outbox_event_id"),
    )
    unpublished = sa.text("published_at IS NULL")
    op.create_index("ix_outbox_unpublished", "outbox", ["id"], postgresql_where=unpublished)


def _idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("requester", sa.String(100), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("body_hash", sa.String(128), nullable=False),
        sa.Column("job_id", sa.String(100), nullable=False),
        _now("created_at"),
        _moment("expires_at", nullable=False),
        sa.PrimaryKeyConstraint("requester", "key", name="pk_idempotency_keys"),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["optimization_jobs.job_id"],
            name="fk_idempotency_keys_job_id",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_idempotency_keys_expires_at", "idempotency_keys", ["expires_at"])
    op.create_index("ix_idempotency_keys_job_id", "idempotency_keys", ["job_id"])
