"""Lists of recommendations by type, full name, and of a namespace's current ones read an index."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_TABLE = "optimization_recommendations"
_NEWEST = [sa.text("created_at DESC"), sa.text("id DESC")]


def upgrade() -> None:
    op.create_index(f"ix_{_TABLE}_type", _TABLE, ["optimization_type", *_NEWEST])
    name = sa.text("replace(lower(split_part(workload, '/', -1)), '_', '-')")
    op.create_index(f"ix_{_TABLE}_name", _TABLE, [name, *_NEWEST])
    op.create_index(
        f"ix_{_TABLE}_current_namespace",
        _TABLE,
        [sa.text("split_part(workload, '/', -3)"), *_NEWEST],
        postgresql_where=sa.text("superseded_by IS NULL"),
    )


def downgrade() -> None:
    for name in ("current_namespace", "name", "type"):
        op.drop_index(f"ix_{_TABLE}_{name}", table_name=_TABLE)
