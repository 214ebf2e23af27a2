"""Which apply job put another recommendation in the place of an applied one."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_TABLE = "optimization_recommendations"


def upgrade() -> None:
    op.add_column(_TABLE, sa.Column("replaced_by_apply", sa.String(100)))


def downgrade() -> None:
    op.drop_column(_TABLE, "replaced_by_apply")
