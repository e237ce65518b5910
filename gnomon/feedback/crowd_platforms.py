"""Crowd platforms: how a worker's id arrives in a link's address, and where the worker returns at the end.

Whoever opens an address can change its values. They are accepted only in the form that a platform uses, and are
stored and displayed as text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self
from urllib.parse import quote, urlsplit

from pydantic import Field, model_validator

from gnomon.core.config import Settings, validate
from gnomon.core.errors import ConfigError
from gnomon.core.ranges import Range
from gnomon.feedback.requirements import Profile, profile

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")  # starts with no sign that spreadsheets read as a formula
NAME = r"^[A-Za-z][A-Za-z0-9_-]{0,39}$"
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
JUDGEMENTS = Range("it counts judgements of a worker", ge=1, le=10**6)


@dataclass(frozen=True)
class CrowdPlatform:
    """What a platform adds to the address of a task.

    Attributes:
        worker_parameter: parameter with the worker's id.
        context_parameters: parameters that are stored with the worker's visit, such as the study.
        worker_id: form of the ids of workers.
        query: query to append to the link, with the platform's own placeholders; empty if it appends one itself.
        redirect: address at which workers finish, with `{code}`.
        has_own_code: whether the platform issues the completion code, the same for all workers.
    """

    worker_parameter: str
    context_parameters: tuple[str, ...]
    worker_id: re.Pattern[str] = ID
    query: str = ""
    redirect: str | None = None
    has_own_code: bool = False


PLATFORMS = {
    "prolific": CrowdPlatform(
        "PROLIFIC_PID",
        ("STUDY_ID", "SESSION_ID"),
        re.compile(r"[0-9a-f]{24}"),
        "PROLIFIC_PID={{%PROLIFIC_PID%}}&STUDY_ID={{%STUDY_ID%}}&SESSION_ID={{%SESSION_ID%}}",
        "https://app.prolific.com/submissions/complete?cc={code}",
        has_own_code=True,
    ),
    "mturk": CrowdPlatform("workerId", ("assignmentId", "hitId"), re.compile(r"[A-Z0-9]{5,64}")),
}
# A parameter with one of these values belongs to a preview, before a worker has accepted the task.
PREVIEW_VALUES = ("ASSIGNMENT_ID_NOT_AVAILABLE",)


class CrowdLink(Settings):
    """A link for all workers of a crowd platform; `crowd_link` fills in what a platform prescribes.

    Attributes:
        platform: name of the platform. Workers of the same platform and id are the same annotator.
        worker_parameter: parameter of the address that has the worker's id.
        context_parameters: parameters that are stored too, and listed with the payments.
        max_judgements: judgements of a worker, after which they get the completion code; `None`: no limit.
        min_judgements: judgements that a worker needs for the code if no items are left.
        max_workers: workers who may join; `None`: no limit.
        code: completion code of all workers; `None`: each worker gets a random one.
        redirect: address at which a worker finishes; `{code}`, `{worker}` and the names of the other parameters
            are replaced. `None`: the page only displays the code.
        languages, domains, skills: what the workers who join can judge, where the platform selected them by it.
    """

    platform: str = Field(pattern=NAME)
    worker_parameter: str = Field(pattern=NAME)
    context_parameters: tuple[Annotated[str, Field(pattern=NAME)], ...] = ()
    max_judgements: Annotated[int, JUDGEMENTS] | None = None
    min_judgements: Annotated[int, JUDGEMENTS] = 1
    max_workers: Annotated[int, Range("it counts workers", ge=1, le=10**6)] | None = None
    code: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    redirect: str | None = Field(default=None, max_length=2000)
    languages: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max_judgements is not None and self.min_judgements > self.max_judgements:
            raise ValueError(
                f"min_judgements is {self.min_judgements} and max_judgements {self.max_judgements}; "
                "make the first no larger than the second"
            )
        if self.redirect is not None:
            address = urlsplit(self.redirect)
            if (
                address.scheme not in ("https", "http")
                or not address.netloc
                or PLACEHOLDER.search(address.netloc)
            ):
                raise ValueError(
                    f"the redirect '{self.redirect}' is not the address of a page; start it with https://"
                )
            known = {"code", "worker", *self.context_parameters}
            if unknown := [name for name in PLACEHOLDER.findall(self.redirect) if name not in known]:
                raise ValueError(
                    f"the redirect has no value for {{{unknown[0]}}}; use {', '.join(sorted(known))}"
                )
        return self

    @property
    def profile(self) -> Profile:
        """What the workers who join can judge."""
        return profile(self.languages, self.domains, self.skills)

    @property
    def worker_id(self) -> re.Pattern[str]:
        """Form of the ids of workers."""
        preset = PLATFORMS.get(self.platform)
        return ID if preset is None else preset.worker_id

    @property
    def query(self) -> str:
        """Query to append to the link where the platform replaces placeholders, with the names of parameters."""
        preset = PLATFORMS.get(self.platform)
        if preset is None or not preset.query:
            return ""
        return preset.query.replace(f"{preset.worker_parameter}=", f"{self.worker_parameter}=", 1)

    def finish_address(self, code: str, worker: str, details: Mapping[str, str]) -> str | None:
        """Return the address at which a worker finishes.

        Args:
            code: the worker's completion code.
            worker: the worker's id.
            details: values of the context parameters; a missing one is empty.
        """
        values = {**details, "code": code, "worker": worker}
        if self.redirect is None:
            return None
        return PLACEHOLDER.sub(lambda match: quote(values.get(match[1], ""), safe=""), self.redirect)


@dataclass(frozen=True)
class CrowdWorker:
    """A worker as the address names them: their id, and the values of the context parameters."""

    id: str
    details: dict[str, str]


def crowd_link(platform: str, **settings: Any) -> CrowdLink:
    """Return a link's settings, with those of the platform for what is not given.

    Args:
        platform: a name of `PLATFORMS`, or another with `worker_parameter`.
        settings: fields of `CrowdLink`; `None` is not given.

    Raises:
        ConfigError: a setting is missing or invalid.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    preset = PLATFORMS.get(platform)
    if preset is None and "worker_parameter" not in given:
        raise ConfigError(
            f"the platform '{platform:.40}' is not one of {', '.join(PLATFORMS)}; name the parameter that has "
            "the worker's id with --worker-parameter."
        )
    if preset is not None:
        if preset.has_own_code and "code" not in given:
            raise ConfigError(f"{platform} issues the completion code of a study; give it with --code.")
        given = {
            "worker_parameter": preset.worker_parameter,
            "context_parameters": preset.context_parameters,
            **({"redirect": preset.redirect} if preset.redirect else {}),
            **given,
        }
    return validate(CrowdLink, {"platform": platform, **given}, "crowd-link")


def worker_of(link: CrowdLink, query: Mapping[str, str]) -> CrowdWorker | None:
    """Return the worker whom an address names; `None` if it names none, or not in the platform's form."""
    worker = query.get(link.worker_parameter, "")
    if not link.worker_id.fullmatch(worker):
        return None
    values = {name: query[name] for name in link.context_parameters if name in query}
    return CrowdWorker(worker, {name: value for name, value in values.items() if ID.fullmatch(value)})


def is_preview(link: CrowdLink, query: Mapping[str, str]) -> bool:
    """Return whether an address belongs to a preview of the task, which has no worker yet."""
    return any(query.get(name) in PREVIEW_VALUES for name in link.context_parameters)
