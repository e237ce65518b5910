"""Answers to the questions that qualify an annotator."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from gnomon.web.context import CurrentUser, Server, language_of
from gnomon.web.markdown import as_html
from gnomon.web.payloads import displayed_answer_in_words
from gnomon.web.schemas import QuestionPayload

router = APIRouter()


@router.post("/api/qualify")
def qualify(payload: QuestionPayload, request: Request, server: Server, user: CurrentUser) -> dict[str, Any]:
    """Store the answer to a question, and return whether it is right, and why.

    Args:
        payload: validated body of the request.
        request: HTTP request.
        server: state of the server.
        user: user who sent the request.

    Returns:
        `correct`: whether the answer is correct; `answer`: the correct one, in the displayed order; `words`: the
        same in words; `explanation`: HTML; `result`: null, or that of the attempt, whose last question it was.
    """
    payload.check(user)
    feedback = server.qualification.answer(user.annotator, payload.id, payload.item, payload.answer)
    result = feedback.result
    return {
        "correct": feedback.is_correct,
        "answer": feedback.right_answer,
        "words": displayed_answer_in_words(feedback.right_answer, server.texts[language_of(request)]),
        "explanation": as_html(feedback.explanation),
        "result": result
        and {
            "correct": result.correct,
            "questions": result.questions,
            "required": result.required,
            "passed": result.passed,
            "attempts_left": result.attempts_left,
        },
    }
