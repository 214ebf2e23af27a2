"""What pages of the dashboard add up: the latest analysis of a workload, and what outcomes had stated."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_EMPTY = sa.text("''")
_ZERO = sa.text("0")
_STATED = (
    ("optimization_type", sa.String(50)),
    ("strategy", sa.String(100)),
    ("service_class", sa.String(20)),
    ("stated", sa.Float()),
    ("saving", sa.Float()),
    ("currency", sa.String(10)),
)
_FILL_OUTCOMES = """
WITH filled AS (UPDATE recommendation_outcomes AS outcome SET
  optimization_type = made.optimization_type,
  strategy = left(made.body->>'plugin', 100),
  service_class = made.body->>'service_class',
  stated = (made.expected_improvement->>'confidence')::float,
  saving = (made.body->>'monthly_cost_current')::float - (made.body->>'monthly_cost_recommended')::float,
  currency = left(made.body->>'currency', 10)
FROM optimization_recommendations AS made
WHERE made.recommendation_id = outcome.recommendation_id AND outcome.recommendation_id IN (
  SELECT recommendation_id FROM recommendation_outcomes WHERE recommendation_id > :after
  ORDER BY recommendation_id LIMIT 10000)
RETURNING outcome.recommendation_id)
SELECT max(recommendation_id) FROM filled
"""


def _fill_outcomes() -> None:
    """Fills the new columns in batches, each a transaction of its own, so that no row is locked for long."""
    connection, after = op.get_bind(), ""
    while after is not None:
        after = connection.scalar(sa.text(_FILL_OUTCOMES), {"after": after})


def upgrade() -> None:
    for name, kind in _STATED:
        op.add_column("recommendation_outcomes", sa.Column(name, kind))
    op.create_table(
        "workloads",
        sa.Column("workload", sa.Text(), nullable=False),
        sa.Column("service_name", sa.String(100), nullable=False),
        sa.Column("cluster", sa.Text(), server_default=_EMPTY, nullable=False),
        sa.Column("namespace", sa.Text(), server_default=_EMPTY, nullable=False),
        sa.Column("kind", sa.String(32), server_default=_EMPTY, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("limit_code", sa.String(100)),
        sa.Column("limit_reason", sa.Text()),
        sa.Column("changes", sa.Integer(), server_default=_ZERO, nullable=False),
        sa.Column("cost_current", sa.Float()),
        sa.Column("cost_recommended", sa.Float()),
        sa.Column("currency", sa.String(10), server_default=_EMPTY, nullable=False),
        sa.Column("assumed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("confidence", sa.Float()),
        sa.Column("accurate", sa.Integer(), server_default=_ZERO, nullable=False),
        sa.Column("scored", sa.Integer(), server_default=_ZERO, nullable=False),
        sa.Column("n_effective", sa.Float()),
        sa.Column("owner", sa.String(32), server_default=_EMPTY, nullable=False),
        sa.Column("recommendation_id", sa.String(100)),
        sa.Column("job_id", sa.String(100), nullable=False),
        sa.Column("analysed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("workload", name="pk_workloads"),
    )
    with op.get_context().autocommit_block():
        _fill_outcomes()


def downgrade() -> None:
    op.drop_table("workloads")
    for name, _ in reversed(_STATED):
        op.drop_column("recommendation_outcomes", name)
