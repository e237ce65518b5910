"""Initial tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "annotators",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("below", sa.Double(), nullable=True),
        sa.Column("resumed", sa.Double(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('person', 'judge', 'rule', 'simulated', 'anonymous')", name=op.f("ck_annotators_kind")
        ),
        sa.CheckConstraint("state IN ('active', 'paused', 'withdrawn')", name=op.f("ck_annotators_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_annotators")),
    )
    op.create_table(
        "projects",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("guidelines", sa.String(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("wanted", sa.Integer(), nullable=False),
        sa.Column("most", sa.Integer(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("salt", sa.String(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.CheckConstraint("task IN ('pair', 'ranking', 'rating', 'likert')", name=op.f("ck_projects_task")),
        sa.CheckConstraint("wanted >= 1 AND most >= wanted", name=op.f("ck_projects_votes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
    )
    op.create_table(
        "exports",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["project"], ["projects.id"], name=op.f("fk_exports_project_projects")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_exports")),
    )
    op.create_table(
        "invites",
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("annotator", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("revoked", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.CheckConstraint("role IN ('admin', 'reviewer', 'annotator')", name=op.f("ck_invites_role")),
        sa.ForeignKeyConstraint(["annotator"], ["annotators.id"], name=op.f("fk_invites_annotator_annotators")),
        sa.ForeignKeyConstraint(["project"], ["projects.id"], name=op.f("fk_invites_project_projects")),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_invites")),
    )
    op.create_table(
        "prompts",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("messages", sa.JSON(), nullable=False),
        sa.Column("answer", sa.String(), nullable=True),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("category", sa.String(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("edge", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["project"], ["projects.id"], name=op.f("fk_prompts_project_projects")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_prompts")),
        sa.UniqueConstraint("project", "digest", name="uq_prompts_digest"),
        sa.UniqueConstraint("project", "id", name=op.f("uq_prompts_project")),
    )
    op.create_table(
        "completions",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("prompt", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("made", sa.JSON(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["project"], ["projects.id"], name=op.f("fk_completions_project_projects")),
        sa.ForeignKeyConstraint(["prompt"], ["prompts.key"], name=op.f("fk_completions_prompt_prompts")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_completions")),
        sa.UniqueConstraint("project", "id", name=op.f("uq_completions_project")),
        sa.UniqueConstraint("prompt", "digest", name="uq_completions_digest"),
    )
    with op.batch_alter_table("completions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_completions_prompt"), ["prompt"], unique=False)

    op.create_table(
        "items",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("prompt", sa.Integer(), nullable=False),
        sa.Column("completions", sa.JSON(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("wanted", sa.Integer(), nullable=False),
        sa.Column("priority", sa.Double(), nullable=False),
        sa.Column("gold", sa.JSON(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("asked", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "state IN ('open', 'done', 'disputed', 'gold', 'closed')", name=op.f("ck_items_state")
        ),
        sa.ForeignKeyConstraint(["project"], ["projects.id"], name=op.f("fk_items_project_projects")),
        sa.ForeignKeyConstraint(["prompt"], ["prompts.key"], name=op.f("fk_items_prompt_prompts")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_items")),
        sa.UniqueConstraint("project", "digest", name=op.f("uq_items_project")),
    )
    with op.batch_alter_table("items", schema=None) as batch_op:
        batch_op.create_index("ix_items_queue", ["project", "state", "priority"], unique=False)

    op.create_table(
        "sessions",
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("invite", sa.String(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["invite"], ["invites.token"], name=op.f("fk_sessions_invite_invites")),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_sessions")),
    )
    op.create_table(
        "assignments",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("annotator", sa.String(), nullable=False),
        sa.Column("shown", sa.JSON(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("draft", sa.JSON(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.CheckConstraint("state IN ('leased', 'done', 'skipped')", name=op.f("ck_assignments_state")),
        sa.ForeignKeyConstraint(
            ["annotator"], ["annotators.id"], name=op.f("fk_assignments_annotator_annotators")
        ),
        sa.ForeignKeyConstraint(["item"], ["items.key"], name=op.f("fk_assignments_item_items")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_assignments")),
        sa.UniqueConstraint("item", "annotator", name=op.f("uq_assignments_item")),
    )
    with op.batch_alter_table("assignments", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_assignments_annotator"), ["annotator"], unique=False)

    op.create_table(
        "judgements",
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("annotator", sa.String(), nullable=False),
        sa.Column("shown", sa.JSON(), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("seconds", sa.JSON(), nullable=False),
        sa.Column("surplus", sa.Boolean(), nullable=False),
        sa.Column("supersedes", sa.String(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["annotator"], ["annotators.id"], name=op.f("fk_judgements_annotator_annotators")
        ),
        sa.ForeignKeyConstraint(["item"], ["items.key"], name=op.f("fk_judgements_item_items")),
        sa.ForeignKeyConstraint(
            ["supersedes"], ["judgements.id"], name=op.f("fk_judgements_supersedes_judgements")
        ),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_judgements")),
        sa.UniqueConstraint("id", name=op.f("uq_judgements_id")),
        sa.UniqueConstraint("supersedes", name=op.f("uq_judgements_supersedes")),
    )
    with op.batch_alter_table("judgements", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_judgements_annotator"), ["annotator"], unique=False)
        batch_op.create_index(batch_op.f("ix_judgements_item"), ["item"], unique=False)

    op.create_table(
        "decisions",
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("reviewer", sa.String(), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("corrects", sa.String(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["corrects"], ["decisions.id"], name=op.f("fk_decisions_corrects_decisions")),
        sa.ForeignKeyConstraint(["item"], ["items.key"], name=op.f("fk_decisions_item_items")),
        sa.ForeignKeyConstraint(["reviewer"], ["annotators.id"], name=op.f("fk_decisions_reviewer_annotators")),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_decisions")),
        sa.UniqueConstraint("id", name=op.f("uq_decisions_id")),
    )
    with op.batch_alter_table("decisions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_decisions_item"), ["item"], unique=False)


def downgrade() -> None:
    """Drop the tables."""
    with op.batch_alter_table("decisions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_decisions_item"))

    op.drop_table("decisions")
    with op.batch_alter_table("judgements", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_judgements_item"))
        batch_op.drop_index(batch_op.f("ix_judgements_annotator"))

    op.drop_table("judgements")
    with op.batch_alter_table("assignments", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_assignments_annotator"))

    op.drop_table("assignments")
    op.drop_table("sessions")
    with op.batch_alter_table("items", schema=None) as batch_op:
        batch_op.drop_index("ix_items_queue")

    op.drop_table("items")
    with op.batch_alter_table("completions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_completions_prompt"))

    op.drop_table("completions")
    op.drop_table("prompts")
    op.drop_table("invites")
    op.drop_table("exports")
    op.drop_table("projects")
    op.drop_table("annotators")
