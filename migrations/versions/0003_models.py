"""Models, and how each active one came to be."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _models()
    _activations()


def downgrade() -> None:
    op.drop_table("model_activations")
    op.drop_table("models")


def _now(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)


def _models() -> None:
    op.create_table(
        "models",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("kind", sa.String(50), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("status", sa.String(20), server_default=sa.text("'candidate'"), nullable=False),
        sa.Column("card", sa.JSON(), nullable=False),
        sa.Column("replay", sa.JSON()),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.String(100), nullable=False),
        _now("created_at"),
        sa.Column("promoted_by", sa.String(100)),
        sa.Column("promoted_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sa.UniqueConstraint("kind", "version", name="uq_models_kind_version"),
        sa.UniqueConstraint("kind", "sha256", name="uq_models_kind_sha256"),
    )
    active = sa.text("status = 'active'")
    op.create_index("uq_models_active", "models", ["kind"], unique=True, postgresql_where=active)


def _activations() -> None:
    op.create_table(
        "model_activations",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(50), nullable=False),
        sa.Column("version", sa.Integer()),
        sa.Column("replaced_version", sa.Integer()),
        sa.Column("action", sa.String(20), nullable=False),
        sa.Column("replay", sa.JSON()),
        sa.Column("created_by", sa.String(100), nullable=False),
        _now("created_at"),
        sa.Column("undone_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_model_activations"),
    )
    newest_first: list[str | sa.TextClause] = ["kind", sa.text("id DESC")]
    op.create_index("ix_model_activations_kind", "model_activations", newest_first)
