"""The fleet that a recommendation is of, so that those of 10,000 services are listed by an index."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_TABLE = "optimization_recommendations"
_JOBS = "optimization_jobs"
_NEWEST: list[str | sa.TextClause] = ["fleet_id", sa.text("created_at DESC"), sa.text("id DESC")]
_FILL = """
WITH batch AS (
  SELECT job_id, fleet_id FROM optimization_jobs
  WHERE fleet_id IS NOT NULL AND kind = 'single' AND job_id > :after ORDER BY job_id LIMIT 5000),
filled AS (
  UPDATE optimization_recommendations AS made SET fleet_id = batch.fleet_id
  FROM batch WHERE made.job_id = batch.job_id)
SELECT max(job_id) FROM batch
"""


def _fill() -> None:
    """Fills the column in batches, each a transaction of its own, so that no row is locked for long."""
    connection, after = op.get_bind(), ""
    while after is not None:
        after = connection.scalar(sa.text(_FILL), {"after": after})


def upgrade() -> None:
    op.add_column(_TABLE, sa.Column("fleet_id", sa.String(100)))
    with op.get_context().autocommit_block():
        _fill()
    op.create_index(
        f"ix_{_JOBS}_of_fleet",
        _JOBS,
        ["fleet_id", "kind", sa.text("created_at DESC"), sa.text("id DESC")],
        postgresql_where=sa.text("fleet_id IS NOT NULL"),
    )
    for name, where in (("fleet", ""), ("current_fleet", " AND superseded_by IS NULL")):
        op.create_index(
            f"ix_{_TABLE}_{name}",
            _TABLE,
            _NEWEST,
            postgresql_where=sa.text(f"fleet_id IS NOT NULL{where}"),
        )


def downgrade() -> None:
    for name in ("current_fleet", "fleet"):
        op.drop_index(f"ix_{_TABLE}_{name}", table_name=_TABLE)
    op.drop_index(f"ix_{_JOBS}_of_fleet", table_name=_JOBS)
    op.drop_column(_TABLE, "fleet_id")
