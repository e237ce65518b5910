"""Prompts and items have requirements, and annotators profiles of what they can judge."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the table and the columns; existing items require nothing."""
    op.create_table(
        "requirements",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("domain", sa.String(), nullable=False),
        sa.Column("skills", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["project"], ["projects.id"], name=op.f("fk_requirements_project_projects")),
        sa.PrimaryKeyConstraint("project", "key", name=op.f("pk_requirements")),
    )
    op.add_column("prompts", sa.Column("requirement", sa.String(), nullable=True))
    op.add_column("items", sa.Column("requirement", sa.String(), nullable=True))
    op.add_column("annotators", sa.Column("profile", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Drop the columns and the table."""
    op.drop_column("annotators", "profile")
    op.drop_column("items", "requirement")
    op.drop_column("prompts", "requirement")
    op.drop_table("requirements")
