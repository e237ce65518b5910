"""Alembic's entrance: it works on the connection that the store hands over."""

from __future__ import annotations

from alembic import context

from gnomon.feedback.store.schema import Table


def migrate() -> None:
    """Bring the tables from where they are to where Alembic was told."""
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=Table.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


if hasattr(context, "config"):  # only Alembic runs it
    migrate()
