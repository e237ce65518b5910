"""Python calls behind `gnomon feedback crowd-link` and `payments`: workers of crowd platforms."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from gnomon.api.feedback.projects import Name, only_project, open_store

if TYPE_CHECKING:  # heavy, so imported by the calls that use it: the command line starts through here
    from gnomon.feedback.crowd_platforms import CrowdLink
    from gnomon.feedback.quality.payments import Payment
    from gnomon.feedback.store.crowd_access import CrowdLinkStatus


def feedback_crowd_link(url: Name, project: str | None, link: CrowdLink) -> tuple[int, str]:
    """Create a link for all workers of a crowd platform.

    Args:
        url: address of the store.
        project: id of the project; `None`: the only one.
        link: settings of the link, as `crowd_platforms.crowd_link` returns them.

    Returns:
        The link's number, and its path with the platform's placeholders, which is shown only once.
    """
    from gnomon.feedback.store.access import Access
    from gnomon.feedback.store.crowd_access import CrowdAccess

    with closing(open_store(url)) as store:
        key, token = CrowdAccess(Access(store)).add_link(project or only_project(store), link)
    return key, f"/crowd/{token}" + (f"?{link.query}" if link.query else "")


def feedback_end_crowd_link(url: Name, project: str | None, key: int) -> None:
    """End a crowd link: nobody can join or return with it.

    Args:
        url: address of the store.
        project: id of the project; `None`: the only one.
        key: number of the link.

    Raises:
        DataError: the project has no such link.
    """
    from gnomon.feedback.store.access import Access
    from gnomon.feedback.store.crowd_access import CrowdAccess

    with closing(open_store(url)) as store:
        CrowdAccess(Access(store)).end_link(project or only_project(store), key)


def feedback_crowd_links(url: Name, project: str | None = None) -> list[CrowdLinkStatus]:
    """Return the project's crowd links with their numbers of workers and judgements.

    Raises:
        ConfigError: no project was named, and the store has none, or several.
    """
    from gnomon.feedback.store.access import Access
    from gnomon.feedback.store.crowd_access import CrowdAccess

    with closing(open_store(url)) as store:
        return CrowdAccess(Access(store)).status(project or only_project(store))


def feedback_payments(url: Name, project: str | None = None) -> list[Payment]:
    """Return the work of each worker of a crowd platform: judgements, time, quality and completion code.

    Raises:
        ConfigError: no project was named, and the store has none, or several.
        DataError: there is no such project.
    """
    from gnomon.feedback.quality.payments import payments

    with closing(open_store(url)) as store:
        return payments(store, project or only_project(store))
