"""By what jobs are claimed: class and namespace, and what tells equal requests."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TABLE = "optimization_jobs"
_OPEN = sa.text("status = 'ANALYZING'")


def upgrade() -> None:
    op.add_column(
        _TABLE, sa.Column("priority", sa.SmallInteger(), server_default=sa.text("1"), nullable=False)
    )
    op.add_column(
        _TABLE, sa.Column("namespace", sa.String(100), server_default=sa.text("''"), nullable=False)
    )
    op.add_column(_TABLE, sa.Column("fingerprint", sa.String(64)))
    op.create_index(f"ix_{_TABLE}_fingerprint", _TABLE, ["fingerprint"], postgresql_where=_OPEN)
    op.create_index(f"ix_{_TABLE}_requester", _TABLE, ["requester"], postgresql_where=_OPEN)


def downgrade() -> None:
    for index in ("requester", "fingerprint"):
        op.drop_index(f"ix_{_TABLE}_{index}", _TABLE)
    for column in ("fingerprint", "namespace", "priority"):
        op.drop_column(_TABLE, column)
