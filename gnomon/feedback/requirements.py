"""What an item requires of an annotator, and what annotators can judge: languages, domains, skills.

Names are compared in lower case and without surrounding spaces; languages by their main part, so that `zh-TW` and
`zh` are the same.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gnomon.core.errors import DataError

MAX_NAME_CHARS = 100


@dataclass(frozen=True, slots=True)
class Requirement:
    """What judging a prompt's items requires; empty fields require nothing.

    Attributes:
        language: language in which the prompt and its completions are written.
        domain: subject, such as `law`.
        skills: skills, all of which are required.
    """

    language: str = ""
    domain: str = ""
    skills: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.language or self.domain or self.skills)

    def __str__(self) -> str:
        parts = [("language", self.language), ("domain", self.domain), *(("skill", name) for name in self.skills)]
        return ", ".join(f"{kind} {name}" for kind, name in parts if name)

    @property
    def key(self) -> str | None:
        """Canonical text by which the store finds items of equal requirements; `None` if nothing is required."""
        return "\n".join((self.language, self.domain, *self.skills)) if self else None


NO_REQUIREMENT = Requirement()


@dataclass(frozen=True, slots=True)
class Profile:
    """What an annotator can judge: languages, domains and skills."""

    languages: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.languages or self.domains or self.skills)

    def __str__(self) -> str:
        parts = (("languages", self.languages), ("domains", self.domains), ("skills", self.skills))
        return "; ".join(f"{kind} {', '.join(names)}" for kind, names in parts if names)

    def __or__(self, other: Profile) -> Profile:
        """Combine two profiles of one annotator."""
        return profile(self.languages + other.languages, self.domains + other.domains, self.skills + other.skills)

    def meets(self, requirement: Requirement) -> bool:
        """Return whether the annotator can judge items with a requirement."""
        speaks = not requirement.language or requirement.language in self.languages
        knows = not requirement.domain or requirement.domain in self.domains
        return speaks and knows and set(requirement.skills) <= set(self.skills)

    def row(self) -> dict[str, list[str]] | None:
        """Return the profile as the store keeps it; `None` if it is empty."""
        if not self:
            return None
        return {"languages": list(self.languages), "domains": list(self.domains), "skills": list(self.skills)}


def requirement(language: str = "", domain: str = "", skills: Iterable[str] = ()) -> Requirement:
    """Return the requirement of these names.

    Args:
        language: name or code of a language, such as `zh-CN`.
        domain: name of a domain.
        skills: names of skills.

    Raises:
        DataError: a name is too long.
    """
    return Requirement(_language(language), _name(domain), _names(skills))


def profile(languages: Iterable[str] = (), domains: Iterable[str] = (), skills: Iterable[str] = ()) -> Profile:
    """Return the profile of these names.

    Args:
        languages: names or codes of languages.
        domains: names of domains.
        skills: names of skills.

    Raises:
        DataError: a name is too long.
    """
    return Profile(tuple(sorted(set(map(_language, languages)) - {""})), _names(domains), _names(skills))


def stored_profile(row: Mapping[str, Any] | None) -> Profile:
    """Return the profile of a stored row."""
    return Profile(**{name: tuple(names) for name, names in row.items()}) if row else Profile()


def _names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(map(_name, names)) - {""}))


def _name(name: str) -> str:
    clean = " ".join(unicodedata.normalize("NFC", name).split()).casefold()
    if len(clean) > MAX_NAME_CHARS:
        raise DataError(f"the name '{clean[:40]}…' has {len(clean)} characters; use at most {MAX_NAME_CHARS}.")
    return clean


def _language(name: str) -> str:
    return _name(name.replace("_", "-")).partition("-")[0]
