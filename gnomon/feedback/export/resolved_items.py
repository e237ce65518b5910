"""Which items give valid preferences: those resolved by active annotators, with a side that is preferred."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from gnomon.feedback.store.resolution import consensus
from gnomon.feedback.store.schema import AnnotatorRow
from gnomon.feedback.store.store import Project
from gnomon.feedback.task_types import SCALES, setup_of, vote_label
from gnomon.feedback.tasks.judgements import JudgedItem


def why_invalid(item: JudgedItem, project: Project) -> str:
    """Return why an item gives no valid preference: a key of `left_out` in a manifest, "" if it gives one.

    An item is resolved by a reviewer's decision, or if the judgements that an export counts resolve it as they do
    in the store (`store.resolution`). They may be fewer than in the store, which counts paused annotators too.
    Two labels that are most frequent are no consensus, which a threshold below one half would allow.
    A closed item gets no more judgements: its judgements need a consensus only, and scores not even that, since
    different scores are not different opinions.
    """
    if item.decision is not None:
        label = vote_label(item.decision.answer, item.decision.shown, item.ids)
    else:
        labels = [vote_label(one.answer, one.shown, item.ids) for one in item.counted_judgements]
        if item.state == "closed" and project.task in SCALES:
            return "" if labels else "unresolved_items"
        least = 1 if item.state == "closed" else min(project.votes_per_item, item.target_votes)
        label = consensus(labels, setup_of(project.settings).consensus_threshold)
        first, second, *_ = [
            *sorted(Counter(labels).values(), reverse=True),
            0,
            0,
        ]  # equal below a threshold of 1/2
        if item.state not in ("done", "closed") or len(labels) < least or label is None or first == second:
            return "unresolved_items"
    reasons = {"tie": "tied_items", "bad": "both_bad_items"}
    return reasons.get(label, "") if isinstance(label, str) else ""


def paused_annotators(session: Session, beside: Collection[str]) -> tuple[str, ...]:
    """Return the ids of all paused annotators, without those that are left out anyway."""
    paused = select(AnnotatorRow.id).where(AnnotatorRow.state == "paused").order_by(AnnotatorRow.id)
    return tuple(name for name in session.scalars(paused) if name not in beside)
