"""What a file of data holds, before anything is trained on it: kind, faults, lengths, balance, a few rows."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Label, Preference, Prompt, Ranking, RatedText, Rejected
from gnomon.data.encoding import encode_answer, message_texts
from gnomon.data.reading.readers import scan_rows
from gnomon.data.reading.record_kinds import NAMES, PROBED, all_refused, kind_of, unread_keys
from gnomon.data.reading.records import EXPECTED, completions_of, prompt_of_record, scan_records
from gnomon.data.reading.unread_keys import KeysRead
from gnomon.data.templates.control_tokens import ControlCounts
from gnomon.data.templates.rendering import render_prompt

QUANTILES = {"least": 0.0, "median": 0.5, "90%": 0.9, "99%": 0.99, "most": 1.0}
REASONS = 5  # refused rows that are shown with their reason
SHOWN = 300  # characters of a rendered text that are shown
TOKENIZED = 2_000_000  # characters of a record: longer ones fit no context, and take minutes


@dataclass(frozen=True)
class Inspection:
    """The sound records of a file, all of one kind, and the rows that were refused.

    Attributes:
        unread: keys that no record of this kind is made from; a nested key stands behind its parents.
        tokens: where a tokenizer was given, of each record the tokens of its prompt and of its completions;
            `None` of one too long to count.
        words: control tokens that stand in the records' own words.
    """

    path: Path
    kind: type
    records: list[Any]
    refused: list[Rejected]
    unread: tuple[str, ...] = ()
    tokens: list[tuple[int, tuple[int, ...]] | None] | None = None
    words: ControlCounts = field(default_factory=ControlCounts)

    @property
    def rows(self) -> int:
        """Rows of the file that hold anything."""
        return len(self.records) + len(self.refused)


@dataclass(frozen=True)
class Lengths:
    """How long something is, by quantile."""

    of: str
    unit: str
    quantiles: dict[str, float]


def inspect(path: Path, tokenizer: Any = None) -> Inspection:
    """Read a whole file; rows with faults are kept with their reason.

    Args:
        path: of the file.
        tokenizer: of the model that will learn from it: tokens are counted, and rows that its chat template
            cannot write are refused.

    Raises:
        DataError: the file cannot be read, is empty, or every row of it is refused.
    """
    kind = kind_of([row for _, row in itertools.islice(scan_rows(path), PROBED)], path)
    keys = KeysRead()
    found = Inspection(path, kind, [], [], (), None if tokenizer is None else [])
    for where, record in scan_records(kind, path, keys):
        try:
            if isinstance(record, DataError):
                raise record
            if found.tokens is not None:
                found.tokens.append(_count(record, tokenizer, found.words))
            found.records.append(record)
        except DataError as error:
            reason = str(error).removeprefix(f"{path}, {where}: ").removesuffix(f"; {EXPECTED[kind]}")
            found.refused.append(Rejected(where, reason))
    if not found.records:
        reasons = [f"{row.where}: {row.reason}" for row in found.refused]
        raise DataError(f"{all_refused(path, reasons)[:-1]}; as {NAMES[kind]}, {EXPECTED[kind]}")
    return replace(found, unread=unread_keys(keys))


def _count(record: Any, tokenizer: Any, words: ControlCounts) -> tuple[int, tuple[int, ...]] | None:
    """Tokens of a record's prompt and of each completion, as training reads them; `None` where it is too long."""
    prompt = prompt_of_record(record)
    if prompt is None or _characters(record) > TOKENIZED:
        return None
    asked = len(render_prompt(tokenizer, prompt))
    answered = [encode_answer(tokenizer, prompt, one, record.where)[0] for one in completions_of(record)]
    words.add(tokenizer, prompt, completions_of(record))
    return asked, tuple(map(len, answered))


def _characters(record: Any) -> int:
    prompt = prompt_of_record(record)
    words = [] if prompt is None else message_texts(prompt)
    return sum(map(len, (*words, *(word for one in completions_of(record) for word in message_texts(one)))))


def facts(found: Inspection) -> list[tuple[str, str]]:
    """Counts of a file as name and value, in the order in which they are read."""
    records = found.records
    rows = [("kind", NAMES[found.kind]), ("rows", f"{found.rows:,}"), ("refused", f"{len(found.refused):,}")]
    prompts = {p.id for r in records if (p := prompt_of_record(r)) is not None}
    if prompts:
        rows.append(("distinct prompts", f"{len(prompts):,}"))
    answers = {(p.id, _key(c)) for r in records if (p := prompt_of_record(r)) for c in completions_of(r)}
    if answers:
        per_prompt = sorted(Counter(prompt for prompt, _ in answers).values())
        rows.append(("distinct completions", f"{len(answers):,}"))
        middle = float(np.median(per_prompt))
        rows.append(("completions per prompt", f"{per_prompt[0]} to {per_prompt[-1]}, median {middle:g}"))
        empty = sum(not c.text for r in records for c in completions_of(r))
        rows.append(("empty completions", f"{empty:,}"))
    rows.append(("exact duplicates", f"{duplicates(records):,}"))
    if found.unread:
        rows.append(("not read", ", ".join(found.unread)))
    rows += found.words.facts()
    if found.tokens and (long := found.tokens.count(None)) and found.kind is not RatedText:
        rows.append((f"longer than {TOKENIZED:,} characters, tokens not counted", f"{long:,}"))
    return [*rows, *_balance(found)]


def _key(completion: Completion) -> tuple[str, Any]:
    return completion.text, completion.turns


def duplicates(records: Iterable[Any]) -> int:
    """Rows beyond the first that say of the same texts the same."""
    return sum(n - 1 for n in Counter(_content(record) for record in records).values())


