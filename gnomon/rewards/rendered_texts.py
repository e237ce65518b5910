"""Scores of texts that another program rendered with the chat template, as OpenRLHF sends them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from gnomon.core.errors import DataError
from gnomon.core.types import RejectedRow
from gnomon.data.encoding import Example
from gnomon.data.reading.row_fields import check_text
from gnomon.data.templates.chat_template import ids_of, text_after_answer, turn_end
from gnomon.rewards.ensemble import EnsembleReward
from gnomon.rewards.reward import LearnedReward, Reward, Scores

if TYPE_CHECKING:
    from torch import Tensor

    from gnomon.models.roles import RewardModel


def reads_rendered_texts(reward: Reward) -> TypeGuard[LearnedReward | EnsembleReward]:
    """Return whether a reward is a decoder with a chat template, or an ensemble of such, for whole answers."""
    if isinstance(reward, EnsembleReward):
        return all(map(reads_rendered_texts, reward.sources))
    return isinstance(reward, LearnedReward) and reward.model.steps is None


class RenderedTextReward:
    """Scores texts by the chat template of a reward model: the prompt, the answer and its end of turn.

    Control tokens in them are read as such, since nothing shows which of them a person wrote.

    Args:
        reward: the reward model, or an ensemble.
    """

    def __init__(self, reward: LearnedReward | EnsembleReward):
        self.reward = reward

    def score(self, prompts: Sequence[str], texts: Sequence[str]) -> Scores:
        """Score each text where its reward model was trained: at the end of the turn, or of all.

        Ends of turn, ends of text and padding at a text's end are replaced by the one that the model was trained
        with, as OpenRLHF's own server does.

        Args:
            prompts: the part of each text before the answer; "" if it is not known.
            texts: the texts.
        """

        def encoded(model: RewardModel) -> list[Example | RejectedRow]:
            rows = enumerate(zip(prompts, texts, strict=True))
            return [_encoded(model, row, prompt, text) for row, (prompt, text) in rows]

        def of_source(source: Reward) -> tuple[Tensor, Sequence[tuple[int, str]]]:
            assert isinstance(source, LearnedReward), "only such rewards are served"
            return source.encoded_member_scores(encoded(source.model))

        if isinstance(self.reward, LearnedReward):
            return self.reward.score_encoded(encoded(self.reward.model))
        return self.reward.combined(*self.reward.scores_of_sources(of_source, len(texts)))


def _encoded(model: RewardModel, row: int, prompt: str, text: str) -> Example | RejectedRow:
    """Tokenize a text where it is scored."""
    tokenizer = model.tokenizer
    try:
        check_text(prompt + text, "the text")
    except DataError as error:
        return RejectedRow("", str(error).rstrip("."))
    text = _without_ends(tokenizer, text)
    known = prompt != "" and text.startswith(prompt)
    start, answer = (prompt, text[len(prompt) :]) if known else ("", text)
    if model.whole_conversation:
        ids = ids_of(tokenizer, text + text_after_answer(tokenizer))
        padding = model.network.config.get_text_config().pad_token_id
        while len(ids) > 1 and ids[-1] == padding:
            ids.pop()
        return _example(row, ids[:-1], ids[-1:])
    before, after = ids_of(tokenizer, start) if start else [], ids_of(tokenizer, answer) if answer else []
    end = turn_end(tokenizer)
    if known:
        return _example(row, before, [*after, end])
    if not model.reads_last_token:
        return RejectedRow("", "the model reads all of an answer, and no prompt shows where it starts")
    return _example(row, after, [end])


def _example(row: int, prompt: Sequence[int], completion: Sequence[int]) -> Example | RejectedRow:
    if not prompt:
        return RejectedRow("", "the text is empty")
    return Example(f"text {row}", tuple(prompt), (tuple(completion),))


def _without_ends(tokenizer: Any, text: str) -> str:
    """Remove padding around a text, and ends of turn and of text behind it."""
    end = str(tokenizer.convert_ids_to_tokens(turn_end(tokenizer)))
    pad = tokenizer.pad_token
    ends = [token for token in dict.fromkeys((end, tokenizer.eos_token, pad)) if token]
    while pad and pad != tokenizer.bos_token and text.startswith(pad):
        text = text[len(pad) :]
    while True:
        stripped = text.rstrip("\n")
        token = next((one for one in ends if stripped.endswith(one)), None)
        if token is None:
            return text
        text = stripped[: -len(token)]
