"""Written texts of a project with their outcomes and flags, for metrics of annotators, pages and exports."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sqlalchemy.orm import Session

from gnomon.core.types import Prompt
from gnomon.feedback.quality.written_checks import TextFlag, TextToCheck, text_flags
from gnomon.feedback.store.schema import ProjectRow
from gnomon.feedback.store.store import Store, require
from gnomon.feedback.task_types import setup_of
from gnomon.feedback.tasks.judgements import JudgedItem, StoredJudgement, corrections, judged_items, snapshot
from gnomon.feedback.written_answers import Outcome, WrittenText, written_texts


@dataclass(frozen=True)
class CheckedText:
    """A counted written text.

    Attributes:
        item: key of the item.
        prompt: what it answers.
        text: the judgement with the text, and its review.
        outcome: what became of it.
        flags: see `written_checks`.
    """

    item: int
    prompt: Prompt
    text: WrittenText[StoredJudgement]
    outcome: Outcome
    flags: tuple[TextFlag, ...]


@dataclass(frozen=True)
class WrittenCounts:
    """Numbers of a project's written texts.

    Attributes:
        written: all counted texts.
        accepted: texts that need nothing more.
        unreviewed: texts that wait for a review.
        rejected: texts that a review rejected.
        flagged: texts with a flag.
        flags: number of texts by flag.
    """

    written: int
    accepted: int
    unreviewed: int
    rejected: int
    flagged: int
    flags: dict[str, int]


def checked_texts(session: Session, project: str) -> dict[str, CheckedText]:
    """Return the counted written texts of a project by the id of their judgement, in order of arrival.

    Args:
        session: session of a `snapshot`.
        project: id of a project of demonstrations.

    Raises:
        DataError: there is no such project.
    """
    setup = setup_of(require(session.get(ProjectRow, project), "project", project).settings)
    corrected = corrections(session, project)
    texts = [(item, text) for item in judged_items(session, project) for text in counted_texts(item)]
    texts.sort(key=lambda pair: (pair[1].written.created, pair[1].written.id))
    flags = text_flags(
        [
            TextToCheck(
                one.written.id,
                one.written.annotator,
                item.key,
                item.prompt,
                str(one.written.answer["text"]),
                None if one.written.id in corrected else one.written.seconds,
            )
            for item, one in texts
        ],
        setup,
    )
    return {
        one.written.id: CheckedText(
            item.key, item.prompt, one, one.outcome(setup.approval), flags[one.written.id]
        )
        for item, one in texts
    }


def counted_texts(item: JudgedItem) -> list[WrittenText[StoredJudgement]]:
    """Return the counted written texts of an item, each with its review."""
    return written_texts(item.counted_judgements)


def load_checked_texts(store: Store, project: str) -> list[CheckedText]:
    """Return the counted written texts of a project, in order of arrival.

    Raises:
        DataError: there is no such project.
    """
    with snapshot(store) as session:
        return list(checked_texts(session, project).values())


def count_texts(texts: list[CheckedText]) -> WrittenCounts:
    """Count written texts by outcome and by flag."""
    outcomes = Counter(one.outcome for one in texts)
    return WrittenCounts(
        len(texts),
        outcomes["accepted"],
        outcomes["unreviewed"],
        outcomes["rejected"],
        sum(bool(one.flags) for one in texts),
        dict(Counter(flag for one in texts for flag in one.flags).most_common()),
    )
