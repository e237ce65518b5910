"""The link of a crowd platform: takes the worker's id from its address and starts their session."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from gnomon.feedback.crowd_platforms import CrowdWorker, is_preview, worker_of
from gnomon.web.context import Server, ServerState

router = APIRouter()
Problem = Literal["bad_link", "study_full", "no_worker", "preview"]
STATUS = {"bad_link": 404, "study_full": 403, "no_worker": 400, "preview": 400}
MAX_ADDRESS = 2_000  # characters of a query


@router.get("/crowd/{token}")
def show_crowd_login(token: str, request: Request, server: Server) -> HTMLResponse:
    """Show a page with a button that starts a session; programs that only fetch links start none.

    Args:
        token: secret part of the link.
        request: HTTP request; its query names the worker.
        server: state of the server.
    """
    worker = _worker(token, request, server)
    if not isinstance(worker, CrowdWorker):
        return _problem_page(worker, request, server)
    if server.too_many_new_workers(_address(request)) and not server.crowd.is_known(
        server.project, token, worker
    ):
        raise HTTPException(429, "Too many workers joined from here; wait a minute.")
    return server.page("join.html.j2", request, action=f"/crowd/{token}?{request.url.query}", is_crowd=True)


@router.post("/crowd/{token}")
def join_crowd(token: str, request: Request, server: Server) -> Response:
    """Start a session for a worker, who is the same annotator whenever they open the link.

    Args:
        token: secret part of the link.
        request: HTTP request; its query names the worker.
        server: state of the server.

    Returns:
        A redirect to the judging page, with the session's cookie, or a page that explains what is missing.

    Raises:
        HTTPException: too many workers joined from the address, or it tried too many invalid links (429).
    """
    worker = _worker(token, request, server)
    if not isinstance(worker, CrowdWorker):
        return _problem_page(worker, request, server)
    address = _address(request)
    if server.too_many_new_workers(address) and not server.crowd.is_known(server.project, token, worker):
        raise HTTPException(429, "Too many workers joined from here; wait a minute.")
    entry = server.crowd.join(server.project, token, worker)
    if entry.refusal is not None:
        return _problem_page(entry.refusal, request, server)
    if entry.is_new:
        server.record_new_worker(address)
    assert entry.cookie is not None
    response = RedirectResponse("/", status_code=303)
    server.set_session(response, entry.cookie)
    return response


def _worker(token: str, request: Request, server: ServerState) -> CrowdWorker | Problem:
    """Return the worker whom the address names, or what is wrong with it; count and refuse invalid addresses.

    Args:
        token: secret part of the link.
        request: HTTP request.
        server: state of the server.

    Raises:
        HTTPException: too many invalid links were tried from the address (429).
    """
    address = _address(request)
    if server.too_many_failed_links(address):
        raise HTTPException(429, "Too many links were tried from here; wait a minute.")
    link = server.crowd.link(server.project, token)
    if link is None:
        server.record_failed_link(address)
        return "bad_link"
    query = request.query_params
    if is_preview(link, query):
        return "preview"
    names_worker_once = len(query.getlist(link.worker_parameter)) == 1
    worker = worker_of(link, query) if names_worker_once and len(request.url.query) <= MAX_ADDRESS else None
    if worker is None:
        server.record_failed_link(address)
        return "no_worker"
    return worker


def _problem_page(kind: Problem, request: Request, server: ServerState) -> HTMLResponse:
    """Return the page that explains a problem with a link."""
    page = server.page("error.html.j2", request, kind=kind)
    page.status_code = STATUS[kind]
    return page


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
