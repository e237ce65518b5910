"""Inspection of a data file before training: its format, records, refused rows, facts, and lengths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Label, Preference, RatedText, RejectedRow
from gnomon.data.encoding import encode_answer, message_texts
from gnomon.data.formats.own_layout import OWN_TITLE
from gnomon.data.formats.registry import OWN, RowLayout
from gnomon.data.reading.readers import source_title
from gnomon.data.reading.row_fields import KeysRead
from gnomon.data.record_kinds import KINDS, all_refused, kind_of_file, unread_keys
from gnomon.data.records import EXPECTED, NAMES, completions_of, prompt_of_record, recognize_file, scan_records
from gnomon.data.scripts import script_counts
from gnomon.data.templates.control_tokens import ControlCounts
from gnomon.data.templates.rendering import render_prompt

QUANTILES = {"least": 0.0, "median": 0.5, "90%": 0.9, "99%": 0.99, "most": 1.0}
RARE = 0.01  # share of letters, below which a script is not named
BINS, BARS = 16, " ▁▂▃▄▅▆▇█"
TOKENIZED = 2_000_000  # characters of a record; longer ones fit no context, and take minutes


@dataclass(frozen=True)
class Inspection:
    """The valid records of a file, all of one kind, and the refused rows.

    Attributes:
        container: what kind of file it is, as in `JSON lines, gzip`.
        format: title of its format.
        evidence: why it has that format; "" where its user chose it or it is Gnomon's own.
        unread: keys that records of this kind do not use; a nested key comes after its parents, as `a.b`.
        tokens: with a tokenizer, for each record the token counts of its prompt and completions; `None` for a
            record too long to count.
        control_tokens: counts of control tokens in the records' texts.
    """

    path: Path
    kind: type
    records: list[Any]
    refused: list[RejectedRow]
    container: str = ""
    format: str = OWN_TITLE
    evidence: str = ""
    unread: tuple[str, ...] = ()
    tokens: list[tuple[int, tuple[int, ...]] | None] | None = None
    control_tokens: ControlCounts = field(default_factory=ControlCounts)

    @property
    def rows(self) -> int:
        """Number of rows of the file that are not blank."""
        return len(self.records) + len(self.refused)


@dataclass(frozen=True)
class Lengths:
    """Quantiles of lengths.

    Attributes:
        of: part of the records.
        unit: `characters` or `tokens`.
        quantiles: by name.
        picture: a histogram of `BINS` bars from 0 to the 99% quantile, of the same width; the last one has all
            longer ones too.
    """

    of: str
    unit: str
    quantiles: dict[str, float]
    picture: str


def inspect(path: Path, tokenizer: Any = None, layout: RowLayout = OWN) -> Inspection:
    """Read a whole file; refused rows are collected with their reason.

    Args:
        path: of the file.
        tokenizer: of the model that will learn from it; with it, tokens are counted, and rows that its chat
            template refuses are refused.
        layout: the layout of its rows, where the user gave one.

    Raises:
        DataError: the file cannot be read, is empty, or every row of it is refused.
    """
    kind = kind_of_file(path, KINDS, layout)
    keys = KeysRead()
    match = recognize_file(path, (kind,), layout)
    inspection = Inspection(path, kind, [], [], source_title(path), tokens=None if tokenizer is None else [])
    if match:
        inspection = replace(inspection, format=match.format.title, evidence=match.evidence)
    for where, record in scan_records(kind, path, keys, layout):
        try:
            if isinstance(record, DataError):
                raise record
            if inspection.tokens is not None:
                inspection.tokens.append(_count(record, tokenizer, inspection.control_tokens))
            inspection.records.append(record)
        except DataError as error:
            reason = str(error).removeprefix(f"{path}, {where}: ").removesuffix(f"; {EXPECTED[kind]}")
            reason = reason.removesuffix(f"; as {inspection.format}.")
            inspection.refused.append(RejectedRow(where, reason))
    if not inspection.records:
        reasons = [f"{row.where}: {row.reason}" for row in inspection.refused]
        raise DataError(f"{all_refused(path, reasons)[:-1]}; as {NAMES[kind]}, {EXPECTED[kind]}")
    return replace(inspection, unread=unread_keys(keys))


def _count(record: Any, tokenizer: Any, counts: ControlCounts) -> tuple[int, tuple[int, ...]] | None:
    """Count the tokens of a record's prompt and of each completion, as in training; `None` if it is too long."""
    prompt = prompt_of_record(record)
    if prompt is None or characters(record) > TOKENIZED:
        return None
    prompt_ids = render_prompt(tokenizer, prompt)
    answers = [encode_answer(tokenizer, prompt, one, record.where)[0] for one in completions_of(record)]
    counts.add(tokenizer, prompt, completions_of(record))
    return len(prompt_ids), tuple(map(len, answers))


def characters(record: Any) -> int:
    """Count the characters of a record's texts."""
    prompt = prompt_of_record(record)
    texts = [] if prompt is None else message_texts(prompt)
    return sum(map(len, (*texts, *(text for one in completions_of(record) for text in message_texts(one)))))


