"""Encoding of records as examples: a prompt and its completions as ids, with their pairs, rankings or labels.

A completion that takes part in several comparisons of one prompt is encoded, and later computed, once. Rows that
do not fit are rejected with a reason, never truncated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gnomon.core.errors import DataError
from gnomon.core.lazy import sparse
from gnomon.core.progress import watched
from gnomon.core.types import (
    Completion,
    Demonstration,
    Label,
    Message,
    NamedScores,
    Preference,
    Prompt,
    Ranking,
    RatedText,
    RejectedRow,
)
from gnomon.data.reading.media.parts import media_of, media_reason
from gnomon.data.records import completions_of
from gnomon.data.templates.chat_template import longest_token
from gnomon.data.templates.rendering import prompt_label, render_conversation, render_prompt, render_turns
from gnomon.data.templates.tokenizer_compat import same_vocabulary

REFUSED_CHARACTERS = 100_000  # characters of a refused row's text that are written beside its reason
Encoded = tuple[list["Example"], list[RejectedRow]]
MaskedIds = tuple[tuple[int, ...], tuple[bool, ...]]  # ids of a completion; true for those the policy chooses
Row = Demonstration | Label | Preference | Ranking | RatedText | NamedScores
OVERALL = ""  # the name of a rating of the whole answer among named scores
NOUNS: dict[type, str] = {NamedScores: "scored completion", RatedText: "rated text"}


@dataclass(frozen=True)
class PairIndices:
    """A pair of an example's completions, by index in `Example.completions`, and its strength."""

    chosen: int
    rejected: int
    probability: float
    margin: float
    weight: float
    tie: float = 0.0


@dataclass(frozen=True)
class RankedIndices:
    """A ranking of an example's completions: indices into `Example.completions`, best first."""

    order: tuple[int, ...]
    weight: float


@dataclass(frozen=True)
class ScoreIndices:
    """A score of one of an example's completions, on people's scale.

    Attributes:
        completion: index into `Example.completions`.
        name: of the score; `OVERALL` for a rating of the whole answer.
        value: mean over ratings.
        weight: weight in the loss.
        count: ratings behind the value.
    """

    completion: int
    name: str
    value: float
    weight: float = 1.0
    count: int = 1


@dataclass(frozen=True)
class Example:
    """One prompt with its completions, as ids. A demonstration has one completion and no pairs.

    Attributes:
        weight: weight of a demonstration or a label in the loss; pairs and rankings have their own.
        masks: for each completion the tokens that the policy chooses; empty if it chooses all.
        good: the label of a labeled completion; otherwise `None`.
    """

    prompt_id: str
    prompt: tuple[int, ...]
    completions: tuple[tuple[int, ...], ...]
    pairs: tuple[PairIndices, ...] = ()
    weight: float = 1.0
    masks: tuple[tuple[bool, ...], ...] = ()
    rankings: tuple[RankedIndices, ...] = ()
    good: bool | None = None
    scores: tuple[ScoreIndices, ...] = ()

    @property
    def loss_terms(self) -> int:
        """Number of terms in a loss: pairs or rankings, or completions if there are none."""
        return len(self.pairs) or len(self.rankings) or len(self.completions)

    @property
    def completion_tokens(self) -> int:
        """Number of completion tokens that the policy chooses: the divisor of a mean over tokens."""
        return sum(map(sum, self.masks)) if self.masks else sum(map(len, self.completions))

    @property
    def cost(self) -> int:
        """Number of tokens that a model reads: the prompt once, and every completion."""
        return len(self.prompt) + sum(map(len, self.completions))


def context_length(config: Any) -> int | None:
    """Return the context length of a model with this configuration, in tokens; `None` if it has no limit."""
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(positions) if positions else None


def token_limit(max_tokens: int, config: Any) -> int:
    """Return the smaller of a stage's `max_tokens` and the model's context."""
    context = context_length(config)
    return max_tokens if context is None else min(max_tokens, context)


def check_lengths(prompts: Sequence[Prompt], tokenizer: Any, new_tokens: int, config: Any) -> None:
    """Check that all prompts fit the model's context together with a completion.

    Args:
        prompts: the prompts.
        tokenizer: of the model.
        new_tokens: length limit of a completion, in tokens.
        config: the model's configuration, which has its context length.

    Raises:
        DataError: some do not fit; the error names the longest.
    """
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
    """Encode demonstrations; those that do not fit or that the chat template refuses are rejected.

    Args:
        records: the demonstrations.
        tokenizer: of the model, with its chat template.
        max_tokens: length limit of prompt and completion together.

    Returns:
        The examples, in the order of the records, and the rejected rows.
    """
    return _encode_each(records, tokenizer, max_tokens)


