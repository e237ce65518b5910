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
from gnomon.feedback.store.store import Store
from gnomon.feedback.task_types import setup_of
from gnomon.feedback.tasks.queue import NewJudgement
from gnomon.web import admin, crowd, qualify, review
from gnomon.web.context import HERE, CurrentUser, Server, ServerState, language_of, server_state
from gnomon.web.payloads import item_for_page, question_for_page, question_format
from gnomon.web.schemas import DraftPayload, ItemPayload, JudgementPayload, PagePayload, SkipPayload

THREADS = 8  # Python runs one thread at a time; more threads only make all requests slower
MAX_BYTES = 200_000  # bytes of a request
MAX_BYTES_BY_PATH = {"/api/admin/setup": 1_000_000}  # guidelines of 100,000 characters of up to 6 bytes in JSON
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers omit the origin of this server's forms too
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
}
router = APIRouter()
Result = TypeVar("Result")


def make_app(store: Store, project: str, *, secure: bool = False) -> FastAPI:
    """Create the server's application.

    Args:
        store: database of projects, items and judgements.
        project: id of the project to serve.
        secure: whether browsers connect by HTTPS; cookies are then restricted to HTTPS.
    """
    app = FastAPI(title="Gnomon", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_limit_threads)
    app.state.server = ServerState(store, project, secure)
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    for part in (router, qualify.router, crowd.router, admin.router, review.router):
        app.include_router(part)
    app.add_middleware(Guard)
    app.exception_handler(DataError)(_conflict)
    app.exception_handler(ConfigError)(_conflict)
    app.exception_handler(BusyError)(_busy)
    app.exception_handler(StarletteHTTPException)(_http_error)
    app.exception_handler(RequestValidationError)(_invalid)
    return app


@asynccontextmanager
async def _limit_threads(_: FastAPI) -> AsyncIterator[None]:
    """Limit the thread pool that runs the routes to `THREADS`."""
    to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield


