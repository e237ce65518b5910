"""State and access checks that all pages of the annotation server share."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import urlencode

from fastapi import Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gnomon.core.translations import LANGUAGES, texts_in
from gnomon.feedback.quality.monitor import QualityMonitor
from gnomon.feedback.quality.summary import QualityReport, quality_report
from gnomon.feedback.quality.written_quality import CheckedText, load_checked_texts
from gnomon.feedback.store.access import SESSION_SECONDS, Access, User
from gnomon.feedback.store.crowd_access import CrowdAccess
from gnomon.feedback.store.store import Project, Store
from gnomon.feedback.task_types import DEMONSTRATION
from gnomon.feedback.tasks.crowd_progress import CrowdProgress
from gnomon.feedback.tasks.qualification import Qualification
from gnomon.feedback.tasks.queue import Queue
from gnomon.web.formatting import FILTERS

HERE = Path(__file__).parent
COOKIE = "gnomon_session"
MAX_FAILED_LINKS, MAX_NEW_WORKERS = 20, 60  # invalid links, and first visits of a crowd platform's workers …
WINDOW = 60.0  # … that an address may try within so many seconds
REFRESH_FACTOR = 5.0  # figures are recomputed after this many times their own computing time
Value = TypeVar("Value")


class RefreshedValue(Generic[Value]):
    """A value computed by one request at a time, and cached for `REFRESH_FACTOR` times that duration.

    Args:
        compute: computes the value.
    """

    def __init__(self, compute: Callable[[], Value]):
        self.compute = compute
        self._values: list[Value] = []  # empty until the first request
        self._expires = 0.0
        self._lock = threading.Lock()

    def get(self) -> Value:
        """Return the value; while another request computes it, the former one."""
        if not self._lock.acquire(blocking=not self._values):
            return self._values[0]
        try:
            start = time.perf_counter()
            if not self._values or start >= self._expires:
                self._values = [self.compute()]
                now = time.perf_counter()
                self._expires = now + REFRESH_FACTOR * (now - start)
            return self._values[0]
        finally:
            self._lock.release()


class ServerState:
    """The store, services, texts and templates behind one server's routes."""

    def __init__(self, store: Store, project: str, secure: bool):
        self.store = store
        self.project = project
        self.secure = secure
        self.queue = Queue(store, project)
        self.qualification = Qualification(store, project)
        self.monitor = QualityMonitor(store, project)
        self.access = Access(store)
        self.crowd = CrowdAccess(self.access)
        self.crowd_progress = CrowdProgress(store)
        task = store.project(project).task
        self.texts = {name: texts_for(task, texts_in(name)["annotation_pages"]) for name in LANGUAGES}
        self.pages = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.pages.filters.update(FILTERS)
        # Browsers share cookies between ports, so each project has its own. A cookie's name allows fewer
        # characters than an id.
        self.cookie = f"{COOKIE}_{hashlib.sha256(project.encode()).hexdigest()[:16]}"
        self.failed_links: dict[str, deque[float]] = {}
        self.new_workers: dict[str, deque[float]] = {}
        self._report = RefreshedValue(lambda: quality_report(self.store, self.project))
        self._texts = RefreshedValue(lambda: load_checked_texts(self.store, self.project))

    def page(self, name: str, request: Request, **more: Any) -> HTMLResponse:
        """Render a template in the visitor's language and remember a language chosen by `?lang=`."""
        language = language_of(request)
        content = self.pages.get_template(name).render(
            language=language,
            languages=LANGUAGES,
            t=self.texts[language],
            project=self.localized_project(language),
            path=request.url.path,
            other_language_address=_other_language_address(request, language),
            **more,
        )
        response = HTMLResponse(content)
        if request.query_params.get("lang") in LANGUAGES:
            response.set_cookie("gnomon_language", language, max_age=int(SESSION_SECONDS), samesite="strict")
        return response

    def localized_project(self, language: str) -> Project:
        """Return the project; a title or guidelines of the English demo are translated into `language`."""
        project = self.store.project(self.project)
        english, translated = self.texts["en"]["demo"], self.texts[language]["demo"]
        same = [name for name in ("title", "guidelines") if getattr(project, name) == english[name]]
        return replace(project, **{name: translated[name] for name in same})

    def quality_report(self) -> QualityReport:
        """Return the quality report, which may be a little older than the last judgement."""
        return self._report.get()

    def checked_texts(self) -> list[CheckedText]:
        """Return the written texts with their flags, which may be a little older than the last judgement."""
        return self._texts.get()

    def current_user(self, request: Request) -> User | None:
        """Return the user of this project whose session cookie the request carries, or `None`."""
        user = self.access.current_user(request.cookies.get(self.cookie))
        return user if user and user.project == self.project else None

    def set_session(self, response: Response, cookie: str) -> None:
        """Add the cookie of a new session to a response."""
        response.set_cookie(
            self.cookie,
            cookie,
            max_age=int(SESSION_SECONDS),
            httponly=True,
            samesite="strict",
            secure=self.secure,
            path="/",
        )

    def too_many_failed_links(self, address: str) -> bool:
        """Return whether an address tried `MAX_FAILED_LINKS` invalid links within the window."""
        return self._count(self.failed_links, address) >= MAX_FAILED_LINKS

    def record_failed_link(self, address: str) -> None:
        """Count an invalid link that an address tried."""
        self._record(self.failed_links, address)

    def too_many_new_workers(self, address: str) -> bool:
        """Return whether `MAX_NEW_WORKERS` workers joined from an address within the window."""
        return self._count(self.new_workers, address) >= MAX_NEW_WORKERS

    def record_new_worker(self, address: str) -> None:
        """Count a worker who joined from an address."""
        self._record(self.new_workers, address)

    def _count(self, moments: dict[str, deque[float]], address: str) -> int:
        """Return the number of an address's moments within the window."""
        recent = self._recent(moments, address, self.access.clock())
        if recent:
            moments[address] = recent
        return len(recent)

    def _record(self, moments: dict[str, deque[float]], address: str) -> None:
        """Add the current moment to those of an address."""
        now = self.access.clock()
        recent = self._recent(moments, address, now)
        recent.append(now)
        moments[address] = recent

    def _recent(self, moments: dict[str, deque[float]], address: str, now: float) -> deque[float]:
        """Remove an address; return its moments within the window that ends at `now`."""
        return deque(moment for moment in moments.pop(address, ()) if moment > now - WINDOW)


