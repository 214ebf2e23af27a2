"""Days on which applied changes were in force, and whether they were unsafe."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "service_days",
        sa.Column("workload", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("unsafe", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("workload", "day", name="pk_service_days"),
    )
    op.create_index("ix_service_days_day", "service_days", ["day"])


def downgrade() -> None:
    op.drop_table("service_days")
