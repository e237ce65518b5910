"""Rendered records in the terminal: colored, in plain marks if piped, or as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.text import Text

from gnomon.data.records import NAMES
from gnomon.data.rendering.pieces import PieceKind, RenderedFile, RenderedRecord, RenderedSequence

MARKS: dict[PieceKind, tuple[str, str]] = {"masked": ("", ""), "trained": ("⟦", "⟧"), "stop": ("⟨", "⟩")}
STYLES: dict[PieceKind, str] = {"masked": "dim", "trained": "green", "stop": "bold reverse yellow"}
MEANINGS: dict[PieceKind, str] = {"trained": "trained", "stop": "trained, ends the turn", "masked": "read only"}


def visible(text: str) -> str:
    """Return a text with line ends as ↵ and a new line, and escapes for other unprintable characters."""
    return "".join(c if c.isprintable() else "↵\n" if c == "\n" else repr(c)[1:-1] for c in text)


def counts(sequence: RenderedSequence) -> str:
    """Return the numbers of a sequence's tokens by kind."""
    return ", ".join(f"{sequence.count(kind):,} {kind}" for kind in ("masked", "trained", "stop"))


def as_text(rendered: RenderedFile) -> str:
    """Format rendered records as plain text: trained tokens in ⟦ ⟧, those that end a turn in ⟨ ⟩."""
    lines = [f"{rendered.path}: {NAMES[rendered.kind]}; ⟦trained⟧ ⟨trained, ends the turn⟩ read only"]
    for record in rendered.records:
        for heading, sequence in _headed(record):
            lines.append(heading)
            if sequence is not None:
                pieces = (
                    "{0}{2}{1}".format(*MARKS[piece.kind], visible(piece.text)) for piece in sequence.pieces
                )
                lines.append("".join(pieces))
    return "\n".join(lines) + "\n"


def as_json(rendered: RenderedFile) -> dict[str, Any]:
    """Return rendered records as a JSON object."""
    return {
        "file": str(rendered.path),
        "kind": NAMES[rendered.kind],
        "records": [
            {
                "where": record.where,
                "reason": record.reason,
                "sequences": [
                    {
                        "name": one.name,
                        "tokens": {kind: one.count(kind) for kind in ("masked", "trained", "stop")},
                        "pieces": [{"kind": p.kind, "tokens": p.tokens, "text": p.text} for p in one.pieces],
                    }
                    for one in record.sequences
                ],
            }
            for record in rendered.records
        ],
    }


def show(rendered: RenderedFile) -> None:
    """Print rendered records: in colors on a terminal, with plain marks if output is piped."""
    console = Console(highlight=False)
    if not console.is_terminal:
        print(as_text(rendered), end="")
        return
    legend = Text.assemble(f"{rendered.path}: {NAMES[rendered.kind]}  ")
    for kind, meaning in MEANINGS.items():
        legend.append(meaning, STYLES[kind]).append("  ")
    console.print(legend)
    for record in rendered.records:
        for heading, sequence in _headed(record):
            console.print(Text(f"\n{heading}", "bold"))
            if sequence is not None:
                pieces = ((visible(piece.text), STYLES[piece.kind]) for piece in sequence.pieces)
                console.print(Text.assemble(*pieces), soft_wrap=True)


def _headed(record: RenderedRecord) -> Iterator[tuple[str, RenderedSequence | None]]:
    """Yield the heading of each sequence of a record with it; for a rejected row its reason alone."""
    if record.reason:
        yield f"{record.where}: not used, {record.reason}", None
    for sequence in record.sequences:
        yield f"{record.where}, {sequence.name}: {counts(sequence)}", sequence
