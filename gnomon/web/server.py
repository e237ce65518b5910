"""The annotation server: one project, personal links, JSON over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

from anyio import to_thread
from fastapi import APIRouter, BackgroundTasks, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gnomon.core.errors import BusyError, ConfigError, DataError
from gnomon.feedback.store.access import SESSION_SECONDS
from gnomon.feedback.store.store import Store
from gnomon.feedback.task_types import setup_of
from gnomon.feedback.tasks.queue import NewJudgement
from gnomon.web import admin, review
from gnomon.web.context import HERE, Known, Served, Server, language_of, served
from gnomon.web.payloads import item_for_page, way_of_asking
from gnomon.web.schemas import DraftPayload, ItemPayload, JudgementPayload, PagePayload, SkipPayload

THREADS = 8
LARGEST = 200_000  # bytes of a request
LARGER = {"/api/admin/setup": 1_000_000}  # guidelines of 100,000 characters, of as many as 6 bytes in JSON
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers hide the origin of our own forms too
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
}
router = APIRouter()
Found = TypeVar("Found")


def make_app(store: Store, project: str, *, secure: bool = False) -> FastAPI:
    """The server's application.

    Args:
        store: where everything is kept.
        project: the one that is served.
        secure: whether browsers come by https, so that cookies may be kept to it.
    """
    app = FastAPI(title="Gnomon", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_few_threads)
    app.state.served = Served(store, project, secure)
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    for part in (router, admin.router, review.router):
        app.include_router(part)
    app.add_middleware(Guard)
    app.exception_handler(DataError)(_say)
    app.exception_handler(ConfigError)(_say)
    app.exception_handler(BusyError)(_later)
    app.exception_handler(StarletteHTTPException)(_not_let)
    app.exception_handler(RequestValidationError)(_not_understood)
    return app


@asynccontextmanager
async def _few_threads(_: FastAPI) -> AsyncIterator[None]:
    """Requests wait in line for few threads: Python runs one at a time, and many make all of them late."""
    to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield


class Guard:
    """Refuses what no page of ours sends, and tells browsers what our pages may do.

    Written to the protocol itself: middleware of functions makes tasks for each request, which cost more than the
    request.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or not."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await (_refusal(Request(scope)) or self.app)(scope, receive, send_guarded)


async def _say(request: Request, error: Exception) -> Response:
    return _trouble(request, str(error), 409, "not_there")


async def _later(request: Request, error: Exception) -> Response:
    return _trouble(request, str(error), 503, "busy")


