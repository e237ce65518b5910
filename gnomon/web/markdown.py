"""Renders prompts and completions as HTML: markdown and code only, from an allow-list of elements."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape

from markdown_it import MarkdownIt

from gnomon.core.types import Completion, JsonText, Message

# No raw HTML, links or images: an untrusted text must not load anything, link anywhere or imitate the page.
_MARKDOWN = (
    MarkdownIt("commonmark", {"html": False, "breaks": True})
    .enable("table")
    .disable(["image", "link", "autolink", "reference", "html_block", "html_inline", "entity"])
)


def as_html(text: str) -> str:
    """Render a text as HTML that is safe to insert into a page."""
    html: str = _MARKDOWN.render(text.encode("utf-8", "replace").decode())
    return html


def message_as_html(message: Message) -> str:
    """Render a message as HTML: reasoning as a block quote, the text, and tool calls as code."""
    reasoning = message.reasoning_content
    quoted = f"<blockquote>{as_html(reasoning)}</blockquote>" if reasoning else ""
    return quoted + as_html(message.content) + "".join(map(call_as_html, message.tool_calls))


def call_as_html(call: JsonText) -> str:
    """Render a tool call as code: the function's name and its arguments."""
    function = json.loads(call)["function"]
    arguments = json.dumps(function["arguments"], ensure_ascii=False, indent=2)
    written = f"{function['name']}({arguments})".encode("utf-8", "replace").decode()
    return f"<pre><code>{escape(written)}</code></pre>"


def completion_as_html(completion: Completion, roles: Mapping[str, str]) -> str:
    """Render a completion as HTML: its text, or its turns in sequence, each with the role's name.

    Args:
        completion: completion to render.
        roles: role to its name in the page's language.
    """
    if completion.turns is None:
        return as_html(completion.text)
    return "".join(
        f'<div class="turn"><div class="who">{escape(roles[turn.role])}</div>'
        f'<div class="message">{message_as_html(turn)}</div></div>'
        for turn in completion.turns
    )
