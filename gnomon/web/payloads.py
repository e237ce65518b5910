"""Data for the browser: a project's question format, and items as HTML in the order shown to the annotator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnomon.core.storage.digests import digest
from gnomon.feedback.store.store import Project
from gnomon.feedback.task_types import setup_of
from gnomon.feedback.tasks.qualification import QuestionTask
from gnomon.feedback.tasks.queue import AnnotationTask
from gnomon.feedback.written_answers import MAX_TEXT_CHARS
from gnomon.web.markdown import as_html, completion_as_html, message_as_html


def question_format(project: Project, texts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the project's task, scale, criteria and limits, for the page's script.

    Built-in criteria are labeled and explained in the language of `texts`; others by their own name.
    """
    setup = setup_of(project.settings)
    low, high = scores_of(project)
    return {
        "task": project.task,
        "low": low,
        "high": high,
        "criteria": [
            {"name": name, "label": name, "about": ""} | texts["criteria"].get(name, {})
            for name in setup.criteria_of(project.task)
        ],
        "confidence": setup.confidence,
        "rewrite": setup.rewrite,
        "min_chars": setup.min_answer_chars,
        "max_chars": setup.max_answer_chars,
        "check_language": setup.check_language,
        "shortest": setup.min_reason_chars,
        "longest": MAX_TEXT_CHARS,
        "guidelines": digest(project.guidelines)[:16],  # the page opens the guidelines if this changed
    }


def scores_of(project: Project) -> tuple[int, int]:
    """Return the lowest and the highest whole number on the project's scale; zeros for tasks without scores."""
    return setup_of(project.settings).whole_scale_of(project.task)


def item_for_page(task: AnnotationTask, roles: Mapping[str, str]) -> dict[str, Any]:
    """Return a task for the browser, without sources or completion ids; `roles` are the page's names of roles."""
    return {
        "item": task.item,
        "kind": task.kind,
        "prompt": [{"role": m.role, "html": message_as_html(m)} for m in task.prompt.messages],
        "completions": [{"html": completion_as_html(c, roles)} for c in task.completions],
        "draft": task.draft,
        "reviews": task.reviews,
        "written": task.written or "",
        "written_html": as_html(task.written or ""),
    }


def question_for_page(task: QuestionTask, roles: Mapping[str, str]) -> dict[str, Any]:
    """Return a question for the browser, with its number; `roles` are the page's names of roles."""
    return {
        "item": task.item,
        "kind": task.kind,
        "prompt": [{"role": m.role, "html": message_as_html(m)} for m in task.prompt.messages],
        "completions": [{"html": completion_as_html(c, roles)} for c in task.completions],
        "draft": None,
        "question": {
            "number": task.number,
            "questions": task.questions,
            "attempt": task.attempt,
            "attempts": task.attempts,
        },
    }


def displayed_answer_in_words(answer: Mapping[str, Any], texts: Mapping[str, Any]) -> str:
    """Describe an answer on completions in the order in which the judging page numbers them."""
    if "choice" in answer:
        names = {"first": "first_better", "second": "second_better"}
        return str(texts[names.get(answer["choice"], answer["choice"])])
    if "order" in answer:
        return " > ".join(str(position + 1) for position in answer["order"])
    labels = {name: about["label"] for name, about in texts["criteria"].items()}
    return str(texts["semicolon"]).join(
        f"{position}{texts['colon']}"
        + str(texts["comma"]).join(f"{labels.get(name, name)} {score}" for name, score in scores.items())
        for position, scores in enumerate(answer["scores"], start=1)
    )
