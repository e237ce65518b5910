"""Python calls for models and data: load, sample, score, chat, inspect."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from gnomon.api.best_of_n import best_of as best_of_settings, sample_completions
from gnomon.api.chat import Conversation
from gnomon.api.recipes import Name
from gnomon.api.score import reward_named
from gnomon.core.config import validate
from gnomon.core.errors import ConfigError
from gnomon.core.experience import Rollout
from gnomon.core.types import Completion, Message, Prompt
from gnomon.models.encoders.scorer import EncoderScorer, open_scorer
from gnomon.models.engine.device import find_compute
from gnomon.models.external import open_policy
from gnomon.models.reward_ensemble import RewardPanel
from gnomon.models.roles import Policy, RewardModel
from gnomon.models.settings import Device, Precision
from gnomon.rewards.encoder_reward import reward_of_model
from gnomon.rollouts.sampling_params import Sampling


def load_policy(name: Name, *, device: Device = "auto", precision: Precision = "auto") -> Policy:
    """Load a language model.

    Args:
        name: a catalog name such as `smollm2-135m`, a folder, a GGUF file or a hub name.
        device: `auto` uses a GPU if there is one.
        precision: precision of matrix products; `auto` is bfloat16 on processors with bfloat16 instructions.

    Raises:
        ModelError: the model does not exist, or is not a language model.
    """
    return open_policy(os.fspath(name), find_compute(device, precision))


def load_reward_model(
    name: Name, *, device: Device = "auto", precision: Precision = "float32"
) -> RewardModel | EncoderScorer | RewardPanel:
    """Load a trained reward model, or an ensemble of them.

    It computes in float32 by default, so that a text has the same score on every processor; `precision="auto"` is
    faster on processors with bfloat16 instructions.

    Args:
        name: a stage's folder, a hub name, or any folder written by `save_pretrained`; `model#head` for a model
            with several heads.
        device: `auto` uses a GPU if there is one.
        precision: precision of matrix products; encoders compute in float32.

    Raises:
        ModelError: the model does not exist, or is not a reward model.
    """
    return open_scorer(os.fspath(name), find_compute(device, precision))


def sample(
    policy: Policy,
    prompts: Sequence[str | Prompt],
    *,
    seed: int = 0,
    best_of: int | None = None,
    reward: str | None = None,
    **sampling: Any,
) -> list[Rollout]:
    """Sample completions of prompts, prompt by prompt; the text of one is `rollout.completion.text`.

    Args:
        policy: from `load_policy`, or `.policy` of a training result.
        prompts: texts, or `Prompt`s with whole conversations.
        seed: the same seed, prompts and settings give the same completions.
        best_of: number of draws per completion; the best one is returned.
        reward: scores the draws: a reward model's name, `vader`, or
            `file.py:function`.
        sampling: any of `gnomon.rollouts.sampling_params.Sampling`: `completions` (for each prompt),
            `temperature`, `max_tokens`, `top_p`, `top_k`, `repetition_penalty`, `stop`.
    """
    requests = [p if isinstance(p, Prompt) else prompt_of(p, n) for n, p in enumerate(prompts)]
    settings = validate(Sampling, sampling, "sample")
    chosen = best_of_settings(best_of, reward, settings)
    judge = reward_named(chosen.judge) if chosen else None
    samples = sample_completions(policy, requests, settings, seed=seed, best=chosen, judge=judge)
    return [one.rollout for one in samples]


def score(
    model: RewardModel | EncoderScorer | RewardPanel,
    prompts: Sequence[str | Prompt],
    completions: Sequence[str],
) -> list[float]:
    """Score completions with a reward model, in logits of being preferred.

    Args:
        model: from `load_reward_model`, or `.reward_model` of a training result.
        prompts: texts, or `Prompt`s with whole conversations.
        completions: `completions[n]` answers `prompts[n]`.

    Returns:
        A score for each row; NaN if it is longer than the model's context.
    """
    if len(prompts) != len(completions):
        raise ConfigError(f"{len(prompts)} prompts and {len(completions)} completions; give equally many.")
    requests = [p if isinstance(p, Prompt) else prompt_of(p, n) for n, p in enumerate(prompts)]
    texts = [Completion(str(n), text) for n, text in enumerate(completions)]
    values: list[float] = reward_of_model(model, "reward").score(requests, texts).values.tolist()
    return values


def prompt_of(text: str, number: int) -> Prompt:
    """A single user turn as a prompt, with an id by `number`."""
    return Prompt(f"prompt-{number}", (Message("user", text),))


def chat(
    policy: Policy,
    *,
    system: str | None = None,
    seed: int = 0,
    best_of: int | None = None,
    reward: str | None = None,
    **sampling: Any,
) -> Conversation:
    """Start a conversation: `.answer("Hello")` returns the answer and remembers both; `.reset()` clears it.

    Args:
        policy: from `load_policy`, or `.policy` of a training result.
        system: the system message.
        seed: the same seed and the same turns give the same answers.
        best_of: number of draws per answer; the best one is returned.
        reward: scores the draws, as for `sample`.
        sampling: sampling settings as for `sample`, without `completions`.
    """
    settings = validate(Sampling, sampling, "chat")
    chosen = best_of_settings(best_of, reward, settings)
    judge = reward_named(chosen.judge) if chosen else None
    return Conversation(policy, settings, system, seed, best=chosen, judge=judge)
