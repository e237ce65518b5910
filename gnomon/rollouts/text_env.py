"""Text generation as a Gymnasium environment, for any code of classic reinforcement learning.

The Markov decision process of a language model (Ramamurthy et al. 2023): the state is the tokens so far, an
action is the next token, and a step appends it. An episode is one completion. It terminates when the policy draws
an end token, and is truncated when the length limit cuts it off. With a tool, an end token ends a *turn*: the
tool's output is appended, and the policy goes on. A tool's tokens are no actions: they are part of the
observation, have no reward, and are false in the `completion_mask`.

An observation is the last `window` tokens, right-aligned, as integers; positions without a token hold
`vocabulary`. Its space is `MultiDiscrete`, which libraries turn into one-hot rows by themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeGuard, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gnomon.core.batches import TokenGroups
from gnomon.core.errors import ConfigError, DataError, RunError
from gnomon.core.experience import FinishReason, Rollout
from gnomon.core.types import Completion, Prompt
from gnomon.data.templates.rendering import decode, render_prompt
from gnomon.models.special_tokens import end_ids
from gnomon.rollouts.experience import token_groups_of

try:
    import gymnasium
    from gymnasium.spaces import Discrete, MultiDiscrete
except ImportError:
    raise ConfigError(
        "gnomon.rollouts.text_env needs gymnasium, which is not installed; run pip install gymnasium."
    ) from None

Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class Transcript:
    """An episode so far.

    Attributes:
        token_ids: everything after the prompt, T tokens: the policy's own and the tool's.
        completion_mask: `[T]`, true for the policy's own.
        rewards: `[T]`, of each token; 0 for the tool's.
        finished: the policy ended it.
        truncated: the length limit cut it off.
        text: of the tokens, if there is a tokenizer and a reward was computed; otherwise empty.
    """

    prompt: Prompt
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...] = ()
    completion_mask: tuple[bool, ...] = ()
    rewards: tuple[float, ...] = ()
    finished: bool = False
    truncated: bool = False
    text: str = ""

    @property
    def over(self) -> bool:
        """True if no further token can follow."""
        return self.finished or self.truncated

    @property
    def score(self) -> float:
        """Sum of all rewards so far."""
        return sum(self.rewards)

    def completion(self) -> Completion:
        """Return text and ids, including the tool's."""
        return Completion(f"{self.prompt.id}/episode", self.text, source="policy", token_ids=self.token_ids)

    def rollout(self, logprobs: Sequence[float], *, policy_version: int = 0) -> Rollout:
        """Convert the episode to a rollout, whose mask excludes the tool's tokens from every loss.

        Args:
            logprobs: of the policy's own tokens, in nats, in their order.
            policy_version: optimizer steps that the policy had taken.
        """
        count = sum(self.completion_mask)
        if len(logprobs) != count:
            raise DataError(
                f"the episode of prompt '{self.prompt.id}' has {count} tokens of the policy and "
                f"{len(logprobs)} log-probabilities; give one for each of its own tokens."
            )
        own = iter(logprobs)
        padded = tuple(float(next(own)) if chosen else 0.0 for chosen in self.completion_mask)
        reason: FinishReason = "end" if self.finished else "length"
        mask = self.completion_mask
        return Rollout(self.prompt, self.prompt_ids, self.completion(), padded, reason, policy_version, mask)


def token_groups_of_transcripts(transcripts: Sequence[Transcript]) -> TokenGroups:
    """Group episodes by prompt id; masks exclude the tool's tokens."""
    return token_groups_of([t.rollout([0.0] * sum(t.completion_mask)) for t in transcripts])


class RewardScores(Protocol):
    """Scores of a `TextScorer`."""

    @property
    def values(self) -> Tensor:
        """`[N]`."""

    @property
    def failures(self) -> Sequence[tuple[int, str]]:
        """Row and reason of each failed row."""


