"""Records to examples: one prompt with its completions as ids, and what is said of them.

A completion that takes part in several comparisons of one prompt is encoded, and later computed, once. Rows that
do not fit are rejected with a reason, never cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from gnomon.core.errors import DataError
from gnomon.core.lazy import sparse
from gnomon.core.progress import watched
from gnomon.core.types import (
    Completion,
    Demonstration,
    Label,
    Message,
    Preference,
    Prompt,
    Ranking,
    Rejected,
)
from gnomon.data.templates.chat_template import longest_token
from gnomon.data.templates.rendering import prompt_label, render_prompt, render_turns
from gnomon.data.templates.tokenizer_compat import same_vocabulary

REFUSED_CHARACTERS = 100_000  # characters of a refused row's text that are written beside its reason
Encoded = tuple[list["Example"], list[Rejected]]
Answer = tuple[tuple[int, ...], tuple[bool, ...]]  # ids, and which of them the policy chooses
Compared = TypeVar("Compared", Preference, Ranking)


@dataclass(frozen=True)
class PairRows:
    """Two rows of an example's completions, and how much the first is preferred."""

    chosen: int
    rejected: int
    probability: float
    margin: float
    weight: float


@dataclass(frozen=True)
class RankedRows:
    """Rows of an example's completions, best first."""

    rows: tuple[int, ...]
    weight: float


@dataclass(frozen=True)
class Example:
    """One prompt with its completions, as ids. A demonstration has one completion and no pairs.

    Attributes:
        weight: of a demonstration or a label; pairs and orders have their own.
        masks: for each completion the tokens that the policy chooses; empty where that is all of them.
        good: what a label says.
    """

    prompt_id: str
    prompt: tuple[int, ...]
    completions: tuple[tuple[int, ...], ...]
    pairs: tuple[PairRows, ...] = ()
    weight: float = 1.0
    masks: tuple[tuple[bool, ...], ...] = ()
    rankings: tuple[RankedRows, ...] = ()
    good: bool | None = None

    @property
    def rows(self) -> int:
        """What a loss counts: pairs or orders, or completions where there are none."""
        return len(self.pairs) or len(self.rankings) or len(self.completions)

    @property
    def completion_tokens(self) -> int:
        """Tokens of all completions that the policy chooses: what a token's loss is averaged over."""
        return sum(map(sum, self.masks)) if self.masks else sum(map(len, self.completions))

    @property
    def cost(self) -> int:
        """Tokens a model reads: the prompt once, and each completion whole."""
        return len(self.prompt) + sum(map(len, self.completions))


def context_length(config: Any) -> int | None:
    """How many tokens a model of this configuration can read; `None` where nothing limits it."""
    found = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(found) if found else None


def token_limit(max_tokens: int, config: Any) -> int:
    """The smaller of a stage's `max_tokens` and the model's context."""
    context = context_length(config)
    return max_tokens if context is None else min(max_tokens, context)


def check_lengths(prompts: Sequence[Prompt], tokenizer: Any, new_tokens: int, config: Any) -> None:
    """Refuse prompts that do not fit the model's context with a completion of `new_tokens`; names the longest."""
    context = context_length(config)
    lengths = [len(render_prompt(tokenizer, prompt)) for prompt in prompts] if context is not None else []
    if context is None or not lengths or max(lengths) + new_tokens <= context:
        return
    over = sum(length + new_tokens > context for length in lengths)
    prompt, length = prompts[lengths.index(max(lengths))], max(lengths)
    others = f" (and {over - 1} more)" if over > 1 else ""
    raise DataError(
        f"{prompt_label(prompt)}{others} has {length} tokens, which with completions of {new_tokens} exceed the "
        f"model's context of {context}; shorten or remove it, or lower sampling.max_tokens."
    )


def encode_demonstrations(records: Sequence[Demonstration], tokenizer: Any, max_tokens: int) -> Encoded:
    """Demonstrations as examples; those that do not fit or that the template cannot write are rejected."""
    named = [
        (r.where or f"demonstration {n} ('{r.completion.id}')", r, None) for n, r in enumerate(records, start=1)
    ]
    return _encode_single(named, tokenizer, max_tokens)


def encode_labels(records: Sequence[Label], tokenizer: Any, max_tokens: int) -> Encoded:
    """Labelled completions as examples, in the order of the records; see `encode_demonstrations`."""
    named = [(r.where or f"label {n} ('{r.completion.id}')", r, r.good) for n, r in enumerate(records, start=1)]
    return _encode_single(named, tokenizer, max_tokens)


