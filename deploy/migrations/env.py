"""Alembic's entry: online only, over the connection that deploy/migrate.py hands in."""

from alembic import context

from common.models import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
