"""Alembic environment: runs on the connection that perfopt_api.store.schema opened."""

from alembic import context

from perfopt_api.store import apply_tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=apply_tables.applies.metadata,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
