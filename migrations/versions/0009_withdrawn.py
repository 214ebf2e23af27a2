"""When a recommendation was withdrawn: a later analysis recommends nothing of its type."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TABLE = "optimization_recommendations"


def upgrade() -> None:
    op.add_column(_TABLE, sa.Column("withdrawn_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    op.drop_column(_TABLE, "withdrawn_at")
