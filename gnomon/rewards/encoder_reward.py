"""Rewards by encoders that read a question and an answer, and the reward of a reward model of any kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gnomon.core.errors import ConfigError
from gnomon.core.lazy import torch
from gnomon.core.types import Completion, Prompt
from gnomon.data.batching import pack_by_tokens
from gnomon.data.reading.media.parts import media_of, media_reason
from gnomon.rewards.ensemble import EnsembleReward
from gnomon.rewards.reward import LearnedReward, Report, Reward, Scores, no_report

if TYPE_CHECKING:
    from gnomon.models.encoders.scorer import EncoderScorer
    from gnomon.models.reward_ensemble import RewardPanel
    from gnomon.models.roles import RewardModel
    from gnomon.models.settings import Combination


class EncoderReward:
    """An encoder with a classifier as a reward.

    Attributes:
        model: the encoder.
        name: its name in metrics.
        budget: tokens of a micro-batch, with padding.
        report: called with the number of scored rows after each micro-batch.
    """

    def __init__(self, model: EncoderScorer, name: str, *, budget: int = 4096):
        self.model = model
        self.name = name
        self.budget = budget
        self.report: Report = no_report

    def score(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """Scores in logits. A conversation of several turns is a failure, and so is one beyond the context."""
        rows: list[int] = []
        pairs: list[dict[str, list[int]]] = []
        failures: list[tuple[int, str]] = []
        for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            pair = self._encoded(prompt, completion)
            if isinstance(pair, str):
                failures.append((row, pair))
            else:
                rows.append(row)
                pairs.append(pair)
        values, scored = torch.full((len(completions),), torch.nan), 0
        by_length = sorted(range(len(pairs)), key=lambda i: len(pairs[i]["input_ids"]))
        for part in pack_by_tokens([len(pairs[i]["input_ids"]) for i in by_length], self.budget):
            chosen = [by_length[i] for i in part]
            values[[rows[i] for i in chosen]] = self.model.scores([pairs[i] for i in chosen]).cpu()
            scored += len(part)
            self.report(scored)
        return Scores(values, {self.name: values}, failures)

    def _encoded(self, prompt: Prompt, completion: Completion) -> dict[str, list[int]] | str:
        """Return the encoded pair, or the reason why there is none."""
        if media := media_of(prompt.messages):
            return media_reason(media)
        roles = [message.role for message in prompt.messages]
        if roles != ["user"] or prompt.tools or completion.turns is not None:
            return "the reward model is an encoder, which reads one user's message and one text as its answer"
        pair = self.model.encode(prompt.messages[0].content, completion.text)
        length, context = len(pair["input_ids"]), self.model.context
        if context is not None and length > context:
            return f"it has {length} tokens, more than the reward model's context of {context}"
        return pair


def model_reward(
    model: RewardModel | EncoderScorer | RewardPanel,
    name: str,
    sampled_by: Any = None,
    combination: Combination | None = None,
) -> Reward:
    """Make the reward of a reward model of any kind, whose weights are rounded.

    Args:
        model: from `open_scorer`.
        name: of the reward, in metrics.
        sampled_by: the tokenizer of completions' token ids; `None` where they have only texts.
        combination: rule by which an ensemble's members are combined; `None` for its own.
    """
    from gnomon.models.reward_ensemble import RewardPanel
    from gnomon.models.roles import RewardModel

    for one in model.members if isinstance(model, RewardPanel) else [model]:
        if isinstance(one, RewardModel):
            one.round_weights()
    return reward_of_model(model, name, sampled_by, combination)


def reward_of_model(
    model: RewardModel | EncoderScorer | RewardPanel,
    name: str,
    sampled_by: Any = None,
    combination: Combination | None = None,
) -> Reward:
    """Make the reward of a reward model of any kind, which stays as it is.

    Args:
        model: from `open_scorer`.
        name: of the reward, in metrics.
        sampled_by: the tokenizer of completions' token ids; `None` where they have only texts.
        combination: rule by which an ensemble's members are combined; `None` for its own.

    Raises:
        ConfigError: a rule is given, and the model is a single one.
    """
    from gnomon.models.reward_ensemble import DropoutEnsemble, RewardEnsemble, RewardPanel
    from gnomon.models.roles import RewardModel

    if isinstance(model, RewardEnsemble | RewardPanel | DropoutEnsemble):
        models: Sequence[Any] = model.members if isinstance(model, RewardPanel) else [model]
        sources = [
            LearnedReward(one, name, sampled_by=sampled_by)
            if isinstance(one, RewardModel)
            else EncoderReward(one, name)
            for one in models
        ]
        rule = combination or model.record.combine
        record = model.record
        own = (record.offsets, record.scales) if isinstance(model, RewardPanel) else ((), ())
        return EnsembleReward(name, sources, record.names, rule, model.calibration, own)
    if combination is not None:
        raise ConfigError(
            f"reward '{name}' is a single model, and combine is for ensembles; remove combine, or name an "
            "ensemble."
        )
    if isinstance(model, RewardModel):
        return LearnedReward(model, name, sampled_by=sampled_by)
    return EncoderReward(model, name)