def encode_labels(records: Sequence[Label], tokenizer: Any, max_tokens: int) -> Encoded:
    """Encode labeled completions; those that do not fit or that the chat template refuses are rejected.

    Args:
        records: the labeled completions.
        tokenizer: of the model, with its chat template.
        max_tokens: length limit of prompt and completion together.

    Returns:
        The examples, in the order of the records, and the rejected rows.
    """
    return _encode_each(records, tokenizer, max_tokens)


def encode_preferences(records: Sequence[Preference], tokenizer: Any, max_tokens: int) -> Encoded:
    """Encode preferences; pairs of one prompt that are connected by shared completions form one example.

    Pairs with a completion that is too long, or whose two sides have the same tokens, are rejected.

    Args:
        records: the preferences.
        tokenizer: of the model, with its chat template.
        max_tokens: length limit of prompt and completion together.

    Returns:
        The examples and the rejected rows.
    """
    return _encode_compared(records, tokenizer, max_tokens)


def encode_rankings(records: Sequence[Ranking], tokenizer: Any, max_tokens: int) -> Encoded:
    """Encode rankings; those of one prompt that are connected by shared completions form one example.

    Rankings with a completion that is too long, or with two of the same tokens, are rejected.

    Args:
        records: the rankings.
        tokenizer: of the model, with its chat template.
        max_tokens: length limit of prompt and completion together.

    Returns:
        The examples and the rejected rows.
    """
    return _encode_compared(records, tokenizer, max_tokens)


def encode_scores(records: Sequence[RatedText | NamedScores], tokenizer: Any, max_tokens: int) -> Encoded:
    """Encode rated texts or named scores; those of one completion form one example, with the mean of its ratings.

    A completion that is too long or that nobody scored, and a rated text without a prompt, are rejected.

    Args:
        records: the rated texts or named scores.
        tokenizer: of the model, with its chat template.
        max_tokens: length limit of prompt and completion together.

    Returns:
        The examples and the rejected rows.
    """
    return _encode_compared(records, tokenizer, max_tokens)


def _encode_each(records: Sequence[Row], tokenizer: Any, max_tokens: int) -> Encoded:
    """Encode records, each to an example of its own."""
    examples: list[Example] = []
    rejected: list[RejectedRow] = []
    for number, record in enumerate(watched(records, "encoded"), start=1):
        encoded = encode_row(record, tokenizer, max_tokens, number)
        if isinstance(encoded, RejectedRow):
            rejected.append(encoded)
        else:
            examples.append(encoded)
    return examples, rejected


def _encode_compared(records: Sequence[Row], tokenizer: Any, max_tokens: int) -> Encoded:
    """Encode records; those of one prompt that share completions are joined."""
    rows, rejected = _encode_each(records, tokenizer, max_tokens)
    by_prompt: dict[str, list[Example]] = {}
    for row in rows:
        by_prompt.setdefault(row.prompt_id, []).append(row)
    return [example for same_prompt in by_prompt.values() for example in join_examples(same_prompt)], rejected


def encode_row(record: Row, tokenizer: Any, max_tokens: int, number: int = 1) -> Example | RejectedRow:
    """Encode one record to an example of its own, or to the rejected row.

    Args:
        record: the record.
        tokenizer: of the model, with its chat template.
        max_tokens: length limit of prompt and completion together.
        number: of the record, from 1: its name in messages if it was read from no file.
    """
    kind, completions = type(record), answers_of(record)
    noun, compared = NOUNS.get(kind, kind.__name__.lower()), isinstance(record, Preference | Ranking)
    named = f"prompt '{record.prompt.id}'" if record.prompt and compared else f"'{completions[0].id}'"
    where = record.where or f"{noun} {number} ({named})"
    if record.prompt is None:
        reason = "the text has no prompt, and a reward model reads an answer after its prompt; give it one"
        return _refused(where, reason, completions[0].text)
    if isinstance(record, NamedScores) and not record.scores:
        return _refused(where, "it has no score, all are null", completions[0].text)
    encoded = _encode_answers(tokenizer, record.prompt, completions, where, max_tokens)
    if isinstance(encoded, RejectedRow):
        return encoded
    prompt, answers = encoded
    if compared and len({ids for ids, _ in answers}) < len(answers):
        reason = f"two completions have the same tokens; remove the {noun}"
        return _refused(where, reason, completions[0].text)
    masks = tuple(mask for _, mask in answers)
    example = Example(
        record.prompt.id, prompt, tuple(ids for ids, _ in answers), masks=() if all(map(all, masks)) else masks
    )
    match record:
        case Preference():
            pair = PairIndices(0, 1, record.probability, record.margin, record.weight, record.tie)
            return replace(example, pairs=(pair,))
        case Ranking():
            return replace(example, rankings=(RankedIndices(tuple(range(len(answers))), record.weight),))
        case Label():
            return replace(example, weight=record.weight, good=record.good)
        case RatedText():
            score = ScoreIndices(0, OVERALL, record.mean, count=len(record.ratings))
            return replace(example, scores=(score,))
        case NamedScores():
            scores = (ScoreIndices(0, name, value, record.weight) for name, value in record.scores.items())
            return replace(example, scores=tuple(scores))
        case Demonstration():
            return replace(example, weight=record.weight)


