"""Alembic runs this file; `autoprune.storage.migrate` hands it a connection with a lock."""

from alembic import context

from autoprune.storage.migrate import CONTEXT_OPTIONS

context.configure(connection=context.config.attributes["connection"], **CONTEXT_OPTIONS)
context.run_migrations()
