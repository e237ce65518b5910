"""A user's own ratings: rows gathered into texts, split without overlap, and sampled."""

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
    """Gather the ratings of each text and prompt into one item, whether they came in one row or one per row.

    A rater has one vote per text: a later rating by the same name is a correction and replaces the earlier one.
    Ratings without a name each count.

    Args:
        rows: as read, in the order of the file.

    Returns:
        The items in order of first appearance, with the id of their first row.

    Raises:
        DataError: one id stands for two texts, or some texts have a prompt and others none.
    """
    first: dict[tuple[str, str], RatedText] = {}
    votes: defaultdict[tuple[str, str], dict[str | int, float]] = defaultdict(dict)
    texts: dict[str, tuple[str, str]] = {}
    for row in rows:
        key = (row.prompt.id if row.prompt else "", row.text)
        if texts.setdefault(row.id, key) != key:
            raise DataError(f"id '{row.id}' stands for two texts; give each text its own.")
        first.setdefault(key, row)
        names = row.raters or ("",) * len(row.ratings)
        for name, rating in zip(names, row.ratings, strict=True):
            votes[key][name or len(votes[key])] = rating
    items = []
    for key, row in first.items():
        names = tuple(name if isinstance(name, str) else "" for name in votes[key])
        items.append(replace(row, ratings=tuple(votes[key].values()), raters=names if any(names) else ()))
    bare = next((item.id for item in items if item.prompt is None), None)
    if bare is not None and any(item.prompt for item in items):
        raise DataError(f"text '{bare}' has no prompt, but others have; give every text a prompt, or none.")
    return items


def split_ratings(
    items: Sequence[RatedText], sizes: Mapping[str, int], judge_holdout: float, seed: int
) -> dict[str, list[RatedText]]:
    """Split the items into disjoint parts: by text, or by prompt if the items have prompts.

    With prompts, all texts of a prompt go to one part, and prompts with equal text count as one; each goes to
    the part that lacks most of its share, so that sizes are met as nearly as whole prompts allow.

    Args:
        items: as from `gather_ratings`.
        sizes: number of texts for each named part.
        judge_holdout: share of all texts for the part "judge_holdout"; in [0, 1).
        seed: of the shuffle.

    Raises:
        DataError: too few texts, or fewer prompts than parts.
    """
    if not any(item.prompt for item in items):
        return split_items(items, sizes, judge_holdout, seed)
    targets = {JUDGE_HOLDOUT: round(judge_holdout * len(items)), **sizes}
    if sum(targets.values()) > len(items):
        raise DataError(f"{len(items)} texts are too few for the parts {targets}; set smaller parts.")
    groups: defaultdict[str, list[RatedText]] = defaultdict(list)
    for item in sorted(items, key=lambda item: item.id):
        groups[_prompt_text(item)].append(item)
    parts: dict[str, list[RatedText]] = {name: [] for name in targets}
    open_parts = {name: size for name, size in targets.items() if size}
    if len(groups) < len(open_parts):
        raise DataError(f"{len(groups)} prompts are too few for {len(open_parts)} parts; no two may share one.")
    names = list(groups)
    for index in np.random.default_rng(seed).permutation(len(names)):
        neediest = max(open_parts, key=lambda name: 1 - len(parts[name]) / open_parts[name])
        if len(parts[neediest]) >= open_parts[neediest]:
            break
        parts[neediest] += groups[names[index]]
    return parts


def _prompt_text(item: RatedText) -> str:
    messages = item.prompt.messages if item.prompt else ()
    turns = [(one.role, normalized_text(one.content), *one.tool_calls, *map(repr, one.media)) for one in messages]
    return repr([*turns, *(item.prompt.tools if item.prompt else ())])


def demonstration_sample(
    items: Sequence[RatedText], n: int, kind: DemonstrationChoice, center: float, seed: int
) -> list[RatedText]:
    """Select the texts to imitate.

    `neutral`: a random sample whose overall mean rating is `center`. Choose it if the texts show a manner of
    writing, and later gains should be due to alignment alone.

    `best`: those with the highest mean rating; if texts have prompts, the best of each prompt, then the second of
    each, and so on, so that no prompt crowds out the others. Choose it if good answers matter more than a clean
    comparison.

    Args:
        items: as from `gather_ratings`.
        n: number of texts to select.
        kind: `neutral` or `best`.
        center: of the rating scale; the mean of a neutral sample.
        seed: of the sample, or of the order of equal ratings.

    Raises:
        DataError: too few items.
    """
    if n > len(items):
        raise DataError(f"{n} demonstrations cannot be chosen from {len(items)} texts; set a smaller number.")
    by_id = {item.id: item for item in items}
    if kind == "neutral":
        shifted = [replace(item, ratings=tuple(r - center for r in item.ratings)) for item in items]
        return [by_id[item.id] for item in neutral_sample(shifted, n, seed)]
    order = np.random.default_rng(seed).permutation(len(items))  # equal ratings are in random order
    ranked = sorted((items[index] for index in order), key=lambda item: -item.mean)
    seen: defaultdict[Prompt | None, int] = defaultdict(int)
    rounds: list[tuple[int, RatedText]] = []
    for item in ranked:
        rounds.append((seen[item.prompt], item))
        seen[item.prompt] += item.prompt is not None
    return [item for _, item in sorted(rounds, key=lambda pair: pair[0])][:n]
