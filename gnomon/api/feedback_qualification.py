"""Python calls behind `gnomon feedback qualification`: questions before an annotator's first item."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from gnomon.api.feedback import Name, only_project, open_store


def feedback_qualification(url: Name, project: str | None, file: Name) -> tuple[int, int]:
    """Add questions that annotators answer before their first item; see `gnomon.feedback.tasks.qualification`.

    Args:
        url: address of the store.
        project: id of the project; `None`: the only one.
        file: rows with a prompt, completions best first or `chosen` and `rejected`, an `explanation`, and an
            `answer` where completions are scored.

    Returns:
        The number of added questions, and of all.

    Raises:
        DataError: a row is invalid; nothing is added.
    """
    from gnomon.data.reading.row_fields import KeysRead
    from gnomon.data.reported_rows import report_keys
    from gnomon.feedback.importing.questions import read_questions
    from gnomon.feedback.tasks.qualification import Qualification

    keys = KeysRead()
    with closing(open_store(url)) as store:
        name = project or only_project(store)
        qualification = Qualification(store, name)
        added = qualification.add(list(read_questions(Path(file), store.project(name).task, keys)))
        count = qualification.count()
    report_keys(Path(file), "questions", keys)
    return added, count


def feedback_clear_qualification(url: Name, project: str | None = None) -> int:
    """Remove a project's questions, so that annotators get items at once; return their number.

    Args:
        url: address of the store.
        project: id of the project; `None`: the only one.
    """
    from gnomon.feedback.tasks.qualification import Qualification

    with closing(open_store(url)) as store:
        name = project or only_project(store)
        store.project(name)
        return Qualification(store, name).clear()
