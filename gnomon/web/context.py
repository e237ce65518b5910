"""What all pages of the annotation server share: the store, who a visitor is and may do, their language."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gnomon.feedback.quality.monitor import QualityMonitor
from gnomon.feedback.quality.summary import QualityReport, quality_report
from gnomon.feedback.store.access import SESSION_SECONDS, Access, User
from gnomon.feedback.store.store import Project, Store
from gnomon.feedback.tasks.queue import Queue
from gnomon.web.formatting import FILTERS

HERE = Path(__file__).parent
COOKIE = "gnomon_session"
TRIES, WITHIN = 20, 60.0  # links that an address may try, and the seconds in which they count
AGAIN = 5.0  # times its own length, after which figures are reckoned again
LANGUAGES = ("en", "zh")


class Served:
    """What the routes of one server share."""

    def __init__(self, store: Store, project: str, secure: bool):
        self.store = store
        self.project = project
        self.secure = secure
        self.queue = Queue(store, project)
        self.monitor = QualityMonitor(store, project)
        self.access = Access(store)
        self.texts = {name: json.loads((HERE / f"texts.{name}.json").read_text("utf-8")) for name in LANGUAGES}
        self.pages = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.pages.filters.update(FILTERS)
        # Cookies know no ports: two projects on a machine must not share one. An id may have what no name may.
        self.cookie = f"{COOKIE}_{hashlib.sha256(project.encode()).hexdigest()[:16]}"
        self.failed: dict[str, deque[float]] = {}
        self._figures: QualityReport | None = None
        self._figures_until = 0.0
        self._figuring = threading.Lock()

    def page(self, name: str, request: Request, **more: Any) -> HTMLResponse:
        """A page in the visitor's language."""
        language = language_of(request)
        content = self.pages.get_template(name).render(
            language=language,
            t=self.texts[language],
            project=self.asked_in(language),
            path=request.url.path,
            **more,
        )
        found = HTMLResponse(content)
        if request.query_params.get("lang") in LANGUAGES:
            found.set_cookie("gnomon_language", language, max_age=int(SESSION_SECONDS), samesite="strict")
        return found

    def asked_in(self, language: str) -> Project:
        """The project; a question and guidelines that are the demo's own are said in the language."""
        found = self.store.project(self.project)
        known, words = self.texts["en"]["demo"], self.texts[language]["demo"]
        same = [name for name in ("title", "guidelines") if getattr(found, name) == known[name]]
        return replace(found, **{name: words[name] for name in same})

    def quality_report(self) -> QualityReport:
        """How everybody does; reckoned again after five times as long as it took, by one request at a time."""
        if not self._figuring.acquire(blocking=self._figures is None):
            assert self._figures is not None
            return self._figures
        try:
            began = time.perf_counter()
            if self._figures is None or began >= self._figures_until:
                self._figures = quality_report(self.store, self.project)
                now = time.perf_counter()
                self._figures_until = now + AGAIN * (now - began)
            return self._figures
        finally:
            self._figuring.release()

    def current_user(self, request: Request) -> User | None:
        """Who sent a request, if they may be here."""
        found = self.access.current_user(request.cookies.get(self.cookie))
        return found if found and found.project == self.project else None

    def guesses(self, address: str, *, failed: bool = False) -> bool:
        """Whether so many links from an address led nowhere lately that somebody guesses; counts one that did."""
        now = self.access.clock()
        recent = deque(moment for moment in self.failed.pop(address, ()) if moment > now - WITHIN)
        if failed:
            recent.append(now)
        if recent:
            self.failed[address] = recent
        return len(recent) >= TRIES


def served(request: Request) -> Served:
    """What the server that a request came to works on."""
    found: Served = request.app.state.served
    return found


async def _served(request: Request) -> Served:
    """The same for routes: what is not async is called in a thread, and a hop there costs more than this."""
    return served(request)


def current_user(request: Request) -> User:
    """Who sent the request.

    Raises:
        HTTPException: nobody who may be here.
    """
    found = served(request).current_user(request)
    if found is None:
        raise HTTPException(401, "This session is over; open your link again.")
    return found


def admin(request: Request) -> User:
    """Who sent the request, an administrator.

    Raises:
        HTTPException: somebody else.
    """
    found = current_user(request)
    if found.role != "admin":
        raise HTTPException(403, "Only administrators may do this.")
    return found


def reviewer(request: Request) -> User:
    """Who sent the request, a reviewer or an administrator.

    Raises:
        HTTPException: somebody else.
    """
    found = current_user(request)
    if found.role not in ("reviewer", "admin"):
        raise HTTPException(403, "Only reviewers may do this.")
    return found


Server = Annotated[Served, Depends(_served)]
Known = Annotated[User, Depends(current_user)]
Reviewer = Annotated[User, Depends(reviewer)]
Admin = Annotated[User, Depends(admin)]


def language_of(request: Request) -> str:
    """What was asked for, what was asked for before, what the browser speaks."""
    for asked in (request.query_params.get("lang"), request.cookies.get("gnomon_language")):
        if asked in LANGUAGES:
            return str(asked)
    return "zh" if request.headers.get("accept-language", "").lower().startswith("zh") else "en"
