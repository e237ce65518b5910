"""Items store their number of counted judgements, and an index has the order of the queue."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

COUNTED = """
UPDATE items SET heard = (
    SELECT count(*) FROM judgements JOIN annotators ON annotators.id = judgements.annotator
    WHERE judgements.item = items.key AND NOT judgements.surplus AND annotators.state <> 'withdrawn'
    AND NOT EXISTS (SELECT 1 FROM judgements AS later WHERE later.supersedes = judgements.id)
)
"""


def upgrade() -> None:
    """Add the column and count the judgements of existing items."""
    op.add_column("items", sa.Column("heard", sa.Integer(), nullable=False, server_default="0"))
    op.execute(COUNTED)
    op.drop_index("ix_items_queue", "items")
    order = [sa.text("priority DESC"), sa.text("heard DESC")]
    op.create_index("ix_items_queue", "items", ["project", "state", *order, "key"])


def downgrade() -> None:
    """Drop the column."""
    op.drop_index("ix_items_queue", "items")
    op.create_index("ix_items_queue", "items", ["project", "state", "priority"])
    op.drop_column("items", "heard")
