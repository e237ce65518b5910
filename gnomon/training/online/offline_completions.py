"""Stored completions of people or other models as members of a round's groups.

Their sampling probability is unknown, so the policy's log-probs at the round's start replace the sampler's: the
ratio starts at 1, and they push the policy towards or away from them like its own completions. This biases the
gradient, which is that of the objective only for the policy's own samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from gnomon.core.errors import DataError
from gnomon.core.experience import Rollout
from gnomon.core.types import Completion, Demonstration, Prompt, RejectedRow
from gnomon.data.batching import micro_batches
from gnomon.data.encoding import encode_answer
from gnomon.data.templates.rendering import render_prompt
from gnomon.models.roles import Policy
from gnomon.rollouts.experience import token_groups_of

Context = tuple[Any, ...]  # `Prompt.context`
Encoded = tuple[Completion, tuple[bool, ...]]


@dataclass(frozen=True)
class StoredCompletions:
    """Stored completions by the messages of their prompt.

    Attributes:
        answers: completions with token ids of the policy, and the mask of trainable tokens.
        share: maximum share of a group's completions.
        micro_batch_tokens: tokens of a policy pass over them.
    """

    answers: Mapping[Context, Sequence[Encoded]]
    share: float
    micro_batch_tokens: int

    def count(self, completions: int) -> int:
        """Number of stored completions in a group of `completions`, if the prompt has enough."""
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
        policy_version: int,
        occurrences: Sequence[int],
    ) -> list[list[Rollout]]:
        """Up to `count` completions for each prompt, none twice in a group, with the policy's log-probs.

        Args:
            policy: whose log-probs replace the unknown ones.
            prompts: of the round, or this process's shard of them.
            count: for each prompt; a prompt with fewer gets all of them.
            temperature: at which log-probs are computed.
            seed: of this round.
            policy_version: optimizer steps that the policy has taken.
            occurrences: how often each prompt occurs earlier in the round.
        """
        drawn = [
            [
                self._rollout(policy, prompt, answer, policy_version)
                for answer in self._chosen(prompt, count, turn, seed)
            ]
            for prompt, turn in zip(prompts, occurrences, strict=True)
        ]
        flat = [rollout for group in drawn for rollout in group]
        if not flat:
            return drawn
        tokens = token_groups_of(flat)
        logprobs: dict[int, tuple[float, ...]] = {}
        for rows in micro_batches(tokens, self.micro_batch_tokens):
            batch_logprobs = policy.logprobs(tokens.select(rows), temperature=temperature).cpu()
            for row, values in zip(rows, batch_logprobs, strict=True):
                logprobs[row] = tuple(values[: len(flat[row].token_ids)].tolist())
        known = iter([replace(rollout, logprobs=logprobs[row]) for row, rollout in enumerate(flat)])
        return [[next(known) for _ in group] for group in drawn]

    def _chosen(self, prompt: Prompt, count: int, turn: int, seed: int) -> list[Encoded]:
        """Completions for a prompt's `turn`-th occurrence, in an order given by seed and prompt."""
        stored = self.answers.get(prompt.context, ())
        letters = np.frombuffer("\n".join(m.content for m in prompt.messages).encode(), dtype=np.uint8)
        order = np.random.default_rng([seed, *letters.tolist()]).permutation(len(stored))
        return [stored[i] for i in order[turn * count : (turn + 1) * count]]

    def _rollout(self, policy: Policy, prompt: Prompt, answer: Encoded, policy_version: int) -> Rollout:
        completion, mask = answer
        ids = tuple(render_prompt(policy.tokenizer, prompt))
        return Rollout(prompt, ids, completion, (), "end", policy_version, mask, off_policy=True)


def store_completions(
    demonstrations: Sequence[Demonstration],
    tokenizer: Any,
    *,
    share: float,
    limit: int,
    micro_batch_tokens: int,
) -> tuple[StoredCompletions, list[RejectedRow]]:
    """Encode stored completions.

    Args:
        demonstrations: prompts with completions.
        tokenizer: of the policy.
        share: maximum share of a group's completions.
        limit: maximum tokens of a completion, as for the policy's own.
        micro_batch_tokens: tokens of a policy pass over them.

    Returns:
        The encoded completions, and the rejected rows.
    """
    answers: dict[Context, list[Encoded]] = {}
    rejected = []
    for row, one in enumerate(demonstrations, start=1):
        where = one.where or f"row {row}"
        try:
            ids, mask = encode_answer(tokenizer, one.prompt, one.completion, where)
        except DataError as error:
            reason = str(error).removeprefix(where).lstrip(":, ").rstrip(".")
            rejected.append(RejectedRow(where, reason, one.completion.text))
            continue
        if not ids or len(ids) > limit:
            reason = f"{len(ids)} tokens, of 1 to {limit} that sampling.max_tokens allows"
            rejected.append(
                RejectedRow(where, f"{reason}; shorten it or raise sampling.max_tokens", one.completion.text)
            )
            continue
        answers.setdefault(one.prompt.context, []).append((replace(one.completion, token_ids=ids), mask))
    return StoredCompletions(answers, share, micro_batch_tokens), rejected