def _encode_single(
    named: Sequence[tuple[str, Demonstration | Label, bool | None]], tokenizer: Any, max_tokens: int
) -> Encoded:
    examples: list[Example] = []
    rejected: list[Rejected] = []
    for where, record, good in watched(named, "encoded"):
        found = _answers(tokenizer, record.prompt, [record.completion], where, max_tokens)
        if isinstance(found, Rejected):
            rejected.append(found)
            continue
        prompt, ((ids, mask),) = found
        masks = () if all(mask) else (mask,)
        examples.append(Example(record.prompt.id, prompt, (ids,), weight=record.weight, masks=masks, good=good))
    return examples, rejected


def _answers(
    tokenizer: Any, prompt: Prompt, completions: Sequence[Completion], where: str, max_tokens: int
) -> tuple[tuple[int, ...], list[Answer]] | Rejected:
    """Ids of a prompt and of its completions; or why a row with them is refused."""
    shown = completions[0].text
    longest = max(sum(map(len, message_texts(one))) for one in completions) + sum(map(len, message_texts(prompt)))
    if longest > max_tokens * longest_token(tokenizer):  # tokenizing it would take minutes, and could not help
        return _refused(
            where, f"{longest:,} characters are more than {max_tokens} tokens hold; shorten it", shown
        )
    try:
        asked = tuple(render_prompt(tokenizer, prompt))
        answers = [encode_answer(tokenizer, prompt, one, where) for one in completions]
    except DataError as error:
        return _refused(where, _reason(error, where), shown)
    size = len(asked) + max(len(ids) for ids, _ in answers)
    return (asked, answers) if size <= max_tokens else _too_long(where, size, max_tokens, shown)


def message_texts(text: Prompt | Completion) -> list[str]:
    """The words of a prompt or a completion, turn by turn."""
    if isinstance(text, Prompt):
        return [turn.content for turn in text.messages]
    return [text.text] if text.turns is None else [turn.content for turn in text.turns]


def encode_preferences(records: Sequence[Preference], tokenizer: Any, max_tokens: int) -> Encoded:
    """Preferences as examples: of one prompt all pairs that hang together by a completion of both.

    Pairs with a completion that is too long, or whose two sides have the same tokens, are rejected.
    """
    return _encode_compared(records, "preference", lambda r: (r.chosen, r.rejected), tokenizer, max_tokens)


def encode_rankings(records: Sequence[Ranking], tokenizer: Any, max_tokens: int) -> Encoded:
    """Rankings as examples: of one prompt all that hang together by a completion of both.

    Those with a completion that is too long, or with two of the same tokens, are rejected.
    """
    return _encode_compared(records, "ranking", lambda r: r.completions, tokenizer, max_tokens)


def _encode_compared(
    records: Sequence[Compared],
    noun: str,
    sides: Callable[[Compared], Sequence[Completion]],
    tokenizer: Any,
    max_tokens: int,
) -> Encoded:
    by_prompt: dict[str, list[tuple[int, Compared]]] = {}
    for number, record in enumerate(records, start=1):
        by_prompt.setdefault(record.prompt.id, []).append((number, record))
    examples: list[Example] = []
    rejected: list[Rejected] = []
    for prompt_id, numbered in watched(list(by_prompt.items()), "encoded"):
        prompt: tuple[int, ...] = ()
        accepted: list[tuple[Compared, list[Answer]]] = []
        for number, record in numbered:
            where = record.where or f"{noun} {number} (prompt '{prompt_id}')"
            found = _answers(tokenizer, record.prompt, sides(record), where, max_tokens)
            if isinstance(found, Rejected):
                rejected.append(found)
            elif len({ids for ids, _ in found[1]}) < len(found[1]):
                reason = f"two completions have the same tokens; remove the {noun}"
                rejected.append(_refused(where, reason, sides(record)[0].text))
            else:
                prompt = found[0]
                accepted.append((record, found[1]))
        for part in _hanging_together([found for _, found in accepted]):
            answers: dict[Answer, int] = {}
            comparisons = [
                _encoded_rows(record, [answers.setdefault(answer, len(answers)) for answer in found])
                for record, found in (accepted[place] for place in part)
            ]
            examples.append(_example(prompt_id, prompt, list(answers), comparisons))
    return examples, rejected


