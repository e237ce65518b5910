"""The statements that lending an item and taking an answer consist of, made once.

Building a statement costs as much as running it. What changes from one run to the next is a named parameter:
`project`, `annotator`, `item`, `judgement`, `completions` or `now`.
"""

from __future__ import annotations

from sqlalchemy import BindParameter, and_, bindparam, exists, func, select
from sqlalchemy.orm import aliased, load_only

from gnomon.feedback.store.schema import (
    AnnotatorRow,
    AssignmentRow,
    CompletionRow,
    DecisionRow,
    ItemRow,
    JudgementRow,
    ProjectRow,
    PromptRow,
    decisions,
    standing,
    superseded,
    taken,
    voices,
)

TRIED = 32  # items looked at before an annotator is told that there is nothing; others hold those before
ASKED = ("open", "gold")

_annotator: BindParameter[str] = bindparam("annotator")
_item: BindParameter[int] = bindparam("item")
_now: BindParameter[float] = bindparam("now")
_judgement: BindParameter[str] = bindparam("judgement")
_project: BindParameter[str] = bindparam("project")
_here = ItemRow.project == _project
_mine = exists().where(AssignmentRow.item == ItemRow.key, AssignmentRow.annotator == _annotator)
_given = (
    select(AssignmentRow)
    .join(ItemRow, ItemRow.key == AssignmentRow.item)
    .where(AssignmentRow.annotator == _annotator, _here)
)
_judged = (
    select(JudgementRow)
    .join(ItemRow, ItemRow.key == JudgementRow.item)
    .where(JudgementRow.annotator == _annotator, _here, ~superseded())
)
_places = taken(ItemRow.key, _now)
_wanted = and_(_here, ItemRow.state == "open", ~_mine, _places < ItemRow.target_votes)
_one = select(ItemRow).where(ItemRow.key == _item, _here).execution_options(populate_existing=True)
_to_judge = exists().where(ItemRow.key == AssignmentRow.item, _here, ItemRow.state.in_(ASKED))
_completions = CompletionRow.key.in_(bindparam("completions", expanding=True))
_voice = aliased(JudgementRow, standing(JudgementRow).where(JudgementRow.item == _item).subquery())
# Of a project what its queue goes by: guidelines may be long.
_ways = load_only(
    ProjectRow.task,
    ProjectRow.votes_per_item,
    ProjectRow.max_votes,
    ProjectRow.settings,
    ProjectRow.salt,
    raiseload=True,
)

# How an annotator stands; nobody withdraws them until the transaction is over.
PERSON = select(AnnotatorRow.state).where(AnnotatorRow.id == _annotator).with_for_update(read=True)
# How an annotator stands who asks, the project, and what they were lent and may still judge, the latest first: a
# row for each of these, or one.
ASKER = (
    select(AnnotatorRow.state, ProjectRow, AssignmentRow)
    .select_from(AnnotatorRow)
    .outerjoin(ProjectRow, ProjectRow.id == _project)
    .outerjoin(
        AssignmentRow,
        and_(AssignmentRow.annotator == AnnotatorRow.id, AssignmentRow.state == "leased", _to_judge),
    )
    .where(AnnotatorRow.id == _annotator)
    .order_by(AssignmentRow.until.desc())
    .options(_ways)
)
# One item as it was lent to an annotator.
ASSIGNED = _given.where(AssignmentRow.item == _item)
# How many items an annotator was ever given.
GIVEN = select(func.count()).select_from(_given.subquery())
# An item with a place, never given to the annotator: an urgent one first, then the one nearest to done. In the
# order of an index, so that only as many are looked at as it takes. Locked as `LOCKED_IF_FREE` locks, below.
WANTED = (
    select(ItemRow)
    .where(_wanted)
    .order_by(ItemRow.priority.desc(), ItemRow.vote_count.desc(), ItemRow.key)
    .limit(1)
    .with_for_update(skip_locked=True, of=ItemRow)
    .execution_options(populate_existing=True)
)
# Whether there is such an item, be it locked by another.
ANY_WANTED = select(exists().where(_wanted))
# Gold items that the annotator never saw.
GOLD = select(ItemRow.key).where(_here, ItemRow.state == "gold", ~_mine).order_by(ItemRow.key)
# An item about which nobody else decides until the transaction is over. Without waiting, one that another decides
# about is passed over: two that hold one and wait for the other's would wait for ever.
LOCKED, LOCKED_IF_FREE = _one.with_for_update(), _one.with_for_update(skip_locked=True)
_late = standing(JudgementRow.sequence).where(JudgementRow.surplus)
# Places of an item that are taken; the same, whether the annotator was ever lent it, and whether a surplus
# judgement waits for one.
TAKEN = select(taken(_item, _now))
ROOM = select(
    taken(_item, _now),
    exists().where(AssignmentRow.item == _item, AssignmentRow.annotator == _annotator),
    _late.where(JudgementRow.item == _item).exists(),
)
# Items with a free place for which a surplus judgement waits.
STRANDED = (
    select(ItemRow.key)
    .where(_here, ItemRow.state == "open", _places < ItemRow.target_votes)
    .where(_late.where(JudgementRow.item == ItemRow.key).exists())
    .order_by(ItemRow.key)
    .limit(TRIED)
)
# Items that an annotator may still be given at most: those that are asked, and all gold ones.
LEFT = (
    select(func.count())
    .select_from(ItemRow)
    .where(_here, ItemRow.state.in_(ASKED), ~_mine.where(AssignmentRow.state != "leased"))
)
# What an annotator judged: how many items, and what last.
JUDGED = select(func.count()).select_from(_judged.subquery())
LAST = _judged.order_by(JudgementRow.sequence.desc()).limit(1)
# A judgement by its id; whether another corrects it.
JUDGEMENT = select(JudgementRow).where(JudgementRow.id == _judgement)
CORRECTED = select(exists().where(JudgementRow.supersedes == _judgement))
# Completions by their numbers, in any order, with what they answer; their ids.
COMPLETIONS = (
    select(CompletionRow.key, CompletionRow.id, CompletionRow.text, CompletionRow.turns, PromptRow)
    .join(PromptRow, PromptRow.key == CompletionRow.prompt)
    .where(_completions)
)
NAMES = select(CompletionRow.key, CompletionRow.id).where(_completions)
# What an answer to an item is checked by, read behind the item's lock: the project, how the item was lent to the
# annotator, the judgement that has the answer's id, and the ids of the completions; a row for each of these.
ANSWER = (
    select(ProjectRow, AssignmentRow, JudgementRow, CompletionRow.key, CompletionRow.id)
    .select_from(CompletionRow)
    .join(ProjectRow, ProjectRow.id == CompletionRow.project)
    .outerjoin(AssignmentRow, and_(AssignmentRow.item == _item, AssignmentRow.annotator == _annotator))
    .outerjoin(JudgementRow, JudgementRow.id == _judgement)
    .where(_completions)
    .options(_ways)
)
# The decision that stands; whether there is one, and what was said of an item and stands, in the order in which
# it came: a row for each voice, or one.
DECISION = decisions(DecisionRow.item == _item).order_by(None).order_by(DecisionRow.sequence.desc()).limit(1)
SAID = (
    select(DECISION.exists().label("decided"), _voice)
    .select_from(ItemRow)
    .outerjoin(_voice, _voice.item == ItemRow.key)
    .where(ItemRow.key == _item)
    .order_by(_voice.sequence)
)
VOICES = voices(_item, JudgementRow.answer, JudgementRow.shown)
