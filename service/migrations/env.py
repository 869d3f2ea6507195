"""Run by Alembic for `service.audit.migration`, on the connection that holds the lock.

A developer adds a step with `alembic revision` as a new file in `versions/`, by hand: a step
writes out what it changes and imports nothing that a later step may change.
"""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