def answers_of(record: Row) -> tuple[Completion, ...]:
    """Return the completions of a record; a rated text is one."""
    return (Completion(record.id, record.text),) if isinstance(record, RatedText) else completions_of(record)


def _encode_answers(
    tokenizer: Any, prompt: Prompt, completions: Sequence[Completion], where: str, max_tokens: int
) -> tuple[tuple[int, ...], list[MaskedIds]] | RejectedRow:
    """Return the ids of a prompt and the masked ids of its completions, or the rejected row."""
    text = completions[0].text
    media = media_of([*prompt.messages, *(turn for one in completions for turn in one.turns or ())])
    if media:
        return _refused(where, f"{media_reason(media)}; remove the row", text)
    longest = max(sum(map(len, message_texts(one))) for one in completions) + sum(map(len, message_texts(prompt)))
    if longest > max_tokens * longest_token(tokenizer):  # tokenizing it would take minutes, and could not help
        return _refused(where, f"{longest:,} characters are more than {max_tokens} tokens hold; shorten it", text)
    try:
        prompt_ids = tuple(render_prompt(tokenizer, prompt))
        answers = [encode_answer(tokenizer, prompt, one, where) for one in completions]
    except DataError as error:
        return _refused(where, _reason(error, where), text)
    size = len(prompt_ids) + max(len(ids) for ids, _ in answers)
    return (prompt_ids, answers) if size <= max_tokens else _too_long(where, size, max_tokens, text)


def message_texts(text: Prompt | Completion) -> list[str]:
    """Return the texts of a prompt or a completion: of its turns with their tool calls, and of its tools."""
    turns = text.messages if isinstance(text, Prompt) else text.turns
    beside = text.tools if isinstance(text, Prompt) else ()
    if turns is None:
        return [text.text] if isinstance(text, Completion) else []
    return [*(piece for turn in turns for piece in (turn.content, *turn.tool_calls)), *beside]


def join_examples(examples: Sequence[Example]) -> list[Example]:
    """Join examples of one prompt that share a completion, which is then computed once.

    A prompt's other examples stay apart, so that they may be in other steps.
    """
    if len(examples) == 1:
        return list(examples)
    joined: list[Example] = []
    for part in _connected([_answers(example) for example in examples]):
        indices: dict[MaskedIds, int] = {}  # of the joined example's completions
        pairs: list[PairIndices] = []
        rankings: list[RankedIndices] = []
        scores: list[ScoreIndices] = []
        for example in (examples[index] for index in part):
            at = [indices.setdefault(answer, len(indices)) for answer in _answers(example)]
            pairs += [replace(p, chosen=at[p.chosen], rejected=at[p.rejected]) for p in example.pairs]
            rankings += [replace(r, order=tuple(at[i] for i in r.order)) for r in example.rankings]
            scores += [replace(s, completion=at[s.completion]) for s in example.scores]
        masks = tuple(mask for _, mask in indices)
        joined.append(
            replace(
                examples[part[0]],
                completions=tuple(ids for ids, _ in indices),
                pairs=tuple(pairs),
                rankings=tuple(rankings),
                scores=_merged_scores(scores),
                masks=() if all(map(all, masks)) else masks,
            )
        )
    return joined


def _merged_scores(scores: Sequence[ScoreIndices]) -> tuple[ScoreIndices, ...]:
    """Merge scores of one completion and name to one, with their mean by the number of ratings."""
    groups: dict[tuple[int, str], list[ScoreIndices]] = {}
    for score in scores:
        groups.setdefault((score.completion, score.name), []).append(score)
    merged = []
    for (completion, name), group in groups.items():
        count = sum(one.count for one in group)
        value, weight = (
            sum(getattr(one, key) * one.count for one in group) / count for key in ("value", "weight")
        )
        merged.append(ScoreIndices(completion, name, value, weight, count))
    return tuple(merged)


def _answers(example: Example) -> list[MaskedIds]:
    masks = example.masks or [(True,) * len(ids) for ids in example.completions]
    return list(zip(example.completions, masks, strict=True))