class Guard:
    """ASGI middleware: refuses requests that the server's own pages never send, and adds security headers.

    A plain ASGI class: `BaseHTTPMiddleware` starts extra tasks for each request, which cost more than the request
    itself.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await (_refusal(Request(scope)) or self.app)(scope, receive, send_guarded)


async def _conflict(request: Request, error: Exception) -> Response:
    """Return a 409 response; a browser gets the page for an unknown address, such as that of an unknown item."""
    return _error_response(request, str(error), 409, "not_there")


async def _busy(request: Request, error: Exception) -> Response:
    """Return a 503 response: another program is writing to the database, or to the folder of an export."""
    return _error_response(request, str(error), 503, "busy")


async def _http_error(request: Request, error: Exception) -> Response:
    """Return the response for an `HTTPException`, with the page that fits its status."""
    assert isinstance(error, StarletteHTTPException)
    kind = "bad_link" if request.url.path.startswith("/join/") else "not_there"
    kind = {401: "no_session", 403: "not_yours", 429: "too_many"}.get(error.status_code, kind)
    return _error_response(request, error.detail, error.status_code, kind)


def _error_response(request: Request, detail: str, status: int, kind: str) -> Response:
    """Return an error: JSON for programs, a page in the visitor's language for browsers.

    Args:
        request: HTTP request.
        detail: error message; pages show the text of `kind` instead.
        status: HTTP status code.
        kind: key of the page's text in `texts.*.json`.
    """
    if request.url.path.startswith("/api/") or "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"detail": detail}, status_code=status)
    page = server_state(request).page("error.html.j2", request, kind=kind)
    page.status_code = status
    return page


async def _invalid(request: Request, __: Exception) -> Response:
    """Return a 422 response without the invalid input, which JSON may not be able to represent."""
    return _error_response(request, "The request is not understood.", 422, "not_there")


@router.get("/join/{token}")
def show_login(token: str, request: Request, server: Server) -> HTMLResponse:
    """Show a page with a button that starts a session; mail scanners, which only fetch links, start none.

    Args:
        token: secret part of the link.
        request: HTTP request.
        server: state of the server.

    Raises:
        HTTPException: the link is not valid (404), or the address tried too many invalid links (429).
    """
    _use_link(server.access.is_valid, token, request, server)
    return server.page("join.html.j2", request, action=f"/join/{token}", is_crowd=False)


@router.post("/join/{token}")
def join(token: str, request: Request, server: Server) -> Response:
    """Start a session for the holder of a link.

    Args:
        token: secret part of the link.
        request: HTTP request.
        server: state of the server.

    Returns:
        A redirect to the judging page, with the session's cookie.

    Raises:
        HTTPException: the link is not valid (404), or the address tried too many invalid links (429).
    """
    cookie = _use_link(server.access.login, token, request, server)
    response = RedirectResponse("/", status_code=303)
    server.set_session(response, cookie)
    return response


def _use_link(
    method: Callable[[str], Result | None], token: str, request: Request, server: ServerState
) -> Result:
    """Call a method of `Access` with a link's token; count and refuse invalid tokens.

    Args:
        method: returns a false value for an invalid token.
        token: secret part of the link.
        request: HTTP request.
        server: state of the server.
    """
    address = request.client.host if request.client else ""
    if server.too_many_failed_links(address):
        raise HTTPException(429, "Too many links were tried from here; wait a minute.")
    result = method(token)
    if not result:
        server.record_failed_link(address)
        raise HTTPException(404, "This link is not valid; request a new one.")
    return result


@router.get("/")
def show(request: Request, server: Server) -> Response:
    """Show the page where people judge; without a session, a page that explains how to start one."""
    user = server.current_user(request)
    if user is None:
        return server.page("error.html.j2", request, kind="no_session")
    question = question_format(server.store.project(server.project), server.texts[language_of(request)])
    crowd_link = None if user.crowd_link is None else server.crowd_progress.visit(str(user.invite)).link
    return server.page("judge.html.j2", request, user=user, question=question, crowd_link=crowd_link)


def roles_of(request: Request, server: ServerState) -> dict[str, str]:
    """Return the names of message roles in the language of the request."""
    roles: dict[str, str] = server.texts[language_of(request)]["page"]["roles"]
    return roles


@router.post("/api/task")
def next_task(payload: PagePayload, request: Request, server: Server, user: CurrentUser) -> dict[str, Any]:
    """Lease the user's next item.

    Args:
        payload: validated body of the request.
        request: HTTP request.
        server: state of the server.
        user: user who sent the request.

    Returns:
        `task`: the item as `item_for_page` returns it, a question of the qualification as `question_for_page`
        returns it, or null if there is none; `done`: number of items that the user has judged; `paused`: whether
        the user is paused; `failed`: whether they failed the qualification; `finish`: `code` and `address` for a
        worker of a crowd platform who has finished, else null.
    """
    payload.check(user)
    finish = None if user.crowd_link is None else server.crowd_progress.visit(str(user.invite)).finish
    state, question = ("qualified", None)
    if user.role == "annotator" and user.state == "active" and finish is None:
        state, question = server.qualification.next_question(user.annotator)
    task = server.queue.take(user.annotator) if finish is None and state == "qualified" else None
    if user.crowd_link is not None and task is None and user.state == "active" and state == "qualified":
        finish = server.crowd_progress.finish(str(user.invite)).finish
    roles = roles_of(request, server)
    item = question_for_page(question, roles) if question else item_for_page(task, roles) if task else None
    return {
        "task": item,
        "done": server.queue.judged_count(user.annotator),
        "paused": user.state == "paused",
        "failed": state == "failed",
        "finish": finish and {"code": finish.code, "address": finish.address},
    }


@router.post("/api/last")
def last(payload: PagePayload, request: Request, server: Server, user: CurrentUser) -> dict[str, Any]:
    """Return the user's last judgement with its item, to be corrected.

    Args:
        payload: validated body of the request.
        request: HTTP request.
        server: state of the server.
        user: user who sent the request.

    Returns:
        `task`: the item as `item_for_page` returns it, or null without a judgement. With one, also `corrects`,
        the judgement's id, and its `answer`, `reason` and `confidence`.
    """
    payload.check(user)
    last_judged = server.queue.last_judgement(user.annotator)
    if last_judged is None:
        return {"task": None}
    task, judgement = last_judged
    return {
        "task": item_for_page(task, roles_of(request, server)),
        "corrects": judgement.id,
        "answer": judgement.answer,
        "reason": judgement.reason,
        "confidence": judgement.confidence,
    }


@router.post("/api/text")
def text(payload: ItemPayload, server: Server, user: CurrentUser) -> dict[str, Any]:
    """Return the unrendered texts of an item's completions, for editing.

    Args:
        payload: validated body of the request.
        server: state of the server.
        user: user who sent the request.

    Returns:
        `texts`: the completions' texts, in the order displayed to the user.

    Raises:
        HTTPException: the project allows no rewrites.
    """
    payload.check(user)
    if not setup_of(server.store.project(server.project).settings).rewrite:
        raise HTTPException(403, "Rewriting is disabled for this project.")
    return {"texts": server.queue.displayed_texts(user.annotator, payload.item)}


@router.post("/api/heartbeat")
def heartbeat(payload: DraftPayload, server: Server, user: CurrentUser) -> dict[str, Any]:
    """Extend the lease of the user's item and store the draft.

    Args:
        payload: validated body of the request.
        server: state of the server.
        user: user who sent the request.

    Returns:
        `until`: the end of the lease in seconds since 1970, or null if it cannot be extended.
    """
    payload.check(user)
    draft = payload.model_dump(exclude={"item", "who"}, exclude_defaults=True)
    return {"until": server.queue.heartbeat(user.annotator, payload.item, draft)}


@router.post("/api/submit")
def submit(
    payload: JudgementPayload, server: Server, user: CurrentUser, background: BackgroundTasks
) -> dict[str, Any]:
    """Store a judgement; a repeated request has no further effect.

    Args:
        payload: validated body of the request.
        server: state of the server.
        user: user who sent the request.
        background: tasks to run after the response.

    Returns:
        `id`: the judgement's id; `again`: whether the judgement is a duplicate, that is, was stored before.

    Raises:
        HTTPException: the worker of a crowd platform has judged as many items as their link allows (409).
    """
    payload.check(user)
    is_limited = user.crowd_link is not None and payload.corrects is None
    if is_limited and not server.crowd_progress.accepts(str(user.invite), payload.id):
        raise HTTPException(409, "You have judged as many items as this link allows.")
    receipt = server.queue.submit(
        NewJudgement(
            id=payload.id,
            item=payload.item,
            annotator=user.annotator,
            answer=payload.answer,
            reason=payload.reason,
            confidence=payload.confidence,
            corrects=payload.corrects,
            seconds=payload.seconds.model_dump(),
            invite=user.invite,
        )
    )
    if not receipt.duplicate:
        is_check_due = server.monitor.record_judgement(user.annotator)
        if is_check_due:
            background.add_task(server.monitor.check)  # runs after the response is sent
    return {"id": receipt.id, "again": receipt.duplicate}


@router.post("/api/skip")
def skip(payload: SkipPayload, server: Server, user: CurrentUser) -> dict[str, Any]:
    """Return an item that the user does not judge to the queue.

    Args:
        payload: validated body of the request.
        server: state of the server.
        user: user who sent the request.

    Returns:
        An empty object.
    """
    payload.check(user)
    server.queue.skip(user.annotator, payload.item, payload.reason)
    return {}


def _refusal(request: Request) -> Response | None:
    """Return an error response if the server's own pages never send such a request, else `None`.

    A request other than GET and HEAD is refused if it has no Content-Length (411), is too large (413), has no
    Origin or that of another site (403), or is for a JSON route and its content type is not JSON (415).
    """
    if request.method in ("GET", "HEAD"):
        return None
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        return JSONResponse({"detail": "The request has no Content-Length."}, status_code=411)
    if int(length) > MAX_BYTES_BY_PATH.get(request.url.path, MAX_BYTES):
        return JSONResponse({"detail": "The request is too large."}, status_code=413)
    origin = request.headers.get("origin")
    if origin is None or urlsplit(origin).netloc != request.headers.get("host"):
        return JSONResponse({"detail": "The request must come from a page of this server."}, status_code=403)
    if request.url.path.startswith("/api/") and request.headers.get("content-type") != "application/json":
        return JSONResponse({"detail": "The request is not JSON."}, status_code=415)
    return None
