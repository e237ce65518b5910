"""The statements that lending an item and taking an answer consist of, made once.

Building a statement costs as much as running it. What changes from one run to the next is a named parameter:
`project`, `annotator`, `item`, `judgement`, `completions` or `now`.
"""

from __future__ import annotations

from sqlalchemy import BindParameter, Select, bindparam, exists, func, select

from gnomon.feedback.tables import (
    AnnotatorRow,
    AssignmentRow,
    CompletionRow,
    DecisionRow,
    ItemRow,
    JudgementRow,
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
_here = ItemRow.project == bindparam("project")
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
_one = select(ItemRow).where(ItemRow.key == _item, _here).execution_options(populate_existing=True)

# An annotator's row; nobody withdraws them until the transaction is over.
PERSON = select(AnnotatorRow).where(AnnotatorRow.id == _annotator).with_for_update(read=True)
# What an annotator was lent and may still judge, the latest first.
HELD: Select[AssignmentRow] = _given.where(AssignmentRow.state == "leased", ItemRow.state.in_(ASKED)).order_by(
    AssignmentRow.until.desc()
)
# One item as it was lent to an annotator.
ASSIGNED = _given.where(AssignmentRow.item == _item)
# How many items an annotator was ever given.
GIVEN = select(func.count()).select_from(_given.subquery())
# Items with a place, never given to the annotator: urgent ones first, then those nearest to done. In the order of
# an index, so that only as many are looked at as it takes.
WANTED = (
    select(ItemRow.key)
    .where(_here, ItemRow.state == "open", ~_mine, _places < ItemRow.wanted)
    .order_by(ItemRow.priority.desc(), ItemRow.heard.desc(), ItemRow.key)
    .limit(TRIED)
)
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
    .where(_here, ItemRow.state == "open", _places < ItemRow.wanted)
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
JUDGEMENT = select(JudgementRow).where(JudgementRow.id == bindparam("judgement"))
CORRECTED = select(exists().where(JudgementRow.supersedes == bindparam("judgement")))
# Completions by their numbers, in any order.
COMPLETIONS = select(CompletionRow).where(CompletionRow.key.in_(bindparam("completions", expanding=True)))
NAMES = select(CompletionRow.key, CompletionRow.id).where(
    CompletionRow.key.in_(bindparam("completions", expanding=True))
)
# What was said of an item and stands, in the order in which it came; and the decision that stands.
SAID = standing(JudgementRow).where(JudgementRow.item == _item).order_by(JudgementRow.sequence)
VOICES = voices(_item, JudgementRow.answer, JudgementRow.shown)
DECISION = decisions(DecisionRow.item == _item).order_by(None).order_by(DecisionRow.sequence.desc()).limit(1)
