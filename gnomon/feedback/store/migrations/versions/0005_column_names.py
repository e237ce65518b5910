"""Columns have the names of the fields of the row classes."""

from __future__ import annotations

from collections.abc import Iterable

from alembic import op

revision = "0005"
down_revision = "0004"

NAMES = (  # table, earlier name, name
    ("projects", "wanted", "votes_per_item"),
    ("projects", "most", "max_votes"),
    ("completions", "made", "generation"),
    ("items", "wanted", "target_votes"),
    ("items", "heard", "vote_count"),
    ("items", "asked", "open_to_humans"),
)


def upgrade() -> None:
    """Rename the columns; constraints and indexes follow."""
    _rename(NAMES)


def downgrade() -> None:
    """Restore the earlier names."""
    _rename((table, new, old) for table, old, new in NAMES)


def _rename(names: Iterable[tuple[str, str, str]]) -> None:
    # As plain SQL: Alembic would copy a table of SQLite to rename a column.
    for table, old, new in names:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
