"""Facts of an inspected file: counts, shares, and quantiles of lengths with a small histogram."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gnomon.core.types import Label, Preference, RatedText
from gnomon.data.inspection.inspect import Inspection
from gnomon.data.inspection.outline import TOKENIZED
from gnomon.data.reading.counting import counted
from gnomon.data.reading.media.values import NOUNS
from gnomon.data.records import NAMES

QUANTILES = {"least": 0.0, "median": 0.5, "90%": 0.9, "99%": 0.99, "most": 1.0}
RARE = 0.01  # share of letters, below which a script is not named
BINS, BARS = 16, " ▁▂▃▄▅▆▇█"


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


def facts(inspection: Inspection) -> list[tuple[str, str]]:
    """Return counts of a file as names and values, in the order of printing."""
    outlines = inspection.outlines
    because = f", because {inspection.evidence}" if inspection.evidence else ""
    rows = [
        ("file", inspection.container),
        ("format", f"{inspection.format}{because}"),
        ("kind", NAMES[inspection.kind]),
        ("rows", f"{inspection.rows:,}"),
        ("records", f"{len(outlines):,}"),
        ("refused", f"{len(inspection.refused):,}"),
    ]
    if inspection.joined:
        rows.append(("rows that are part of another row's record", f"{inspection.joined:,}"))
    prompts = {one.prompt for one in outlines if one.prompt is not None}
    if prompts:
        rows.append(("distinct prompts", f"{len(prompts):,}"))
    answers = {(one.prompt, answer) for one in outlines if one.prompt is not None for answer in one.completions}
    if answers:
        per_prompt = sorted(Counter(prompt for prompt, _ in answers).values())
        rows.append(("distinct completions", f"{len(answers):,}"))
        middle = float(np.median(per_prompt))
        rows.append(("completions per prompt", f"{per_prompt[0]} to {per_prompt[-1]}, median {middle:g}"))
        rows.append(("empty completions", f"{sum(one.empty for one in outlines):,}"))
    for index, noun in enumerate(NOUNS.values()):
        counts = [one.media[index] for one in outlines if one.media and one.media[index]]
        if counts:
            rows.append((f"records with {noun}", f"{len(counts):,}, {counted(sum(counts), noun)} in all"))
    rows.append(("exact duplicates", f"{len(outlines) - len({one.content for one in outlines}):,}"))
    if scripts := _scripts(inspection):
        rows.append(("scripts", scripts))
    if inspection.has_tokens and inspection.kind is not RatedText:
        long = sum(one.tokens is None and not one.media for one in outlines)
        if long:
            rows.append((f"longer than {TOKENIZED:,} characters, tokens not counted", f"{long:,}"))
    return [*rows, *_balance(inspection)]


def _scripts(inspection: Inspection) -> str:
    """Return the share of each script in the letters, rare ones together; "" without letters."""
    counts = inspection.scripts
    named = [(script, count / counts.total()) for script, count in counts.most_common()]
    shown = [f"{script} {share:.0%}" for script, share in named if share >= RARE]
    rare = sum(share for _, share in named if share < RARE)
    return ", ".join([*shown, *([f"others {rare:.1%}"] if rare else [])])


def _balance(inspection: Inspection) -> list[tuple[str, str]]:
    """Return the share of good labels, or the share of preferences for the longer side, ties counted half."""
    outlines = inspection.outlines
    if inspection.kind is Label:
        good = sum(bool(one.good) for one in outlines)
        return [("good", f"{good:,} of {len(outlines):,} ({good / len(outlines):.1%})")]
    if inspection.kind is Preference:
        gaps = np.array([one.sizes[0] - one.sizes[1] for one in outlines])
        share = float(np.mean((gaps > 0) + 0.5 * (gaps == 0)))
        return [("longer side is chosen", f"{share:.1%}"), ("sides equally long", f"{int((gaps == 0).sum()):,}")]
    return []


def lengths(inspection: Inspection) -> list[Lengths]:
    """Compute quantiles of prompts, completions and texts in characters, and in tokens if those were counted."""
    outlines = inspection.outlines
    prompts = {one.prompt: one.prompt_size for one in outlines if one.prompt is not None}
    parts: dict[str, list[int]] = {
        "prompts": list(prompts.values()),
        "completions": [size for one in outlines for size in one.sizes],
        "texts": [one.text_size for one in outlines if one.text_size is not None],
    }
    table = [_quantiles(name, "characters", sizes) for name, sizes in parts.items() if sizes]
    counted = [(one.prompt, one.tokens) for one in outlines if one.tokens is not None]
    if not counted:
        return table
    of_prompts = {prompt: size for prompt, (size, _) in counted}
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
