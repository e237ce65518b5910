"""What a browser is told: of a project, how it asks; of an item, texts as HTML, in the annotator's own order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnomon.core.storage.digests import digest
from gnomon.feedback.store.store import Project
from gnomon.feedback.task_types import MAX_TEXT_CHARS, setup_of
from gnomon.feedback.tasks.queue import AnnotationTask
from gnomon.web.markdown import completion_as_html, message_as_html


def way_of_asking(project: Project, texts: Mapping[str, Any]) -> dict[str, Any]:
    """What the page needs to ask a project's questions, in one language.

    Criteria that Gnomon knows are named and explained in that language; others are named as given.
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
        "shortest": setup.min_reason_chars,
        "longest": MAX_TEXT_CHARS,
        "guidelines": digest(project.guidelines)[:16],  # which they are: those that were read need not stay open
    }


def scores_of(project: Project) -> tuple[int, int]:
    """The least and the greatest whole number that the project's scale has; zeros where nothing is scored."""
    return setup_of(project.settings).whole_scale_of(project.task)


def item_for_page(task: AnnotationTask, roles: Mapping[str, str]) -> dict[str, Any]:
    """A task as a browser gets it: no source, no id of a completion; `roles` are the page's names of them."""
    return {
        "item": task.item,
        "kind": task.kind,
        "prompt": [{"role": m.role, "html": message_as_html(m)} for m in task.prompt.messages],
        "completions": [{"html": completion_as_html(c, roles)} for c in task.completions],
        "draft": task.draft,
    }
