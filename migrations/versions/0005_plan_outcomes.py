"""What each plan of several recommendations came to; those that are stored already become due as well."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TABLE = "plan_outcomes"


def upgrade() -> None:
    op.create_table(
        _TABLE,
        sa.Column("job_id", sa.String(100), nullable=False),
        sa.Column("status", sa.String(20), server_default=sa.text("'due'"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_owner", sa.String(100)),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True)),
        sa.Column("scored_at", sa.DateTime(timezone=True)),
        sa.Column("applied", sa.Boolean()),
        sa.Column("accurate", sa.Boolean()),
        sa.Column("cpu_safe", sa.Boolean()),
        sa.Column("memory_safe", sa.Boolean()),
        sa.Column("claim_kept", sa.Boolean()),
        sa.Column("cpu_waste", sa.Float()),
        sa.Column("memory_waste", sa.Float()),
        sa.Column("censored", sa.String(20)),
        sa.Column("reason", sa.Text()),
        sa.PrimaryKeyConstraint("job_id", name=f"pk_{_TABLE}"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["optimization_jobs.job_id"], name=f"fk_{_TABLE}_job_id", ondelete="CASCADE"
        ),
    )
    due = sa.text("status = 'due'")
    op.create_index(f"ix_{_TABLE}_due", _TABLE, ["due_at"], postgresql_where=due)
    op.create_index(f"ix_{_TABLE}_scored_at", _TABLE, [sa.text("scored_at DESC")])
    op.execute(
        f"INSERT INTO {_TABLE} (job_id, due_at)"  # noqa: S608  the name of our own table
        " SELECT job_id, max(valid_until)"
        " FROM optimization_jobs JOIN optimization_recommendations USING (job_id)"
        " WHERE json_array_length(plan->'steps') > 1 GROUP BY job_id"
    )


def downgrade() -> None:
    op.drop_table(_TABLE)
