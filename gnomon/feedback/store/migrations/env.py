"""Alembic's entry point: migrates the connection that `store.database` passes in."""

from __future__ import annotations

from alembic import context

from gnomon.feedback.store.schema import Table


def migrate() -> None:
    """Run the migrations from the database's revision to the requested one."""
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=Table.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


if hasattr(context, "config"):  # only when Alembic executes this file
    migrate()
