"""The reviewers' pages: disputed items with everybody's answers and reasons, and what is decided of them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Request
from fastapi.responses import HTMLResponse

from gnomon.feedback.task_types import setup_of
from gnomon.feedback.tasks.adjudication import decide, decided_items, disputed_items, review_item
from gnomon.web.context import Reviewer, Server, language_of, reviewer
from gnomon.web.markdown import completion_as_html, message_as_html
from gnomon.web.payloads import scores_of
from gnomon.web.schemas import DecisionPayload, ItemNumber

router = APIRouter(dependencies=[Depends(reviewer)])


@router.get("/review")
def show_disputed(request: Request, here: Server, who: Reviewer) -> HTMLResponse:
    """What waits for a decision, and what was decided."""
    return here.page(
        "review.html.j2",
        request,
        user=who,
        waiting=disputed_items(here.store, here.project),
        settled=decided_items(here.store, here.project),
    )


@router.get("/review/{item}")
def show_item(item: Annotated[ItemNumber, Path()], request: Request, here: Server, who: Reviewer) -> HTMLResponse:
    """An item with all that was said of it.

    Names are for administrators, and so are items that nobody disputes or whose answer is known.

    Raises:
        HTTPException: a reviewer asks for another item.
    """
    found = review_item(here.store, here.project, item)
    disputable = found.gold is None and (found.state == "disputed" or found.decision is not None)
    if who.role != "admin" and not disputable:
        raise HTTPException(403, "Reviewers see disputed items only.")
    asked = here.store.project(here.project)
    roles = here.texts[language_of(request)]["page"]["roles"]
    criteria = setup_of(asked.settings).criteria_of(asked.task)
    return here.page(
        "item.html.j2",
        request,
        user=who,
        found=found,
        prompt=[(message.role, message_as_html(message)) for message in found.prompt.messages],
        completions=[completion_as_html(completion, roles) for completion in found.completions],
        criteria=criteria,
        scale=scores_of(asked),
    )


@router.post("/api/review/decide")
def settle_item(sent: DecisionPayload, here: Server, who: Reviewer) -> dict[str, Any]:
    """What a reviewer decides; sent again, it is acknowledged again."""
    decide(
        here.store,
        here.project,
        sent.item,
        who.annotator,
        sent.answer,
        id=sent.id,
        reason=sent.reason,
        corrects=sent.corrects,
    )
    return {}
