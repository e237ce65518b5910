"""SQL statements for leasing items and for storing judgements, built once at import.

Building a statement costs as much as executing it. Named parameters are `project`, `annotator`, `item`,
`judgement`, `completions`, `excluded` and `now`.
"""

from __future__ import annotations

from sqlalchemy import BindParameter, and_, bindparam, exists, func, select
from sqlalchemy.orm import aliased, load_only

from gnomon.feedback.store.schema import (
    AnnotatorRow,
    AssignmentRow,
    CompletionRow,
    DecisionRow,
    InviteRow,
    ItemRow,
    JudgementRow,
    ProjectRow,
    PromptRow,
    RequirementRow,
    counted_judgements,
    effective_decisions,
    effective_judgements,
    filled_slots,
    superseded,
)

MAX_CANDIDATES = 32  # items tried before an annotator gets none; other transactions hold those tried
JUDGEABLE_STATES = ("open", "gold")

_annotator: BindParameter[str] = bindparam("annotator")
_item: BindParameter[int] = bindparam("item")
_now: BindParameter[float] = bindparam("now")
_judgement: BindParameter[str] = bindparam("judgement")
_project: BindParameter[str] = bindparam("project")
_in_project = ItemRow.project == _project
_assigned = exists().where(AssignmentRow.item == ItemRow.key, AssignmentRow.annotator == _annotator)
_assignments = (
    select(AssignmentRow)
    .join(ItemRow, ItemRow.key == AssignmentRow.item)
    .where(AssignmentRow.annotator == _annotator, _in_project)
)
_judged = (
    select(JudgementRow)
    .join(ItemRow, ItemRow.key == JudgementRow.item)
    .where(JudgementRow.annotator == _annotator, _in_project, ~superseded())
)
_filled_slots = filled_slots(ItemRow.key, _now)
# `excluded`: keys of requirements that the annotator does not meet, while others do.
_suitable = ItemRow.requirement.is_(None) | ItemRow.requirement.not_in(bindparam("excluded", expanding=True))
_available = and_(
    _in_project, ItemRow.state == "open", ~_assigned, _suitable, _filled_slots < ItemRow.target_votes
)
_item_row = select(ItemRow).where(ItemRow.key == _item, _in_project).execution_options(populate_existing=True)
_to_judge = exists().where(ItemRow.key == AssignmentRow.item, _in_project, ItemRow.state.in_(JUDGEABLE_STATES))
_completions = CompletionRow.key.in_(bindparam("completions", expanding=True))
_effective = aliased(
    JudgementRow, effective_judgements(JudgementRow).where(JudgementRow.item == _item).subquery()
)
# Columns of a project that the queue needs; guidelines may be long.
_queue_columns = load_only(
    ProjectRow.task,
    ProjectRow.votes_per_item,
    ProjectRow.max_votes,
    ProjectRow.settings,
    ProjectRow.salt,
    raiseload=True,
)

