"""Series of days in one partition a day, and indexes of what users of some namespaces list.

Days are read from the metric source again where they are missing, so the old rows are not copied. Workers of
the version before write to the default partition.
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def _columns() -> tuple[sa.schema.SchemaItem, ...]:
    return (
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("workload", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("source", "workload", "day", name="pk_workload_days"),
    )


def upgrade() -> None:
    op.drop_table("workload_days")
    op.create_table("workload_days", *_columns(), postgresql_partition_by="RANGE (day)")
    op.execute("ALTER TABLE workload_days ALTER COLUMN content SET STORAGE EXTERNAL")
    op.create_index("ix_workload_days_day", "workload_days", ["day"])
    op.execute("CREATE TABLE workload_days_default PARTITION OF workload_days DEFAULT")
    op.create_index(
        "ix_optimization_recommendations_namespace",
        "optimization_recommendations",
        [
            sa.text("split_part(workload, '/', -3)"),
            sa.text("created_at DESC"),
            sa.text("id DESC"),
        ],
    )
    op.create_index(
        "ix_optimization_jobs_namespace",
        "optimization_jobs",
        ["namespace", sa.text("created_at DESC"), sa.text("id DESC")],
        postgresql_where=sa.text("fleet_id IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_optimization_jobs_namespace", "optimization_jobs")
    op.drop_index("ix_optimization_recommendations_namespace", "optimization_recommendations")
    op.drop_table("workload_days")
    op.create_table("workload_days", *_columns())
    op.execute("ALTER TABLE workload_days ALTER COLUMN content SET STORAGE EXTERNAL")
    op.create_index("ix_workload_days_day", "workload_days", ["day"])
