"""Series of whole days that a metric source gave."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "workload_days",
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("workload", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("source", "workload", "day", name="pk_workload_days"),
    )
    op.create_index("ix_workload_days_day", "workload_days", ["day"])
    # Compressed already: a second try costs time.
    op.execute("ALTER TABLE workload_days ALTER COLUMN content SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.drop_table("workload_days")