# State of an annotator, locked against a withdrawal until the transaction ends.
ANNOTATOR_STATE = select(AnnotatorRow.state).where(AnnotatorRow.id == _annotator).with_for_update(read=True)
# The project's requirements; profiles of the active people of a project, other than the annotator, who have one.
REQUIREMENTS = select(RequirementRow).where(RequirementRow.project == _project).order_by(RequirementRow.key)
_invited = exists().where(
    InviteRow.annotator == AnnotatorRow.id, InviteRow.project == _project, ~InviteRow.revoked
)
PROFILES = select(AnnotatorRow.id, AnnotatorRow.profile).where(
    AnnotatorRow.profile.is_not(None), AnnotatorRow.state == "active", AnnotatorRow.kind == "person", _invited
)
# State of an annotator, the project, the annotator's leases of items that they may still judge, the latest first,
# their profile, and whether they are a person in a project with requirements: one row per lease, or a single row
# without one.
ANNOTATOR_CONTEXT = (
    select(
        AnnotatorRow.state,
        ProjectRow,
        AssignmentRow,
        AnnotatorRow.profile,
        and_(AnnotatorRow.kind == "person", exists().where(RequirementRow.project == _project)).label(
            "has_requirements"
        ),
    )
    .select_from(AnnotatorRow)
    .outerjoin(ProjectRow, ProjectRow.id == _project)
    .outerjoin(
        AssignmentRow,
        and_(AssignmentRow.annotator == AnnotatorRow.id, AssignmentRow.state == "leased", _to_judge),
    )
    .where(AnnotatorRow.id == _annotator)
    .order_by(AssignmentRow.until.desc())
    .options(_queue_columns)
)
# The assignment of an item to an annotator.
ASSIGNMENT = _assignments.where(AssignmentRow.item == _item)
# Number of items ever assigned to an annotator.
ASSIGNMENT_COUNT = select(func.count()).select_from(_assignments.subquery())
# An item with a free slot that was never assigned to the annotator: by priority, then by votes already counted.
# The order is that of an index, so few rows are read. The row is locked as by `TRY_LOCK_ITEM`, below.
NEXT_ITEM = (
    select(ItemRow)
    .where(_available)
    .order_by(ItemRow.priority.desc(), ItemRow.vote_count.desc(), ItemRow.key)
    .limit(1)
    .with_for_update(skip_locked=True, of=ItemRow)
    .execution_options(populate_existing=True)
)
# Whether there is such an item, locked by another transaction or not.
HAS_AVAILABLE_ITEM = select(exists().where(_available))
# Gold items that were never assigned to the annotator.
UNSEEN_GOLD = (
    select(ItemRow.key).where(_in_project, ItemRow.state == "gold", ~_assigned, _suitable).order_by(ItemRow.key)
)
# An item, locked until the transaction ends. `TRY_LOCK_ITEM` skips an item that another transaction has locked:
# two transactions that hold one item each and wait for the other's would deadlock.
LOCK_ITEM, TRY_LOCK_ITEM = _item_row.with_for_update(), _item_row.with_for_update(skip_locked=True)
_surplus = effective_judgements(JudgementRow.sequence).where(JudgementRow.surplus)
# Number of filled slots of an item; the same with two flags: whether the item was ever assigned to the annotator,
# and whether it has a surplus judgement.
FILLED_SLOTS = select(filled_slots(_item, _now))
SLOT_STATE = select(
    filled_slots(_item, _now),
    exists().where(AssignmentRow.item == _item, AssignmentRow.annotator == _annotator),
    _surplus.where(JudgementRow.item == _item).exists(),
)
# Items with a free slot and a surplus judgement that could fill it.
SURPLUS_TO_COUNT = (
    select(ItemRow.key)
    .where(_in_project, ItemRow.state == "open", _filled_slots < ItemRow.target_votes)
    .where(_surplus.where(JudgementRow.item == ItemRow.key).exists())
    .order_by(ItemRow.key)
    .limit(MAX_CANDIDATES)
)
# Upper bound of the items that an annotator may still get: all open and gold items not yet finished by them.
REMAINING_COUNT = (
    select(func.count())
    .select_from(ItemRow)
    .where(_in_project, ItemRow.state.in_(JUDGEABLE_STATES), ~_assigned.where(AssignmentRow.state != "leased"))
)
# An annotator's number of judgements, and their last judgement.
JUDGED_COUNT = select(func.count()).select_from(_judged.subquery())
LAST_JUDGEMENT = _judged.order_by(JudgementRow.sequence.desc()).limit(1)
# A judgement by its id; whether another judgement corrects it.
JUDGEMENT_BY_ID = select(JudgementRow).where(JudgementRow.id == _judgement)
IS_CORRECTED = select(exists().where(JudgementRow.supersedes == _judgement))
# Completions by their keys, in any order, with their prompt; their ids alone.
COMPLETIONS = (
    select(CompletionRow.key, CompletionRow.id, CompletionRow.text, CompletionRow.turns, PromptRow)
    .join(PromptRow, PromptRow.key == CompletionRow.prompt)
    .where(_completions)
)
COMPLETION_IDS = select(CompletionRow.key, CompletionRow.id).where(_completions)
# Data to check a submitted judgement against, read while the item is locked: the project, the assignment of the
# item to the annotator, an earlier judgement with the same id, and a completion's key and id; one row per
# completion, or a single row without one.
SUBMISSION_CONTEXT = (
    select(ProjectRow, AssignmentRow, JudgementRow, CompletionRow.key, CompletionRow.id)
    .select_from(ProjectRow)
    .outerjoin(CompletionRow, and_(CompletionRow.project == ProjectRow.id, _completions))
    .outerjoin(AssignmentRow, and_(AssignmentRow.item == _item, AssignmentRow.annotator == _annotator))
    .outerjoin(JudgementRow, JudgementRow.id == _judgement)
    .where(ProjectRow.id == _project)
    .options(_queue_columns)
)
# An item's effective decision; whether there is one, with the item's effective judgements in order of arrival:
# one row per judgement, or a single row without one.
EFFECTIVE_DECISION = (
    effective_decisions(DecisionRow.item == _item).order_by(None).order_by(DecisionRow.sequence.desc()).limit(1)
)
RESOLUTION_CONTEXT = (
    select(EFFECTIVE_DECISION.exists().label("decided"), _effective)
    .select_from(ItemRow)
    .outerjoin(_effective, _effective.item == ItemRow.key)
    .where(ItemRow.key == _item)
    .order_by(_effective.sequence)
)
# An item's counted judgements, and its leases that have not expired.
COUNTED_JUDGEMENTS = counted_judgements(_item, JudgementRow).order_by(JudgementRow.sequence)
LIVE_LEASES = select(AssignmentRow).where(
    AssignmentRow.item == _item, AssignmentRow.state == "leased", AssignmentRow.until > _now
)
COUNTED_ANSWERS = counted_judgements(_item, JudgementRow.answer, JudgementRow.shown)
