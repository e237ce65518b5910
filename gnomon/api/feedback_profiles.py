"""Python calls behind `gnomon feedback set-profile` and `set-domains`: who can judge what."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

from gnomon.api.feedback import Name, only_project, open_store
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
    url: Name, project: str | None, clusters: int | None = None, *, seed: int = 0
) -> dict[str, int]:
    """Set the domains of all prompts of a project.

    Args:
        url: address of the store.
        project: id of the project; `None`: the only one.
        clusters: number of clusters of the prompts' words, which become the domains; `None`: the prompts'
            categories are their domains.
        seed: seed of the clusters.

    Returns:
        The number of prompts by domain.

    Raises:
        ConfigError: there are fewer different prompts than clusters.
        DataError: the project has no prompts.
    """
    from gnomon.feedback.selection.domains import cluster_domains
    from gnomon.feedback.tasks.suitability import set_domains

    with closing(open_store(url)) as store:
        name = project or only_project(store)
        bank = store.bank(name)
        if not bank:
            raise DataError(f"project '{name}' has no prompts; add some with gnomon feedback import.")
        if clusters is None:
            domains = {one.prompt.id: one.category for one in bank}
        else:
            domains = cluster_domains([one.prompt for one in bank], clusters, seed=seed)
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
