"""Alembic environment: runs on the connection that perfopt_api.store.schema opened."""

from alembic import context

from perfopt_api.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
