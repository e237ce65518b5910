"""The report of `gnomon data inspect`: tables on a terminal, plain lines if piped, or JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gnomon.core.types import Completion, Message, Prompt
from gnomon.data.encoding import encode_answer
from gnomon.data.inspection.facts import QUANTILES, facts, lengths
from gnomon.data.inspection.inspect import Inspection
from gnomon.data.inspection.outline import TOKENIZED, characters
from gnomon.data.inspection.problems import problems
from gnomon.data.quality.completion_roles import completion_roles
from gnomon.data.reading.counting import counted
from gnomon.data.reading.media.parts import shown_content, shown_turns
from gnomon.data.reading.messages import text_of_turns
from gnomon.data.records import NAMES, completions_of, prompt_of_record, record_media
from gnomon.data.templates.rendering import render_prompt

LONGEST_TEXT = 300  # characters of a rendered text that are printed


def preview(record: Any, tokenizer: Any = None) -> list[tuple[str, str]]:
    """Render a record as roles and texts; with a tokenizer as the model reads it, learned parts in ⟦ ⟧."""
    prompt = prompt_of_record(record)
    if prompt is None:
        return [("text", short(record.text)), ("ratings", ", ".join(f"{r:g}" for r in record.ratings))]
    names = [role.name for role in completion_roles(record)]
    if tokenizer is not None and characters(record) <= TOKENIZED and not record_media(record):
        rendered = short(tokenizer.decode(render_prompt(tokenizer, prompt)))
        answers = [_marked(tokenizer, prompt, completion) for completion in completions_of(record)]
        return [("prompt", rendered), *((name, short(text)) for name, text in zip(names, answers, strict=True))]
    turns = [("tool", short(tool)) for tool in prompt.tools]
    turns += [(str(one.role), short(_with_calls(shown_content(one), [one]))) for one in prompt.messages]
    texts = [
        (name, short(_with_calls(_shown_text(one), one.turns or ())))
        for name, one in zip(names, completions_of(record), strict=True)
    ]
    return [*turns, *texts]


def _shown_text(completion: Completion) -> str:
    return text_of_turns(shown_turns(completion.turns)) if completion.turns else completion.text


def _with_calls(text: str, turns: Sequence[Message]) -> str:
    """A text, followed by the tool calls of its turns as JSON."""
    return "\n".join(filter(None, (text, *(call for turn in turns for call in turn.tool_calls))))


def _marked(tokenizer: Any, prompt: Prompt, completion: Completion) -> str:
    ids, mask = encode_answer(tokenizer, prompt, completion, "completion")
    pieces: list[str] = []
    start = 0
    for position in range(1, len(ids) + 1):
        if position == len(ids) or mask[position] != mask[start]:
            piece = tokenizer.decode(list(ids[start:position]))
            pieces.append(f"⟦{piece}⟧" if mask[start] else piece)
            start = position
    return "".join(pieces)


def short(text: str) -> str:
    """Format a text as one line of at most `LONGEST_TEXT` characters, with escapes for unprintable ones."""
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:LONGEST_TEXT])
    return line + (f" … ({counted(len(text), 'characters')})" if len(text) > LONGEST_TEXT else "")


def as_text(inspection: Inspection, tokenizer: Any = None, rows: int = 3) -> str:
    """Format the inspection as plain text, one fact per line.

    Args:
        inspection: of a file.
        tokenizer: with it, records are printed as the model reads them.
        rows: number of records to print.
    """
    lines = [f"{name}: {value}" for name, value in facts(inspection)]
    for row in lengths(inspection):
        figures = ", ".join(f"{name} {value:,.0f}" for name, value in row.quantiles.items())
        lines.append(f"{row.of}, {row.unit}: {figures} |{row.picture}|")
    lines += [f"{one.severity}: {one.sentence()}" for one in problems(inspection)]
    for number, record in enumerate(inspection.records[:rows], start=1):
        lines += [f"record {number}, {role}: {text}" for role, text in preview(record, tokenizer)]
    return "\n".join(lines) + "\n"


def as_json(inspection: Inspection, tokenizer: Any = None, rows: int = 3) -> dict[str, Any]:
    """Return the inspection as a JSON object.

    Args:
        inspection: of a file.
        tokenizer: with it, records are given as the model reads them.
        rows: number of records.
    """
    return {
        "file": str(inspection.path),
        "container": inspection.container,
        "format": inspection.format,
        "evidence": inspection.evidence,
        "kind": NAMES[inspection.kind],
        "rows": inspection.rows,
        "used": len(inspection.outlines),
        "not_used": [{"where": row.where, "reason": row.reason} for row in inspection.refused],
        "facts": dict(facts(inspection)),
        "lengths": [asdict(row) for row in lengths(inspection)],
        "problems": [asdict(one) for one in problems(inspection)],
        "records": [dict_of(preview(record, tokenizer)) for record in inspection.records[:rows]],
    }


def dict_of(parts: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """Return a rendered record as JSON objects, in order: roles may occur several times."""
    return [{"role": role, "text": text} for role, text in parts]


def show(inspection: Inspection, tokenizer: Any = None, rows: int = 3) -> None:
    """Print the inspection: tables on a terminal, plain lines if output is piped.

    Args:
        inspection: of a file.
        tokenizer: with it, records are printed as the model reads them.
        rows: number of records to print.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        print(as_text(inspection, tokenizer, rows), end="")
        return

    def print_table(title: str, columns: Sequence[str], content: Iterable[Sequence[str]]) -> None:
        table = Table(*columns, title=Text(title), title_justify="left", show_header=any(columns))
        for line in content:
            table.add_row(*map(Text, line))  # a user's text is no markup
        console.print(table)

    print_table(str(inspection.path), ["", ""], facts(inspection))
    sizes = [
        [row.of, row.unit, *(f"{v:,.0f}" for v in row.quantiles.values()), row.picture]
        for row in lengths(inspection)
    ]
    print_table("lengths", ["of", "in", *QUANTILES, "0 to 99%"], sizes)
    if listed := problems(inspection):
        print_table("problems", ["", ""], [(one.severity, one.sentence()) for one in listed])
    for number, record in enumerate(inspection.records[:rows], start=1):
        print_table(f"record {number}", ["", ""], preview(record, tokenizer))
