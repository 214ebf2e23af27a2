"""The trace of the request that asked for a job, so that whichever worker claims it goes on with it."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("optimization_jobs", sa.Column("traceparent", sa.String(55)))


def downgrade() -> None:
    op.drop_column("optimization_jobs", "traceparent")
