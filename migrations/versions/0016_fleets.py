"""Jobs of fleets: their kind, the fleet that they are part of, what a batch read, and what stays in force."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_TABLE = "optimization_jobs"
_NEWEST = [sa.text("created_at DESC"), sa.text("id DESC")]
_STATUS = "ix_optimization_jobs_status"


def upgrade() -> None:
    op.add_column(
        _TABLE, sa.Column("kind", sa.String(10), server_default=sa.text("'single'"), nullable=False)
    )
    op.add_column(_TABLE, sa.Column("fleet_id", sa.String(100)))
    op.add_column(_TABLE, sa.Column("usage", JSONB(none_as_null=True)))
    op.add_column(_TABLE, sa.Column("unchanged", JSONB, server_default=sa.text("'[]'"), nullable=False))
    op.create_index(
        "ix_optimization_jobs_fleet",
        _TABLE,
        ["fleet_id", "kind", "status"],
        postgresql_where=sa.text("fleet_id IS NOT NULL"),
    )
    # Listings show no jobs of a fleet's parts, so their indexes hold none.
    listed = sa.text("fleet_id IS NULL")
    op.create_index("ix_optimization_jobs_listed", _TABLE, _NEWEST, postgresql_where=listed)
    op.drop_index("ix_optimization_jobs_created_at", _TABLE)
    op.drop_index(_STATUS, _TABLE)
    op.create_index(_STATUS, _TABLE, ["status", *_NEWEST], postgresql_where=listed)


def downgrade() -> None:
    op.drop_index(_STATUS, _TABLE)
    op.create_index(_STATUS, _TABLE, ["status", *_NEWEST])
    op.create_index("ix_optimization_jobs_created_at", _TABLE, _NEWEST)
    op.drop_index("ix_optimization_jobs_listed", _TABLE)
    op.drop_index("ix_optimization_jobs_fleet", _TABLE)
    for name in ("unchanged", "usage", "fleet_id", "kind"):
        op.drop_column(_TABLE, name)
