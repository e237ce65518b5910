"""Completions that others wrote, people or other models, as members of a round's groups.

Nobody knows with what probability they were written, so they are left out of the ratio: the policy's own
log-probabilities at the round's start stand for the sampler's. Their ratio begins at 1, and they push the policy
towards or away from them as its own completions do. That is a bias: the gradient is that of the policy's samples
only for those that the policy drew itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from gnomon.core.errors import DataError
from gnomon.core.experience import Rollout
from gnomon.core.types import Completion, Demonstration, Message, Prompt, Rejected
from gnomon.data.batching import micro_batches
from gnomon.data.encoding import encode_answer
from gnomon.data.templates.rendering import render_prompt
from gnomon.models.roles import Policy
from gnomon.rollouts.experience import token_groups_of

Turns = tuple[Message, ...]
Encoded = tuple[Completion, tuple[bool, ...]]


@dataclass(frozen=True)
class StoredCompletions:
    """What there is for each prompt, found by its messages.

    Attributes:
        answers: completions with the policy's token ids, and which of their tokens a policy chooses.
        share: of each group's completions, at most this much is taken from here.
        micro_batch_tokens: tokens of a pass of the policy over them.
    """

    answers: Mapping[Turns, Sequence[Encoded]]
    share: float
    micro_batch_tokens: int

    def count(self, completions: int) -> int:
        """How many of a group of so many come from here, where there are enough for its prompt."""
        return round(self.share * completions)

    @torch.no_grad()
    def draw(
        self,
        policy: Policy,
        prompts: Sequence[Prompt],
        count: int,
        *,
        temperature: float,
        seed: int,
        version: int,
        stood: Sequence[int],
    ) -> list[list[Rollout]]:
        """Up to `count` completions for each prompt, none twice in a group, with the policy's log-probabilities.

        Args:
            policy: whose log-probabilities stand for the unknown ones.
            prompts: of the round, or of this process's share.
            count: for each; a prompt for which fewer are stored gets those.
            temperature: at which the policy is asked.
            seed: the same seed draws the same.
            version: optimizer steps that the policy has taken.
            stood: how often each prompt stands before in the round.
        """
        drawn = [
            [self._rollout(policy, prompt, answer, version) for answer in self._chosen(prompt, count, turn, seed)]
            for prompt, turn in zip(prompts, stood, strict=True)
        ]
        flat = [rollout for group in drawn for rollout in group]
        if not flat:
            return drawn
        tokens = token_groups_of(flat)
        said: dict[int, tuple[float, ...]] = {}
        for rows in micro_batches(tokens, self.micro_batch_tokens):
            found = policy.logprobs(tokens.select(rows), temperature=temperature).cpu()
            for row, values in zip(rows, found, strict=True):
                said[row] = tuple(values[: len(flat[row].token_ids)].tolist())
        known = iter([replace(rollout, logprobs=said[row]) for row, rollout in enumerate(flat)])
        return [[next(known) for _ in group] for group in drawn]

    def _chosen(self, prompt: Prompt, count: int, turn: int, seed: int) -> list[Encoded]:
        """This turn's completions of the prompt, in an order that the seed and the prompt's words decide."""
        stored = self.answers.get(prompt.messages, ())
        letters = np.frombuffer("\n".join(m.content for m in prompt.messages).encode(), dtype=np.uint8)
        order = np.random.default_rng([seed, *letters.tolist()]).permutation(len(stored))
        return [stored[i] for i in order[turn * count : (turn + 1) * count]]

    def _rollout(self, policy: Policy, prompt: Prompt, answer: Encoded, version: int) -> Rollout:
        completion, mask = answer
        ids = tuple(render_prompt(policy.tokenizer, prompt))
        return Rollout(prompt, ids, completion, (), "end", version, mask, off_policy=True)


def store_completions(
    demonstrations: Sequence[Demonstration],
    tokenizer: Any,
    *,
    share: float,
    limit: int,
    micro_batch_tokens: int,
) -> tuple[StoredCompletions, list[Rejected]]:
    """Encode stored completions; those longer than `limit` tokens are refused: none of the policy's are."""
    answers: dict[Turns, list[Encoded]] = {}
    rejected = []
    for row, one in enumerate(demonstrations, start=1):
        where = one.where or f"row {row}"
        try:
            ids, mask = encode_answer(tokenizer, one.prompt, one.completion, where)
        except DataError as error:
            reason = str(error).removeprefix(where).lstrip(":, ").rstrip(".")
            rejected.append(Rejected(where, reason, one.completion.text))
            continue
        if not ids or len(ids) > limit:
            reason = f"{len(ids)} tokens, of 1 to {limit} that sampling.max_tokens allows"
            rejected.append(
                Rejected(where, f"{reason}; shorten it or raise sampling.max_tokens", one.completion.text)
            )
            continue
        answers.setdefault(one.prompt.messages, []).append((replace(one.completion, token_ids=ids), mask))
    return StoredCompletions(answers, share, micro_batch_tokens), rejected
