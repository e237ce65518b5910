"""Python calls behind `gnomon feedback set-profile`, `set-domains` and `qualification`: who can judge what."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from gnomon.api.feedback.projects import Name, only_project, open_store
from gnomon.core.errors import DataError

if TYPE_CHECKING:  # heavy, so imported by the calls that use it: the command line starts through here
    from gnomon.feedback.requirements import Profile
    from gnomon.feedback.tasks.suitability import RequirementStatus


def feedback_set_profile(url: Name, annotator: str, profile: Profile) -> None:
    """Set what a person can judge; items that require it go to such people.

    Args:
        url: address of the store.
        annotator: id of the annotator.
        profile: languages, domains and skills, as `requirements.profile` returns them.

    Raises:
        DataError: there is no such annotator, or it is a program.
    """
    with closing(open_store(url)) as store:
        store.set_profile(annotator, profile)


def feedback_set_domains(
    url: Name, project: str | None, clusters: int | None = None, *, embeddings: str | None = None, seed: int = 0
) -> dict[str, int]:
    """Set the domains of all prompts of a project.

    Args:
        url: address of the store.
        project: id of the project; `None`: the only one.
        clusters: number of clusters of the prompts, which become the domains; `None`: the prompts' categories are
            their domains, or, with embeddings, the number with the largest silhouette is used.
        embeddings: sentence-embedding model of the clusters: `minilm`, which is fetched from PyPI, or a folder;
            `None`: they are of the prompts' words.
        seed: seed of the clusters.

    Returns:
        The number of prompts by domain.

    Raises:
        ConfigError: there are fewer different prompts than clusters.
        ModelError: there is no such model.
        DataError: the project has no prompts.
    """
    from gnomon.feedback.selection.domains import cluster_domains
    from gnomon.feedback.tasks.suitability import set_domains

    with closing(open_store(url)) as store:
        name = project or only_project(store)
        bank = store.bank(name)
        if not bank:
            raise DataError(f"project '{name}' has no prompts; add some with gnomon feedback import.")
        if clusters is None and embeddings is None:
            domains = {one.prompt.id: one.category for one in bank}
        else:
            embedder = None
            if embeddings is not None:
                from gnomon.stages.common.sentence_embeddings import load_embedder

                embedder = load_embedder(embeddings)
            domains = cluster_domains([one.prompt for one in bank], clusters, embedder=embedder, seed=seed)
        set_domains(store, name, domains)
        return dict(Counter(one.requirement.domain for one in store.bank(name)).most_common())


def feedback_requirements(url: Name, project: str | None = None) -> list[RequirementStatus]:
    """Return what a project's items require, with the open items and the people who meet it.

    Raises:
        ConfigError: no project was named, and the store has none, or several.
    """
    from gnomon.feedback.tasks.suitability import requirement_status

    with closing(open_store(url)) as store:
        return requirement_status(store, project or only_project(store))


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
        ConfigError: annotators of the project write the answers.
        DataError: a row is invalid; nothing is added.
    """
    from gnomon.data.reading.row_fields import KeysRead
    from gnomon.data.reported_rows import report_keys
    from gnomon.feedback.importing.questions import read_questions
    from gnomon.feedback.tasks.gold_items import check_known_answers
    from gnomon.feedback.tasks.qualification import Qualification

    keys = KeysRead()
    with closing(open_store(url)) as store:
        name = project or only_project(store)
        check_known_answers(name, store.project(name).task)
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