class TextScorer(Protocol):
    """A reward of `gnomon.rewards`."""

    def score(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> RewardScores:
        """Score `completions[n]` as an answer to `prompts[n]`."""


def _is_scorer(reward: object) -> TypeGuard[TextScorer]:
    return callable(getattr(reward, "score", None))


Tool = Callable[[Transcript], Sequence[int] | None]


class TextEnv(gymnasium.Env[Tokens, np.int64]):
    """Environment with one completion per episode and one token per step.

    `info["transcript"]` holds the `Transcript` so far, after `reset` and after every step.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt | Sequence[int]],
        reward: TextScorer | Callable[[Transcript], float],
        *,
        max_tokens: int,
        tokenizer: Any = None,
        vocabulary: int | None = None,
        end: int | Sequence[int] | None = None,
        network: Any = None,
        every_token: bool = False,
        tool: Tool | None = None,
        window: int | None = None,
        limit_terminates: bool = False,
    ):
        """Set up the spaces; nothing is drawn before `reset`.

        Args:
            prompts: drawn from at `reset`; as ids or, with a tokenizer, as `Prompt`s.
            reward: a function of the transcript, or, with a tokenizer, a reward of `gnomon.rewards`.
            max_tokens: limit of tokens that the policy may draw in an episode; a tool's do not count.
            tokenizer: provides `vocabulary`, `end` and texts; the ends are those of ordinary sampling.
            vocabulary: number of actions V; token ids are 0 … V − 1.
            end: the ids that end a turn, or the only one.
            network: of a policy; its generation settings may list more ends than its tokenizer has.
            every_token: compute a reward after each token (and the tool's output); otherwise once, at the
                episode's end.
            tool: called after a turn that ended with one of `end`; returns ids to append, or `None` to end the
                episode.
            window: tokens in an observation; by default the longest prompt and `max_tokens` fit.
            limit_terminates: report the length limit as a termination. After a truncation a learner bootstraps
                from its critic; here nothing follows, and the reward is complete.

        Raises:
            ConfigError: the settings do not fit together.
        """
        if tokenizer is None and _is_scorer(reward):
            raise ConfigError("a reward that reads texts needs a tokenizer; give TextEnv one.")
        self.tokenizer = tokenizer
        self.reward, self.every_token, self.tool = reward, every_token, tool
        self.max_tokens, self.limit_terminates = max_tokens, limit_terminates
        self.vocabulary = len(tokenizer) if vocabulary is None and tokenizer is not None else vocabulary
        if end is None:
            self.end_ids = end_ids(network, tokenizer) if tokenizer is not None else ()
        else:
            self.end_ids = (end,) if isinstance(end, int) else tuple(end)
        if self.vocabulary is None or not self.end_ids:
            raise ConfigError("TextEnv needs a tokenizer, or both vocabulary and end.")
        if wrong := [one for one in self.end_ids if not 0 <= one < self.vocabulary]:
            raise ConfigError(f"end is {wrong[0]}; it must be one of the ids 0 … {self.vocabulary - 1}.")
        if max_tokens < 1:
            raise ConfigError(f"max_tokens is {max_tokens}; an episode needs at least one.")
        if not len(prompts):
            raise ConfigError("TextEnv needs at least one prompt.")
        self.starts = [self._start(i, prompt) for i, prompt in enumerate(prompts)]
        self.window = window or max(len(start.prompt_ids) for start in self.starts) + max_tokens
        self.observation_space = MultiDiscrete([self.vocabulary + 1] * self.window)
        self.action_space = Discrete(self.vocabulary)
        self._now: Transcript | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Tokens, dict[str, Any]]:
        """Start an episode with a random prompt, or with number `options["prompt"]`."""
        super().reset(seed=seed)
        number = (options or {}).get("prompt")
        if number is None:
            number = int(self.np_random.integers(len(self.starts)))
        if not 0 <= number < len(self.starts):
            raise ConfigError(f"there is no prompt {number}; there are {len(self.starts)}, counted from 0.")
        self._now = self.starts[number]
        return self._observation(self._now), {"transcript": self._now}

    def step(self, action: np.int64 | int) -> tuple[Tokens, float, bool, bool, dict[str, Any]]:
        """Append a token; returns observation, reward, terminated, truncated, info."""
        if self._now is None or self._now.over:
            raise ConfigError("no episode is under way; call reset() before step().")
        token = int(action)
        now = self._appended(self._now, [token], own=True)
        ended = token in self.end_ids
        output = self.tool(now) if ended and self.tool else None
        if output is not None:
            now = self._appended(now, output, own=False)
        finished = ended and output is None
        truncated = not finished and sum(now.completion_mask) >= self.max_tokens
        now = replace(now, finished=finished, truncated=truncated)
        reward = 0.0
        if now.over or self.every_token:
            now = replace(now, text=decode(self.tokenizer, now.token_ids) if self.tokenizer is not None else "")
            reward = self._reward(now)
        last = len(self._now.token_ids)
        rewards = (*now.rewards[:last], reward, *now.rewards[last + 1 :])
        self._now = now = replace(now, rewards=rewards)
        if self.limit_terminates:
            finished, truncated = now.over, False
        return self._observation(now), reward, finished, truncated, {"transcript": now}

    def _start(self, number: int, prompt: Prompt | Sequence[int]) -> Transcript:
        """Return the initial transcript of a prompt's episodes."""
        if not isinstance(prompt, Prompt):
            start = Transcript(Prompt(str(number), ()), tuple(int(i) for i in prompt))
        elif self.tokenizer is None:
            raise ConfigError(f"prompt '{prompt.id}' is text; give TextEnv a tokenizer, or prompts as ids.")
        else:
            start = Transcript(prompt, tuple(render_prompt(self.tokenizer, prompt)))
        if not start.prompt_ids:
            raise DataError(f"prompt '{start.prompt.id}' has no tokens; it needs at least one.")
        self._check(start.prompt_ids, f"prompt '{start.prompt.id}'")
        return start

    def _appended(self, now: Transcript, tokens: Sequence[int], *, own: bool) -> Transcript:
        self._check(tokens, "the action" if own else "the tool's output")
        return replace(
            now,
            token_ids=(*now.token_ids, *(int(i) for i in tokens)),
            completion_mask=(*now.completion_mask, *[own] * len(tokens)),
            rewards=(*now.rewards, *[0.0] * len(tokens)),
        )

    def _check(self, tokens: Sequence[int], what: str) -> None:
        assert self.vocabulary is not None
        wrong = next((i for i in tokens if not 0 <= i < self.vocabulary), None)
        if wrong is not None:
            raise DataError(f"{what} holds token {wrong}; ids are 0 … {self.vocabulary - 1}.")

    def _reward(self, now: Transcript) -> float:
        """Compute the reward of the transcript; a reward that fails ends the run and is never 0."""
        reason = "its value is not a finite number"
        if _is_scorer(self.reward):
            scored = self.reward.score([now.prompt], [now.completion()])
            value = float(scored.values[0])
            reason = scored.failures[0][1] if scored.failures else reason
        else:
            value = float(cast(Callable[[Transcript], float], self.reward)(now))
        if not math.isfinite(value):
            raise RunError(f"the reward failed on an episode of prompt '{now.prompt.id}' ({reason}); fix it.")
        return value

    def _observation(self, now: Transcript) -> Tokens:
        """Return the last tokens `[window]`, right-aligned."""
        assert self.vocabulary is not None
        seen = [*now.prompt_ids, *now.token_ids][-self.window :]
        observation = np.full(self.window, self.vocabulary, dtype=np.int64)
        observation[self.window - len(seen) :] = seen
        return observation
