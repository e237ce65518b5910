"""Models and data at work, as typed calls: load, sample, score, chat, inspect."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gnomon.api.best_of_n import best_of as asked_best
from gnomon.api.best_of_n import draw
from gnomon.api.chat import Conversation
from gnomon.api.recipes import Name
from gnomon.api.score import reward_named
from gnomon.core.config import validate
from gnomon.core.errors import ConfigError
from gnomon.core.experience import Rollout
from gnomon.core.types import Completion, Message, Prompt
from gnomon.data.inspection import Inspection
from gnomon.data.inspection import inspect as read_file
from gnomon.models.engine.device import find_compute
from gnomon.models.external import open_policy, open_reward_model
from gnomon.models.roles import Policy, RewardModel
from gnomon.models.settings import Device, Precision
from gnomon.rewards.reward import LearnedReward
from gnomon.rollouts.sampling_params import Sampling


def load_policy(name: Name, *, device: Device = "auto", precision: Precision = "auto") -> Policy:
    """A language model: a catalogue name such as `smollm2-135m`, a folder, a GGUF file or a hub name.

    Raises:
        ModelError: there is no such model, or it is no language model.
    """
    return open_policy(os.fspath(name), find_compute(device, precision))


def load_reward_model(name: Name, *, device: Device = "auto", precision: Precision = "float32") -> RewardModel:
    """A trained reward model: a stage's folder, or any other that `save_pretrained` wrote.

    It computes in float32, so that a text has one score on every processor; `precision="auto"` is faster where
    there are instructions for bfloat16.

    Raises:
        ModelError: there is no such model, or it is no reward model.
    """
    return open_reward_model(os.fspath(name), find_compute(device, precision))


def sample(
    policy: Policy,
    prompts: Sequence[str | Prompt],
    *,
    seed: int = 0,
    best_of: int | None = None,
    reward: str | None = None,
    **sampling: Any,
) -> list[Rollout]:
    """Completions of prompts, prompt by prompt; the text of one is `rollout.completion.text`.

    Args:
        policy: from `load_policy`, or `.policy` of a training.
        prompts: texts, or `Prompt`s with whole conversations.
        seed: the same seed, prompts and settings give the same completions.
        best_of: draw so many for each completion, and keep the best.
        reward: scores the draws, of which the highest is kept: a reward model's name, `vader`, or
            `file.py:function`.
        sampling: any of `gnomon.rollouts.sampling_params.Sampling`: `completions` (for each prompt),
            `temperature`, `max_tokens`, `top_p`, `top_k`, `repetition_penalty`, `stop`.
    """
    asked = [p if isinstance(p, Prompt) else prompt_of(p, n) for n, p in enumerate(prompts)]
    how = validate(Sampling, sampling, "sample")
    chosen = asked_best(best_of, reward, how)
    judge = reward_named(chosen.judge) if chosen else None
    return [one.rollout for one in draw(policy, asked, how, seed=seed, best=chosen, judge=judge)]


def score(model: RewardModel, prompts: Sequence[str | Prompt], completions: Sequence[str]) -> list[float]:
    """A reward model's scores: `completions[n]` answers `prompts[n]`; in logits of being preferred.

    A row longer than the model's context has NaN.
    """
    if len(prompts) != len(completions):
        raise ConfigError(f"{len(prompts)} prompts and {len(completions)} completions; give as many of each.")
    asked = [p if isinstance(p, Prompt) else prompt_of(p, n) for n, p in enumerate(prompts)]
    written = [Completion(str(n), text) for n, text in enumerate(completions)]
    found = LearnedReward(model, "reward").score(asked, written)
    values: list[float] = found.values.tolist()
    return values


def prompt_of(text: str, number: int) -> Prompt:
    """One user's turn as a prompt; `number` makes it a group of its own."""
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
    """A conversation: `.answer("Hello")` gives the model's answer and remembers both; `.reset()` forgets.

    Args:
        policy: from `load_policy`, or `.policy` of a training.
        system: what the model is told before the first turn.
        seed: the same seed and the same turns give the same answers.
        best_of: draw so many answers, and give the best.
        reward: scores the draws, of which the highest is kept, as for `sample`.
        sampling: as for `sample`, without `completions`.
    """
    how = validate(Sampling, sampling, "chat")
    chosen = asked_best(best_of, reward, how)
    return Conversation(
        policy, how, system, seed, best=chosen, judge=reward_named(chosen.judge) if chosen else None
    )


def inspect(file: Name) -> Inspection:
    """What a file of data holds: its kind, its sound records, and the rows that were refused with the reason.

    Raises:
        DataError: the file cannot be read, is empty, or no row of it is a record of any kind.
    """
    return read_file(Path(file))
