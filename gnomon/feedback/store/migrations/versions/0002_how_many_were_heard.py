"""Each item says how many judgements of it count, and an index has the queue's order."""

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
    """Count them once; from then on whatever settles an item does."""
    op.add_column("items", sa.Column("heard", sa.Integer(), nullable=False, server_default="0"))
    op.execute(COUNTED)
    op.drop_index("ix_items_queue", "items")
    order = [sa.text("priority DESC"), sa.text("heard DESC")]
    op.create_index("ix_items_queue", "items", ["project", "state", *order, "key"])


def downgrade() -> None:
    """Forget them."""
    op.drop_index("ix_items_queue", "items")
    op.create_index("ix_items_queue", "items", ["project", "state", "priority"])
    op.drop_column("items", "heard")
