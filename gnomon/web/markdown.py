"""Prompts and completions as HTML: markdown and code, and nothing else that a text may ask for."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from markdown_it import MarkdownIt

from gnomon.core.types import Completion, Message

# No raw HTML, and no links or images: an untrusted text must not load, lead or look like a part of the page.
_MARKDOWN = (
    MarkdownIt("commonmark", {"html": False, "breaks": True})
    .enable("table")
    .disable(["image", "link", "autolink", "reference", "html_block", "html_inline", "entity"])
)


def as_html(text: str) -> str:
    """A text as HTML that is safe to put on the page."""
    found: str = _MARKDOWN.render(text.encode("utf-8", "replace").decode())
    return found


def message_as_html(message: Message) -> str:
    """A message as HTML; what the assistant thought before it spoke is a quotation."""
    thoughts = message.reasoning_content
    quoted = f"<blockquote>{as_html(thoughts)}</blockquote>" if thoughts else ""
    return quoted + as_html(message.content)


def completion_as_html(completion: Completion, roles: Mapping[str, str]) -> str:
    """A completion as HTML: a text, or its turns one after the other, each with who speaks.

    Args:
        completion: what to show.
        roles: what the page calls each role.
    """
    if completion.turns is None:
        return as_html(completion.text)
    return "".join(
        f'<div class="turn"><div class="who">{escape(roles[turn.role])}</div>'
        f'<div class="said">{message_as_html(turn)}</div></div>'
        for turn in completion.turns
    )
