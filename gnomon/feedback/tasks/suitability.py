"""Assignment of items by what they require: who gets which, and which nobody can judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from gnomon.feedback.requirements import NO_REQUIREMENT, Profile, Requirement, requirement, stored_profile
from gnomon.feedback.store import queries
from gnomon.feedback.store.ingest import add_requirement
from gnomon.feedback.store.schema import ItemRow, PromptRow, RequirementRow
from gnomon.feedback.store.store import Store, as_requirement


@dataclass(frozen=True)
class RequirementStatus:
    """A requirement with its number of open items, and of the active people who meet it."""

    requirement: Requirement
    open_items: int
    people: int


def excluded_requirements(session: Session, project: str, profile: Profile) -> list[str]:
    """Return the keys of requirements that a person does not meet, while an active person of the project does.

    Args:
        session: a session to read with.
        project: id of the project.
        profile: the person's profile.
    """
    unmet = [
        (row.key, as_requirement(row))
        for row in session.scalars(queries.REQUIREMENTS, {"project": project})
        if not profile.meets(as_requirement(row))
    ]
    if not unmet:
        return []
    profiles = _profiles(session, project)
    return [key for key, needed in unmet if any(other.meets(needed) for other in profiles)]


def requirement_status(store: Store, project: str) -> list[RequirementStatus]:
    """Return the requirements of a project that has any, with open items and the people who meet them."""
    with store.reading() as session:
        rows = session.scalars(queries.REQUIREMENTS, {"project": project}).all()
        counts = select(ItemRow.requirement, func.count()).where(
            ItemRow.project == project, ItemRow.state == "open", ItemRow.requirement.is_not(None)
        )
        open_items = Counter({key: int(n) for key, n in session.execute(counts.group_by(ItemRow.requirement))})
        profiles = _profiles(session, project)
        return [
            RequirementStatus(needed, open_items[row.key], sum(one.meets(needed) for one in profiles))
            for row in rows
            for needed in [as_requirement(row)]
        ]


def set_domains(store: Store, project: str, domains: Mapping[str, str]) -> int:
    """Set the domain of prompts, and that of their items; their languages and skills stay.

    Args:
        store: the feedback store.
        project: id of the project.
        domains: domain of each prompt by its id; an empty one requires none.

    Returns:
        The number of prompts whose domain changed.
    """
    changed: list[dict[str, Any]] = []
    with store.writing() as session:
        requirements = session.scalars(queries.REQUIREMENTS, {"project": project}).all()
        stored = {row.key: as_requirement(row) for row in requirements}
        known_keys = set(stored)
        rows = select(PromptRow.key, PromptRow.id, PromptRow.requirement).where(PromptRow.project == project)
        for prompt, name, before in session.execute(rows).all():
            if name not in domains:
                continue
            domain = requirement(domain=domains[name]).domain
            needed = replace(stored.get(before or "", NO_REQUIREMENT), domain=domain)
            key = add_requirement(session, project, needed, known_keys)
            if key != before:
                changed.append({"key": prompt, "requirement": key})
        if changed:
            session.execute(update(PromptRow), changed)
        of_prompt = select(PromptRow.requirement).where(PromptRow.key == ItemRow.prompt).scalar_subquery()
        session.execute(update(ItemRow).where(ItemRow.project == project).values(requirement=of_prompt))
        used = select(PromptRow.requirement).where(
            PromptRow.project == project, PromptRow.requirement.is_not(None)
        )
        session.execute(
            delete(RequirementRow).where(RequirementRow.project == project, RequirementRow.key.not_in(used))
        )
    return len(changed)


def _profiles(session: Session, project: str) -> list[Profile]:
    """Return the profiles of the project's active people who have one."""
    rows = session.execute(queries.PROFILES, {"project": project}).all()
    return [stored_profile(row.profile) for row in rows]
