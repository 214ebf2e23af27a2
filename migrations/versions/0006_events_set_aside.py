"""When an event that NATS refuses for what it is was set aside."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("outbox", sa.Column("set_aside_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    op.drop_column("outbox", "set_aside_at")
