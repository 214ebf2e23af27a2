"""Alembic environment: runs on the connection that perfopt_api.store.schema opened."""

from alembic import context

from perfopt_api.store import apply_tables, model_tables, user_tables

TABLES = (apply_tables.applies, model_tables.models, user_tables.api_tokens)  # their metadata is one
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=TABLES[0].metadata,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
