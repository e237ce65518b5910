"""Projects of demonstrations, in which annotators write the answers and review each other's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

TASKS = "task IN ('pair', 'ranking', 'rating', 'likert')"
TASKS_WITH_WRITING = "task IN ('pair', 'ranking', 'rating', 'likert', 'demonstration')"


def upgrade() -> None:
    """Allow the task, and add the column of the reviewed judgement."""
    _replace_constraint(TASKS, TASKS_WITH_WRITING)
    op.add_column("assignments", sa.Column("reviews", sa.String(), nullable=True))


def downgrade() -> None:
    """Drop the column, and allow the former tasks alone."""
    op.drop_column("assignments", "reviews")
    _replace_constraint(TASKS_WITH_WRITING, TASKS)


def _replace_constraint(before: str, after: str) -> None:
    """Replace the constraint on the task of a project.

    SQLite cannot alter a constraint, and cannot copy a table to which foreign keys point within a transaction.
    Its documentation allows to edit the text of the table instead, where that does not change what is stored.
    """
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        op.drop_constraint(op.f("ck_projects_task"), "projects", type_="check")
        op.create_check_constraint(op.f("ck_projects_task"), "projects", after)
        return
    version = connection.exec_driver_sql("PRAGMA schema_version").scalar()
    connection.exec_driver_sql("PRAGMA writable_schema=ON")
    connection.exec_driver_sql(
        "UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE type = 'table' AND name = 'projects'",
        (before, after),
    )
    connection.exec_driver_sql(f"PRAGMA schema_version={int(version or 0) + 1}")
    connection.exec_driver_sql("PRAGMA writable_schema=RESET")
