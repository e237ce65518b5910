"""Items that qualify annotators, and annotators' attempts at them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "qualification_items",
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("explanation", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["item"], ["items.key"], name=op.f("fk_qualification_items_item_items")),
        sa.PrimaryKeyConstraint("item", name=op.f("pk_qualification_items")),
    )
    op.create_table(
        "qualification_attempts",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("annotator", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("questions", sa.Integer(), nullable=False),
        sa.Column("correct", sa.Integer(), nullable=True),
        sa.Column("passed", sa.Boolean(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("finished", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["annotator"], ["annotators.id"], name=op.f("fk_qualification_attempts_annotator_annotators")
        ),
        sa.ForeignKeyConstraint(
            ["project"], ["projects.id"], name=op.f("fk_qualification_attempts_project_projects")
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_qualification_attempts")),
        sa.UniqueConstraint("project", "annotator", "number", name=op.f("uq_qualification_attempts_project")),
    )
    op.create_table(
        "qualification_answers",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("shown", sa.JSON(), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.Column("correct", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt"],
            ["qualification_attempts.key"],
            name=op.f("fk_qualification_answers_attempt_qualification_attempts"),
        ),
        sa.ForeignKeyConstraint(["item"], ["items.key"], name=op.f("fk_qualification_answers_item_items")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_qualification_answers")),
        sa.UniqueConstraint("attempt", "item", name=op.f("uq_qualification_answers_attempt")),
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("qualification_answers", "qualification_attempts", "qualification_items"):
        op.drop_table(table)
