"""The plan of a job: what its recommendations make together."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("optimization_jobs", sa.Column("plan", sa.JSON()))


def downgrade() -> None:
    op.drop_column("optimization_jobs", "plan")
