"""Projects store their settings under the names of the fields of `Setup`."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

NAMES = {
    "size": "ranking_size",
    "floor": "min_reliability",
    "least_votes": "min_votes_before_pause",
    "split": "consensus_threshold",
    "fastest": "min_seconds",
    "slowest": "max_seconds",
    "shortest_reason": "min_reason_chars",
}


def upgrade() -> None:
    """Rename the keys of every project's settings."""
    _rename(NAMES)


def downgrade() -> None:
    """Restore the earlier keys."""
    _rename({new: old for old, new in NAMES.items()})


def _rename(names: Mapping[str, str]) -> None:
    projects = sa.table("projects", sa.column("id", sa.String), sa.column("settings", sa.JSON))
    connection = op.get_bind()
    for key, settings in connection.execute(sa.select(projects.c.id, projects.c.settings)).all():
        renamed = {names.get(name, name): value for name, value in settings.items()}
        connection.execute(projects.update().where(projects.c.id == key).values(settings=renamed))
