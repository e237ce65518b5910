"""A user's own ratings: rows gathered into texts, split so that nothing is on two sides, and sampled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from gnomon.core.errors import DataError
from gnomon.core.types import Prompt, RatedText
from gnomon.data.splits import JUDGE_HOLDOUT, neutral_sample, normalized_text, split_items

DemonstrationChoice = Literal["neutral", "best"]


def gather_ratings(rows: Sequence[RatedText]) -> list[RatedText]:
    """One item for each text under its prompt, whether its ratings came in one row or one a row.

    A rater has one voice a text: a later rating by the same name is a correction and counts alone. Ratings
    without a name each count.

    Args:
        rows: as read, in the order of the file.

    Returns:
        The items in the order in which they first appear, with the id of their first row.

    Raises:
        DataError: one id stands for two texts, or some texts have a prompt and others none.
    """
    first: dict[tuple[str, str], RatedText] = {}
    voices: defaultdict[tuple[str, str], dict[str | int, float]] = defaultdict(dict)
    texts: dict[str, tuple[str, str]] = {}
    for row in rows:
        key = (row.prompt.id if row.prompt else "", row.text)
        if texts.setdefault(row.id, key) != key:
            raise DataError(f"id '{row.id}' stands for two texts; give each text its own.")
        first.setdefault(key, row)
        names = row.raters or ("",) * len(row.ratings)
        for name, rating in zip(names, row.ratings, strict=True):
            voices[key][name or len(voices[key])] = rating
    items = []
    for key, row in first.items():
        names = tuple(name if isinstance(name, str) else "" for name in voices[key])
        items.append(replace(row, ratings=tuple(voices[key].values()), raters=names if any(names) else ()))
    bare = next((item.id for item in items if item.prompt is None), None)
    if bare is not None and any(item.prompt for item in items):
        raise DataError(f"text '{bare}' has no prompt, but others have; give every text a prompt, or none.")
    return items


def split_ratings(
    items: Sequence[RatedText], sizes: Mapping[str, int], judge_holdout: float, seed: int
) -> dict[str, list[RatedText]]:
    """Cut the items into disjoint parts: by text, or by prompt where the items have prompts.

    With prompts, all texts of a prompt go to one part, and prompts of equal wording count as one; each goes to
    the part that lacks most of its share, so that sizes are met as nearly as whole prompts allow.

    Args:
        items: as from `gather_ratings`.
        sizes: how many texts each named part gets.
        judge_holdout: share of all texts for the part "judge_holdout"; in [0, 1).
        seed: of the shuffle.

    Raises:
        DataError: too few texts, or fewer prompts than parts.
    """
    if not any(item.prompt for item in items):
        return split_items(items, sizes, judge_holdout, seed)
    wanted = {JUDGE_HOLDOUT: round(judge_holdout * len(items)), **sizes}
    if sum(wanted.values()) > len(items):
        raise DataError(f"{len(items)} texts are too few for the parts {wanted}; ask for smaller parts.")
    groups: defaultdict[str, list[RatedText]] = defaultdict(list)
    for item in sorted(items, key=lambda item: item.id):
        groups[_wording(item)].append(item)
    parts: dict[str, list[RatedText]] = {name: [] for name in wanted}
    open_parts = {name: size for name, size in wanted.items() if size}
    if len(groups) < len(open_parts):
        raise DataError(f"{len(groups)} prompts are too few for {len(open_parts)} parts; no two may share one.")
    names = list(groups)
    for index in np.random.default_rng(seed).permutation(len(names)):
        neediest = max(open_parts, key=lambda name: 1 - len(parts[name]) / open_parts[name])
        if len(parts[neediest]) >= open_parts[neediest]:
            break
        parts[neediest] += groups[names[index]]
    return parts


def _wording(item: RatedText) -> str:
    messages = item.prompt.messages if item.prompt else ()
    return repr([(message.role, normalized_text(message.content)) for message in messages])


def demonstration_sample(
    items: Sequence[RatedText], n: int, kind: DemonstrationChoice, center: float, seed: int
) -> list[RatedText]:
    """The texts to imitate.

    `neutral`: a random sample whose mean rating is `centre` as a whole. Choose it when the texts show a manner
    of writing and what is gained later should be alignment's alone.

    `best`: those with the highest mean rating; where texts have prompts, the best of each prompt, then the
    second of each, and so on, so that no prompt crowds out the others. Choose it when good answers matter more
    than a clean comparison.

    Raises:
        DataError: too few items.
    """
    if n > len(items):
        raise DataError(f"{n} demonstrations cannot be chosen from {len(items)} texts; ask for fewer.")
    by_id = {item.id: item for item in items}
    if kind == "neutral":
        shifted = [replace(item, ratings=tuple(r - center for r in item.ratings)) for item in items]
        return [by_id[item.id] for item in neutral_sample(shifted, n, seed)]
    order = np.random.default_rng(seed).permutation(len(items))  # equal ratings stand in random order
    ranked = sorted((items[index] for index in order), key=lambda item: -item.mean)
    seen: defaultdict[Prompt | None, int] = defaultdict(int)
    rounds: list[tuple[int, RatedText]] = []
    for item in ranked:
        rounds.append((seen[item.prompt], item))
        seen[item.prompt] += item.prompt is not None
    return [item for _, item in sorted(rounds, key=lambda pair: pair[0])][:n]