def texts_for(task: str, texts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pages' texts for a task: where annotators write, some texts have other words."""
    return _merged(texts, texts["writing"]) if task == DEMONSTRATION else dict(texts)


def _merged(texts: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested texts with others in place of those of the same keys."""
    return {
        **texts,
        **{
            name: _merged(texts[name], other) if isinstance(other, Mapping) else other
            for name, other in others.items()
        },
    }


def server_state(request: Request) -> ServerState:
    """Return the state of the server that received the request."""
    state: ServerState = request.app.state.server
    return state


async def _server_state(request: Request) -> ServerState:
    """`server_state` as a dependency: FastAPI runs other functions in a thread, which costs more."""
    return server_state(request)


def current_user(request: Request) -> User:
    """Return the user who sent the request.

    Raises:
        HTTPException: the request has no valid session.
    """
    user = server_state(request).current_user(request)
    if user is None:
        raise HTTPException(401, "This session is over; open your link again.")
    return user


def admin(request: Request) -> User:
    """Return the administrator who sent the request.

    Raises:
        HTTPException: the user is no administrator.
    """
    user = current_user(request)
    if user.role != "admin":
        raise HTTPException(403, "Only administrators may do this.")
    return user


def reviewer(request: Request) -> User:
    """Return the reviewer or administrator who sent the request.

    Raises:
        HTTPException: the user is neither.
    """
    user = current_user(request)
    if user.role not in ("reviewer", "admin"):
        raise HTTPException(403, "Only reviewers may do this.")
    return user


Server = Annotated[ServerState, Depends(_server_state)]
CurrentUser = Annotated[User, Depends(current_user)]
Reviewer = Annotated[User, Depends(reviewer)]
Admin = Annotated[User, Depends(admin)]


def _other_language_address(request: Request, language: str) -> str:
    """Return the query of the same page in the other language."""
    other = "en" if language == "zh" else "zh"
    parameters = [(name, value) for name, value in request.query_params.multi_items() if name != "lang"]
    return "?" + urlencode([*parameters, ("lang", other)])


def language_of(request: Request) -> str:
    """Return the language of the query string, else of the cookie, else of the browser."""
    for language in (request.query_params.get("lang"), request.cookies.get("gnomon_language")):
        if language in LANGUAGES:
            return str(language)
    return "zh" if request.headers.get("accept-language", "").lower().startswith("zh") else "en"
