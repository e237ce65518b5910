"""The reviewers' pages: disputed items with all judgements and reasons, and the decisions on them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Request
from fastapi.responses import HTMLResponse

from gnomon.feedback.quality.written_quality import CheckedText
from gnomon.feedback.task_types import DEMONSTRATION, setup_of
from gnomon.feedback.tasks.adjudication import MAX_LISTED, decide, decided_items, disputed_items, review_item
from gnomon.web.context import Reviewer, Server, ServerState, language_of, reviewer
from gnomon.web.markdown import as_html, completion_as_html, message_as_html
from gnomon.web.payloads import scores_of
from gnomon.web.schemas import DecisionPayload, ItemNumber

router = APIRouter(dependencies=[Depends(reviewer)])


@router.get("/review")
def show_disputed(request: Request, server: Server, user: Reviewer) -> HTMLResponse:
    """Show the page of disputed and decided items.

    Args:
        request: HTTP request.
        server: state of the server.
        user: reviewer who sent the request.
    """
    return server.page(
        "review.html.j2",
        request,
        user=user,
        waiting=disputed_items(server.store, server.project),
        settled=decided_items(server.store, server.project),
        flagged=_flagged(server)[-MAX_LISTED:][::-1],
    )


@router.get("/review/{item}")
def show_item(
    item: Annotated[ItemNumber, Path()], request: Request, server: Server, user: Reviewer
) -> HTMLResponse:
    """Show the page of one item with its judgements and skips.

    Only administrators see annotators' names, gold items, and items without a dispute, unless their answers are
    written.

    Args:
        item: number of the item.
        request: HTTP request.
        server: state of the server.
        user: reviewer who sent the request.

    Raises:
        HTTPException: a reviewer opens an item that is neither disputed nor decided.
    """
    details = review_item(server.store, server.project, item)
    is_disputed = details.state == "disputed" or details.decision is not None
    disputable = not details.completions or (details.gold is None and is_disputed)
    if user.role != "admin" and not disputable:
        raise HTTPException(403, "Reviewers see disputed items only.")
    project = server.store.project(server.project)
    roles = server.texts[language_of(request)]["page"]["roles"]
    criteria = setup_of(project.settings).criteria_of(project.task)
    answers = {one.id: one.answer for one in details.judgements}
    if details.decision is not None:
        answers[details.decision["id"]] = details.decision["answer"]
    texts = {name: str(answer["text"]) for name, answer in answers.items() if "text" in answer}
    return server.page(
        "item.html.j2",
        request,
        user=user,
        details=details,
        prompt=[(message.role, message_as_html(message)) for message in details.prompt.messages],
        completions=[completion_as_html(completion, roles) for completion in details.completions],
        criteria=criteria,
        scale=scores_of(project),
        texts={name: as_html(text) for name, text in texts.items()},
        flags={one.text.written.id: one.flags for one in _flagged(server) if one.item == item},
        usual={"text": list(texts.values())[-1]} if texts else None,
    )


def _flagged(server: ServerState) -> list[CheckedText]:
    """Return the written texts in which a check found something, in order of arrival."""
    if server.store.project(server.project).task != DEMONSTRATION:
        return []
    return [one for one in server.checked_texts() if one.flags]


@router.post("/api/review/decide")
def settle_item(payload: DecisionPayload, server: Server, user: Reviewer) -> dict[str, Any]:
    """Record a reviewer's decision; a repeated request has no further effect.

    Args:
        payload: validated body of the request.
        server: state of the server.
        user: reviewer who sent the request.
    """
    decide(
        server.store,
        server.project,
        payload.item,
        user.annotator,
        payload.answer,
        id=payload.id,
        reason=payload.reason,
        corrects=payload.corrects,
    )
    return {}