def _hanging_together(compared: Sequence[Sequence[Answer]]) -> list[list[int]]:
    """Which comparisons are linked by answers that they share, perhaps over others, in the order given.

    Only what shares an answer saves a pass by standing in one example; a prompt's other comparisons are free to
    be seen in other steps.
    """
    number = {answer: n for n, answer in enumerate(dict.fromkeys(a for found in compared for a in found))}
    links = [(place, len(compared) + number[a]) for place, found in enumerate(compared) for a in found]
    size = len(compared) + len(number)
    edges = sparse.coo_array(
        (np.ones(len(links)), np.array(links, dtype=int).reshape(-1, 2).T), shape=(size, size)
    )
    parts: dict[int, list[int]] = {}
    for place, part in enumerate(sparse.csgraph.connected_components(edges)[1][: len(compared)].tolist()):
        parts.setdefault(part, []).append(place)
    return list(parts.values())


def _encoded_rows(record: Preference | Ranking, rows: Sequence[int]) -> PairRows | RankedRows:
    if isinstance(record, Ranking):
        return RankedRows(tuple(rows), record.weight)
    return PairRows(rows[0], rows[1], record.probability, record.margin, record.weight)


def _example(
    prompt_id: str,
    prompt: tuple[int, ...],
    answers: Sequence[Answer],
    comparisons: Sequence[PairRows | RankedRows],
) -> Example:
    masks = tuple(mask for _, mask in answers)
    return Example(
        prompt_id,
        prompt,
        tuple(ids for ids, _ in answers),
        pairs=tuple(s for s in comparisons if isinstance(s, PairRows)),
        rankings=tuple(s for s in comparisons if isinstance(s, RankedRows)),
        masks=() if all(map(all, masks)) else masks,
    )


def encode_completions(
    prompts: Sequence[Prompt],
    completions: Sequence[Completion],
    tokenizer: Any,
    sampled_by: Any = None,
    ends: Sequence[int] = (),
) -> list[Example | Rejected]:
    """Completions to be scored, in their order: an example each, or why the chat template refuses it.

    Sampled ids are taken as they are where `sampled_by`, the tokenizer of the model that drew them, has the same
    vocabulary; otherwise, and where nobody says whose they are, the texts are tokenised.

    Args:
        prompts: what was asked.
        completions: the answers.
        tokenizer: of the model that scores.
        sampled_by: of the model that sampled.
        ends: ids that end an answer, the template's end of a turn first. An answer that ended with another
            is scored as if with that one, the only one that a judge was trained on.
    """
    readable = sampled_by is not None and same_vocabulary(tokenizer, sampled_by)
    rendered: dict[str, tuple[int, ...]] = {}
    encoded: list[Example | Rejected] = []
    for prompt, completion in zip(prompts, completions, strict=True):
        answer = completion if readable else replace(completion, token_ids=None)
        where = prompt_label(prompt)
        try:
            if prompt.id not in rendered:
                rendered[prompt.id] = tuple(render_prompt(tokenizer, prompt))
            ids, mask = encode_answer(tokenizer, prompt, answer, where)
        except DataError as error:
            encoded.append(_refused(where, _reason(error, where), completion.text))
            continue
        masks = () if all(mask) else (mask,)
        if ids[-1] in ends[1:]:
            ids = (*ids[:-1], ends[0])
        encoded.append(Example(prompt.id, rendered[prompt.id], (ids,), masks=masks))
    return encoded


def encode_answer(tokenizer: Any, prompt: Prompt, completion: Completion, where: str) -> Answer:
    """Ids of a completion, and which of them the policy learns: all but headers, others' and unlearned turns.

    A completion's own ids, where it has any, are taken to be of this tokenizer.
    """
    if completion.token_ids:
        return completion.token_ids, (True,) * len(completion.token_ids)
    turns = (Message("assistant", completion.text),) if completion.turns is None else completion.turns
    ids, mask = render_turns(tokenizer, prompt, turns, where)
    return tuple(ids), tuple(mask)


def _reason(error: DataError, where: str) -> str:
    """An error's sentence without the row that it names."""
    return str(error).removeprefix(where).lstrip(":, ").rstrip(".")


def _refused(where: str, reason: str, content: str) -> Rejected:
    return Rejected(where, reason, content[:REFUSED_CHARACTERS])


def _too_long(where: str, length: int, limit: int, text: str) -> Rejected:
    allowed = f"more than the {limit} that max_tokens and the model's context allow"
    return _refused(where, f"{length} tokens, {allowed}; shorten it or raise max_tokens", text)


ENCODE: dict[type, Callable[[Any, Any, int], Encoded]] = {
    Demonstration: encode_demonstrations,
    Preference: encode_preferences,
    Label: encode_labels,
    Ranking: encode_rankings,
}
