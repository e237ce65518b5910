"""Links of crowd platforms, their workers and visits; judgements name the link of their session."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the tables and the column."""
    op.create_table(
        "crowd_links",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("revoked", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["project"], ["projects.id"], name=op.f("fk_crowd_links_project_projects")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_crowd_links")),
        sa.UniqueConstraint("token", name=op.f("uq_crowd_links_token")),
    )
    op.create_index(op.f("ix_crowd_links_project"), "crowd_links", ["project"])
    op.create_table(
        "crowd_workers",
        sa.Column("annotator", sa.String(), nullable=False),
        sa.Column("platform", sa.String(), nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["annotator"], ["annotators.id"], name=op.f("fk_crowd_workers_annotator_annotators")
        ),
        sa.PrimaryKeyConstraint("annotator", name=op.f("pk_crowd_workers")),
        sa.UniqueConstraint("platform", "worker", name=op.f("uq_crowd_workers_platform")),
    )
    op.create_table(
        "crowd_visits",
        sa.Column("invite", sa.String(), nullable=False),
        sa.Column("link", sa.Integer(), nullable=False),
        sa.Column("annotator", sa.String(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("code", sa.String(), nullable=True),
        sa.Column("finished", sa.Double(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["annotator"], ["annotators.id"], name=op.f("fk_crowd_visits_annotator_annotators")
        ),
        sa.ForeignKeyConstraint(["invite"], ["invites.token"], name=op.f("fk_crowd_visits_invite_invites")),
        sa.ForeignKeyConstraint(["link"], ["crowd_links.key"], name=op.f("fk_crowd_visits_link_crowd_links")),
        sa.PrimaryKeyConstraint("invite", name=op.f("pk_crowd_visits")),
        sa.UniqueConstraint("link", "annotator", name=op.f("uq_crowd_visits_link")),
    )
    op.add_column("judgements", sa.Column("invite", sa.String(), nullable=True))
    op.create_index(op.f("ix_judgements_invite"), "judgements", ["invite"])


def downgrade() -> None:
    """Drop the column and the tables."""
    op.drop_index(op.f("ix_judgements_invite"), "judgements")
    op.drop_column("judgements", "invite")
    for table in ("crowd_visits", "crowd_workers", "crowd_links"):
        op.drop_table(table)
