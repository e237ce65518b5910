"""Completions store all their turns, not only the assistant's text."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column; existing completions are single texts and have no turns."""
    op.add_column("completions", sa.Column("turns", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("completions", "turns")
