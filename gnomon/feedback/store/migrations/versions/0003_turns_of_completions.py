"""Completions keep their turns, not only what the assistant said in them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Completions that are there have none: they were imported as texts."""
    op.add_column("completions", sa.Column("turns", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Forget them."""
    op.drop_column("completions", "turns")