def _connected(compared: Sequence[Sequence[MaskedIds]]) -> list[list[int]]:
    """Return the connected components, as indices, of comparisons linked by shared completions."""
    number = {answer: n for n, answer in enumerate(dict.fromkeys(a for answers in compared for a in answers))}
    links = [(index, len(compared) + number[a]) for index, answers in enumerate(compared) for a in answers]
    size = len(compared) + len(number)
    edges = sparse.coo_array(
        (np.ones(len(links)), np.array(links, dtype=int).reshape(-1, 2).T), shape=(size, size)
    )
    parts: dict[int, list[int]] = {}
    for index, part in enumerate(sparse.csgraph.connected_components(edges)[1][: len(compared)].tolist()):
        parts.setdefault(part, []).append(index)
    return list(parts.values())


def encode_completions(
    prompts: Sequence[Prompt],
    completions: Sequence[Completion],
    tokenizer: Any,
    sampled_by: Any = None,
    ends: Sequence[int] = (),
) -> list[Example | RejectedRow]:
    """Encode completions for scoring, in their order: an example each, or the rejected row.

    Sampled ids are used as they are if `sampled_by`, the tokenizer of the model that drew them, has the same
    vocabulary; otherwise the texts are tokenized.

    Args:
        prompts: one for each completion.
        completions: the completions.
        tokenizer: of the model that scores.
        sampled_by: tokenizer of the model that sampled, if known.
        ends: ids that end an answer, the template's end of turn first. The last id of an answer that ended with
            another is replaced by the first, the only one that the scoring model was trained on.
    """
    same_ids = sampled_by is not None and same_vocabulary(tokenizer, sampled_by)
    rendered: dict[str, tuple[int, ...]] = {}
    encoded: list[Example | RejectedRow] = []
    for prompt, completion in zip(prompts, completions, strict=True):
        answer = completion if same_ids else replace(completion, token_ids=None)
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


def encode_conversations(
    prompts: Sequence[Prompt], completions: Sequence[Completion], tokenizer: Any, padding: int | None = None
) -> list[Example | RejectedRow]:
    """Encode whole conversations for scoring at their last token: an example each, or the rejected row.

    The ids are those of transformers' `apply_chat_template`, up to the last one that is not `padding`: there
    transformers' classifiers read the score, also where a text ends with the padding token. An example's
    completion is what follows the prompt's own ids, so that completions of one prompt share it; ids that a
    sampler drew are not used.

    Args:
        prompts: one for each completion.
        completions: the completions.
        tokenizer: of the model that scores.
        padding: id of the padding token in the model's configuration.
    """
    rendered: dict[str, tuple[int, ...]] = {}
    encoded: list[Example | RejectedRow] = []
    for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        where = prompt_label(prompt)
        turns = (Message("assistant", completion.text),) if completion.turns is None else completion.turns
        try:
            if prompt.id not in rendered:
                rendered[prompt.id] = tuple(render_prompt(tokenizer, prompt))
            ids = tuple(render_conversation(tokenizer, prompt, turns, where))
        except DataError as error:
            encoded.append(_refused(where, _reason(error, where), completion.text))
            continue
        while len(ids) > 1 and ids[-1] == padding:
            ids = ids[:-1]
        start, key = rendered[prompt.id], prompt.id
        if ids[: len(start)] != start or len(ids) <= len(start):
            start, key = ids[:-1], f"{prompt.id}, row {row}"
        encoded.append(Example(key, start, (ids[len(start) :],)))
    return encoded


def encode_answer(tokenizer: Any, prompt: Prompt, completion: Completion, where: str) -> MaskedIds:
    """Encode a completion; the mask excludes headers, turns of others, and turns marked not to be learned.

    A completion's own ids, if it has any, are assumed to be of this tokenizer.

    Args:
        tokenizer: with its chat template.
        prompt: the prompt that it answers.
        completion: the completion.
        where: the row, for messages.
    """
    if completion.token_ids:
        return completion.token_ids, (True,) * len(completion.token_ids)
    turns = (Message("assistant", completion.text),) if completion.turns is None else completion.turns
    ids, mask = render_turns(tokenizer, prompt, turns, where)
    return tuple(ids), tuple(mask)


def _reason(error: DataError, where: str) -> str:
    """Return an error's sentence without the row that it names."""
    return str(error).removeprefix(where).lstrip(":, ").rstrip(".")


def _refused(where: str, reason: str, content: str) -> RejectedRow:
    return RejectedRow(where, reason, content[:REFUSED_CHARACTERS])


def _too_long(where: str, length: int, limit: int, text: str) -> RejectedRow:
    allowed = f"more than the {limit} that max_tokens and the model's context allow"
    return _refused(where, f"{length} tokens, {allowed}; shorten it or raise max_tokens", text)


ENCODE: dict[type, Callable[[Any, Any, int], Encoded]] = {
    Demonstration: encode_demonstrations,
    Preference: encode_preferences,
    Label: encode_labels,
    Ranking: encode_rankings,
    RatedText: encode_scores,
    NamedScores: encode_scores,
}
