"""Which recommendations are in force, found without reading the others."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_optimization_recommendations_applied",
        "optimization_recommendations",
        ["recommendation_id"],
        postgresql_where=sa.text("applied"),
    )


def downgrade() -> None:
    op.drop_index("ix_optimization_recommendations_applied", table_name="optimization_recommendations")