async def _not_let(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    kind = "bad_link" if request.url.path.startswith("/join/") else "not_there"
    kind = {401: "no_session", 403: "not_yours", 429: "too_many"}.get(error.status_code, kind)
    return _trouble(request, error.detail, error.status_code, kind)


def _trouble(request: Request, detail: str, status: int, kind: str) -> Response:
    """A sentence for a program, or for a person who opened a page, in their language."""
    if request.url.path.startswith("/api/") or "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"detail": detail}, status_code=status)
    page = served(request).page("lost.html.j2", request, kind=kind)
    page.status_code = status
    return page


async def _not_understood(request: Request, __: Exception) -> Response:
    """Without what was sent, which JSON may not be able to say."""
    return _trouble(request, "The request is not understood.", 422, "not_there")


@router.get("/join/{token}")
def show_door(token: str, request: Request, here: Server) -> HTMLResponse:
    """A page with a button: what only looks at links, such as a mail scanner, does not come in.

    Raises:
        HTTPException: the link leads nowhere, which is said before anybody presses the button.
    """
    _try(here.access.is_valid, token, request, here)
    return here.page("join.html.j2", request, token=token)


@router.post("/join/{token}")
def join(token: str, request: Request, here: Server) -> Response:
    """Begin a session for the holder of a link."""
    cookie = _try(here.access.login, token, request, here)
    response = RedirectResponse("/", status_code=303)
    response.set_cookie(
        here.cookie,
        cookie,
        max_age=int(SESSION_SECONDS),
        httponly=True,
        samesite="strict",
        secure=here.secure,
        path="/",
    )
    return response


def _try(door: Callable[[str], Found | None], token: str, request: Request, here: Served) -> Found:
    """What a link leads to; one that leads nowhere is counted."""
    address = request.client.host if request.client else ""
    if here.guesses(address):
        raise HTTPException(429, "Too many links were tried from here; wait a minute.")
    found = door(token)
    if not found:
        here.guesses(address, failed=True)
        raise HTTPException(404, "This link is not valid; ask for a new one.")
    return found


@router.get("/")
def show(request: Request, here: Server) -> Response:
    """Where people judge; who has no session is told to open their link."""
    found = here.current_user(request)
    if found is None:
        return here.page("lost.html.j2", request, kind="no_session")
    asking = way_of_asking(here.store.project(here.project), here.texts[language_of(request)])
    return here.page("judge.html.j2", request, user=found, asking=asking)


def roles_of(request: Request, here: Served) -> dict[str, str]:
    """What the page calls who speaks, in the language of the request."""
    roles: dict[str, str] = here.texts[language_of(request)]["page"]["roles"]
    return roles


@router.post("/api/task")
def task(sent: PagePayload, request: Request, here: Server, who: Known) -> dict[str, Any]:
    """The next item, or none."""
    sent.check(who)
    found = here.queue.take(who.annotator)
    return {
        "task": item_for_page(found, roles_of(request, here)) if found else None,
        "done": here.queue.judged_count(who.annotator),
        "paused": who.state == "paused",
    }


@router.post("/api/last")
def last(sent: PagePayload, request: Request, here: Server, who: Known) -> dict[str, Any]:
    """What was judged last, to be corrected."""
    sent.check(who)
    found = here.queue.last_judgement(who.annotator)
    if found is None:
        return {"task": None}
    again, judgement = found
    return {
        "task": item_for_page(again, roles_of(request, here)),
        "corrects": judgement.id,
        "answer": judgement.answer,
        "reason": judgement.reason,
        "confidence": judgement.confidence,
    }


@router.post("/api/text")
def text(sent: ItemPayload, here: Server, who: Known) -> dict[str, Any]:
    """The completions of an item as they were written, to be edited; only where the project asks for that."""
    sent.check(who)
    if not setup_of(here.store.project(here.project).settings).rewrite:
        raise HTTPException(403, "This project does not ask for rewritten answers.")
    return {"texts": here.queue.texts(who.annotator, sent.item)}


@router.post("/api/heartbeat")
def heartbeat(draft: DraftPayload, here: Server, who: Known) -> dict[str, Any]:
    """Someone is still at it."""
    draft.check(who)
    so_far = draft.model_dump(exclude={"item", "who"}, exclude_defaults=True)
    return {"until": here.queue.heartbeat(who.annotator, draft.item, so_far)}


@router.post("/api/submit")
def submit(sent: JudgementPayload, here: Server, who: Known, later: BackgroundTasks) -> dict[str, Any]:
    """An answer; sent again, it is acknowledged again. One that was made for somebody else is theirs to send."""
    sent.check(who)
    kept = here.queue.submit(
        NewJudgement(
            id=sent.id,
            item=sent.item,
            annotator=who.annotator,
            answer=sent.answer,
            reason=sent.reason,
            confidence=sent.confidence,
            corrects=sent.corrects,
            seconds=sent.seconds.model_dump(),
        )
    )
    if not kept.duplicate and here.monitor.due(who.annotator):
        later.add_task(here.monitor.check)  # after the answer was sent
    return {"id": kept.id, "again": kept.duplicate}


@router.post("/api/skip")
def skip(sent: SkipPayload, here: Server, who: Known) -> dict[str, Any]:
    """An item that this annotator does not judge."""
    sent.check(who)
    here.queue.skip(who.annotator, sent.item, sent.reason)
    return {}


def _refusal(request: Request) -> Response | None:
    """Why a request is not let through: too large, or a change that another page asked for."""
    if request.method in ("GET", "HEAD"):
        return None
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        return JSONResponse({"detail": "The request does not say how long it is."}, status_code=411)
    if int(length) > LARGER.get(request.url.path, LARGEST):
        return JSONResponse({"detail": "The request is too large."}, status_code=413)
    origin = request.headers.get("origin")
    if origin is None or urlsplit(origin).netloc != request.headers.get("host"):
        return JSONResponse({"detail": "The request came from another page."}, status_code=403)
    if request.url.path.startswith("/api/") and request.headers.get("content-type") != "application/json":
        return JSONResponse({"detail": "The request is not JSON."}, status_code=415)
    return None