def facts(inspection: Inspection) -> list[tuple[str, str]]:
    """Return counts of a file as names and values, in the order of printing."""
    records = inspection.records
    because = f", because {inspection.evidence}" if inspection.evidence else ""
    rows = [
        ("file", inspection.container),
        ("format", f"{inspection.format}{because}"),
        ("kind", NAMES[inspection.kind]),
        ("rows", f"{inspection.rows:,}"),
        ("refused", f"{len(inspection.refused):,}"),
    ]
    prompts = {p.id for r in records if (p := prompt_of_record(r)) is not None}
    if prompts:
        rows.append(("distinct prompts", f"{len(prompts):,}"))
    answers = {(p.id, _key(c)) for r in records if (p := prompt_of_record(r)) for c in completions_of(r)}
    if answers:
        per_prompt = sorted(Counter(prompt for prompt, _ in answers).values())
        rows.append(("distinct completions", f"{len(answers):,}"))
        middle = float(np.median(per_prompt))
        rows.append(("completions per prompt", f"{per_prompt[0]} to {per_prompt[-1]}, median {middle:g}"))
        empty = sum(is_empty(c) for r in records for c in completions_of(r))
        rows.append(("empty completions", f"{empty:,}"))
    rows.append(("exact duplicates", f"{duplicates(records):,}"))
    if scripts := _scripts(records):
        rows.append(("scripts", scripts))
    if inspection.tokens and (long := inspection.tokens.count(None)) and inspection.kind is not RatedText:
        rows.append((f"longer than {TOKENIZED:,} characters, tokens not counted", f"{long:,}"))
    return [*rows, *_balance(inspection)]


def _scripts(records: Sequence[Any]) -> str:
    """Return the share of each script in the letters of the records, rare ones together; "" without letters."""
    counts: Counter[str] = Counter()
    for record in records:
        prompt = prompt_of_record(record)
        texts = [*(message.content for message in (prompt.messages if prompt else ()))]
        texts += [completion.text for completion in completions_of(record)]
        for text in (*texts, *([record.text] if isinstance(record, RatedText) else ())):
            counts.update(script_counts(text))
    named = [(script, count / counts.total()) for script, count in counts.most_common()]
    shown = [f"{script} {share:.0%}" for script, share in named if share >= RARE]
    rare = sum(share for _, share in named if share < RARE)
    return ", ".join([*shown, *([f"others {rare:.1%}"] if rare else [])])


def is_empty(completion: Completion) -> bool:
    """Return whether a completion has neither a text nor a tool call."""
    return not completion.text.strip() and not _in_calls(completion)


def _in_calls(completion: Completion) -> int:
    """Count the characters of a completion's tool calls."""
    return sum(len(call) for turn in completion.turns or () for call in turn.tool_calls)


def _key(completion: Completion) -> tuple[str, Any]:
    return completion.text, completion.turns


def duplicates(records: Iterable[Any]) -> int:
    """Count the rows that repeat an earlier one: the same texts with the same label or ratings."""
    return sum(n - 1 for n in Counter(content_of(record) for record in records).values())


def content_of(record: Any) -> tuple[Any, ...]:
    """Return what two equal rows have in common: the texts, with their label or ratings."""
    prompt = prompt_of_record(record)
    turns = prompt.context if prompt is not None else record.text
    good = record.good if isinstance(record, Label) else None
    return (turns, tuple(map(_key, completions_of(record))), good, getattr(record, "ratings", None))


def _balance(inspection: Inspection) -> list[tuple[str, str]]:
    """Return the share of good labels, or the share of preferences for the longer side, ties counted half."""
    records = inspection.records
    if inspection.kind is Label:
        good = sum(record.good for record in records)
        return [("good", f"{good:,} of {len(records):,} ({good / len(records):.1%})")]
    if inspection.kind is Preference:
        gaps = np.array([len(r.chosen.text) - len(r.rejected.text) for r in records])
        share = float(np.mean((gaps > 0) + 0.5 * (gaps == 0)))
        return [("longer side is chosen", f"{share:.1%}"), ("sides equally long", f"{int((gaps == 0).sum()):,}")]
    return []


def lengths(inspection: Inspection) -> list[Lengths]:
    """Compute quantiles of prompts, completions and texts in characters, and in tokens if those were counted."""
    prompts = {p.id: p for r in inspection.records if (p := prompt_of_record(r)) is not None}
    parts: dict[str, list[int]] = {
        "prompts": [sum(map(len, message_texts(p))) for p in prompts.values()],
        "completions": [len(c.text) + _in_calls(c) for r in inspection.records for c in completions_of(r)],
        "texts": [len(r.text) for r in inspection.records if isinstance(r, RatedText)],
    }
    table = [_quantiles(name, "characters", sizes) for name, sizes in parts.items() if sizes]
    counted = [
        (r, count)
        for r, count in zip(inspection.records, inspection.tokens or (), strict=False)
        if count is not None
    ]
    if not counted:
        return table
    of_prompts = {p.id: size for r, (size, _) in counted if (p := prompt_of_record(r)) is not None}
    table.append(_quantiles("prompts", "tokens", list(of_prompts.values())))
    of_completions = [size for _, (_, sizes) in counted for size in sizes]
    if of_completions:
        table.append(_quantiles("completions", "tokens", of_completions))
        whole = [size + one for _, (size, sizes) in counted for one in sizes]
        table.append(_quantiles("both together", "tokens", whole))
    return table


def _quantiles(of: str, unit: str, sizes: Sequence[int]) -> Lengths:
    values = np.quantile(sizes, list(QUANTILES.values()))
    quantiles = dict(zip(QUANTILES, map(float, values), strict=True))
    return Lengths(of, unit, quantiles, picture(sizes, quantiles["99%"]))


def picture(sizes: Sequence[int], top: float) -> str:
    """Draw a histogram of sizes from 0 to `top`, one character a bar; larger ones count in the last bar."""
    top = max(top, 1.0)
    counts, _ = np.histogram(np.minimum(sizes, top), bins=BINS, range=(0.0, top))
    heights = np.ceil(counts / counts.max() * (len(BARS) - 1)).astype(int)
    return "".join(BARS[height] for height in heights)