def _content(record: Any) -> tuple[Any, ...]:
    prompt = prompt_of_record(record)
    asked = prompt.messages if prompt is not None else record.text
    good = record.good if isinstance(record, Label) else None
    return (asked, tuple(map(_key, completions_of(record))), good, getattr(record, "ratings", None))


def _balance(found: Inspection) -> list[tuple[str, str]]:
    """For labels the share of good ones; for preferences how often the longer side is chosen, ties half."""
    records = found.records
    if found.kind is Label:
        good = sum(record.good for record in records)
        return [("good", f"{good:,} of {len(records):,} ({good / len(records):.1%})")]
    if found.kind is Preference:
        leads = np.array([len(r.chosen.text) - len(r.rejected.text) for r in records])
        share = float(np.mean((leads > 0) + 0.5 * (leads == 0)))
        return [("longer side is chosen", f"{share:.1%}"), ("sides equally long", f"{int((leads == 0).sum()):,}")]
    return []


def lengths(found: Inspection) -> list[Lengths]:
    """Quantiles of prompts, completions and texts in characters; where tokens were counted, in tokens too."""
    prompts = {p.id: p for r in found.records if (p := prompt_of_record(r)) is not None}
    parts: dict[str, list[int]] = {
        "prompts": [sum(len(m.content) for m in p.messages) for p in prompts.values()],
        "completions": [len(c.text) for r in found.records for c in completions_of(r)],
        "texts": [len(r.text) for r in found.records if isinstance(r, RatedText)],
    }
    table = [_quantiles(name, "characters", sizes) for name, sizes in parts.items() if sizes]
    counted = [
        (r, count) for r, count in zip(found.records, found.tokens or (), strict=False) if count is not None
    ]
    if not counted:
        return table
    asked = {p.id: size for r, (size, _) in counted if (p := prompt_of_record(r)) is not None}
    table.append(_quantiles("prompts", "tokens", list(asked.values())))
    answered = [size for _, (_, sizes) in counted for size in sizes]
    if answered:
        table.append(_quantiles("completions", "tokens", answered))
        whole = [size + one for _, (size, sizes) in counted for one in sizes]
        table.append(_quantiles("both together", "tokens", whole))
    return table


def _quantiles(of: str, unit: str, sizes: Sequence[int]) -> Lengths:
    values = np.quantile(sizes, list(QUANTILES.values()))
    return Lengths(of, unit, dict(zip(QUANTILES, map(float, values), strict=True)))


def shown(record: Any, tokenizer: Any = None) -> list[tuple[str, str]]:
    """A record as role and text; with a tokenizer as the model reads it, what is learned between ⟦ and ⟧."""
    prompt = prompt_of_record(record)
    if prompt is None:
        return [("text", short(record.text)), ("ratings", ", ".join(f"{r:g}" for r in record.ratings))]
    names = _names(record)
    if tokenizer is not None and _characters(record) <= TOKENIZED:
        asked = [("prompt", short(tokenizer.decode(render_prompt(tokenizer, prompt))))]
        read = [_marked(tokenizer, prompt, completion) for completion in completions_of(record)]
        return [*asked, *((name, short(text)) for name, text in zip(names, read, strict=True))]
    asked = [(str(message.role), short(message.content)) for message in prompt.messages]
    return [*asked, *((n, short(c.text)) for n, c in zip(names, completions_of(record), strict=True))]


def _names(record: Any) -> list[str]:
    if isinstance(record, Preference):
        return ["chosen", "rejected"]
    if isinstance(record, Label):
        return ["good" if record.good else "bad"]
    if isinstance(record, Ranking):
        return [f"rank {position}" for position in range(1, len(record.completions) + 1)]
    return ["completion"] * len(completions_of(record))


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
    """A text on one line, cut to `SHOWN` characters; what cannot be printed stands as an escape."""
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:SHOWN])
    return line + (f" … ({len(text):,} characters)" if len(text) > SHOWN else "")


def plain(found: Inspection, tokenizer: Any = None, rows: int = 3) -> str:
    """The whole inspection as plain text, one fact a line."""
    lines = [f"{name}: {value}" for name, value in facts(found)]
    for row in lengths(found):
        figures = ", ".join(f"{name} {value:,.0f}" for name, value in row.quantiles.items())
        lines.append(f"{row.of}, {row.unit}: {figures}")
    lines += [f"refused {r.where}: {r.reason}" for r in found.refused[:REASONS]]
    for number, record in enumerate(found.records[:rows], start=1):
        lines += [f"record {number}, {role}: {text}" for role, text in shown(record, tokenizer)]
    return "\n".join(lines) + "\n"


def show(found: Inspection, tokenizer: Any = None, rows: int = 3) -> None:
    """Print the inspection: tables on a terminal, plain lines where output is piped."""
    console = Console(highlight=False)
    if not console.is_terminal:
        print(plain(found, tokenizer, rows), end="")
        return

    def table(title: str, columns: Sequence[str], content: Iterable[Sequence[str]]) -> None:
        made = Table(*columns, title=Text(title), title_justify="left", show_header=any(columns))
        for line in content:
            made.add_row(*map(Text, line))  # a user's text is no markup
        console.print(made)

    table(str(found.path), ["", ""], facts(found))
    sizes = [[row.of, row.unit, *(f"{v:,.0f}" for v in row.quantiles.values())] for row in lengths(found)]
    table("lengths", ["of", "in", *QUANTILES], sizes)
    if found.refused:
        first = [(r.where, r.reason) for r in found.refused[:REASONS]]
        table(f"refused: {len(found.refused):,}, the first", ["where", "why"], first)
    for number, record in enumerate(found.records[:rows], start=1):
        table(f"record {number}", ["", ""], shown(record, tokenizer))
