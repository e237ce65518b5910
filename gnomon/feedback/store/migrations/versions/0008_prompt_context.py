"""Prompts store their tools and variables of the chat template."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column; existing prompts have messages alone."""
    op.add_column("prompts", sa.Column("context", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("prompts", "context")
