"""Rules that score completions without a model: length, repetition, diversity, format, exact match."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from gnomon.core.types import Completion, Prompt


def length(completions: Sequence[Completion], limit: int) -> list[float]:
    """−1 for each `limit` characters beyond the first `limit`: 0 up to there, −1 at twice the limit, `[N]`."""
    return [-max(0, len(c.text) - limit) / limit for c in completions]


def repetition(completions: Sequence[Completion], n: int) -> list[float]:
    """Minus the share of repeated character n-grams, `[N]`; works for any language."""

    def share(text: str) -> float:
        grams = [text[i : i + n] for i in range(len(text) - n + 1)]
        return 1 - len(set(grams)) / len(grams) if grams else 0.0

    return [-share(c.text) for c in completions]


def diversity(prompts: Sequence[Prompt], completions: Sequence[Completion], n: int) -> list[float]:
    """Difference of a completion from the others of its prompt, 0 to 1, `[N]`.

    One minus the mean overlap (Jaccard) of its character n-grams with those of each other one; 0 if it is
    the only one.

    Args:
        prompts: N prompts.
        completions: N completions.
        n: characters of an n-gram.
    """
    grams = [Counter(c.text[i : i + n] for i in range(len(c.text) - n + 1)) for c in completions]
    scores = [0.0] * len(completions)
    for row, prompt in enumerate(prompts):
        others = [o for o, p in enumerate(prompts) if p.id == prompt.id and o != row]
        if others:
            scores[row] = 1 - sum(_overlap(grams[row], grams[o]) for o in others) / len(others)
    return scores


def _overlap(a: Counter[str], b: Counter[str]) -> float:
    either = (a | b).total()
    return (a & b).total() / either if either else 1.0


def matches(completions: Sequence[Completion], pattern: str) -> list[float]:
    """1 if a regular expression matches the whole text, else 0, `[N]`."""
    form = re.compile(pattern, re.DOTALL)
    return [float(form.fullmatch(c.text.strip()) is not None) for c in completions]


def exact(prompts: Sequence[Prompt], completions: Sequence[Completion], pattern: str | None) -> list[float]:
    """1 if the text, or the part that `pattern` matches, is the prompt's `answer`; NaN without one, `[N]`.

    Args:
        prompts: N prompts with their answers.
        completions: N completions.
        pattern: a regular expression; its first group is compared, or the whole match. `None` compares the text.
    """
    form = re.compile(pattern, re.DOTALL) if pattern else None
    scores = []
    for prompt, completion in zip(prompts, completions, strict=True):
        text: str | None = completion.text
        if form:
            match = form.search(completion.text)
            text = match.group(1 if form.groups else 0) if match else None
        right = text is not None and prompt.answer is not None and text.strip() == prompt.answer.strip()
        scores.append(float("nan") if prompt.answer is None else float(right))
    return scores
