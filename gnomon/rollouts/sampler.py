"""Sampling of completions, with the log-probabilities of the distribution drawn from."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from gnomon.core.errors import ConfigError, DataError, RunError
from gnomon.core.experience import FinishReason, Rollout
from gnomon.core.progress import console
from gnomon.core.types import Completion, Prompt
from gnomon.data.encoding import context_length
from gnomon.data.templates.rendering import decode, render_prompt
from gnomon.models.adapters import merged
from gnomon.models.engine.lm_head import logits
from gnomon.models.engine.onednn_weights import prepacked
from gnomon.models.roles import Policy
from gnomon.models.special_tokens import end_ids
from gnomon.rollouts.choice import choose_decoder, decoder_for
from gnomon.rollouts.decoding import Ids
from gnomon.rollouts.sampling_params import Sampling
from gnomon.rollouts.stop_strings import StopTexts
from gnomon.rollouts.token_sampling import draw, penalize, uniforms

__all__ = ["NativeSampler", "Report", "Sampler", "Sampling", "occurrence_index"]

Report = Callable[[int], None]


def occurrence_index(prompts: Sequence[Prompt]) -> list[int]:
    """Count, for each prompt, the earlier ones with its id."""
    seen: Counter[str] = Counter()
    indices = []
    for prompt in prompts:
        indices.append(seen[prompt.id])
        seen[prompt.id] += 1
    return indices


class Sampler(Protocol):
    """Draws completions for prompts."""

    def sample(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        seed: int,
        policy_version: int = 0,
        seeds: Sequence[int] | None = None,
        first: Sequence[int] | None = None,
    ) -> list[Rollout]:
        """Draw K rollouts for each prompt, prompt by prompt.

        Args:
            prompts: to complete.
            sampling: the settings.
            seed: of everything random.
            policy_version: optimizer steps that the policy has taken.
            seeds: one for each prompt, in place of its id.
            first: number of each prompt's first completion.
        """


@dataclass
class _Row:
    """A completion being drawn; `number` counts the completions of its prompt."""

    prompt: Prompt
    prompt_ids: Ids
    number: int
    stream: tuple[object, ...]
    uniforms: list[float] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    reason: FinishReason | None = None
    text: str = ""


class NativeSampler:
    """Samples from a policy in this process.

    Each prompt is read once for its K completions; as completions end, those of waiting prompts take their rows,
    so that `sampling.batch` rows stay busy.

    A completion draws from its own random stream, derived from `seed`, its prompt's id (or the prompt's own seed)
    and its number among the prompt's completions. So its tokens do not depend on the rest of the batch, its order
    or the number of processes, except for a draw so close to the boundary of two tokens that rounding decides.
    """

    def __init__(self, policy: Policy, report: Report | None = None):
        """Choose the policy's decoder.

        Raises:
            ModelError: no decoder reproduces its own log-probabilities.
        """
        choose_decoder(policy)
        self.policy = policy
        self.report = report
        self.ends = end_ids(policy.network, policy.tokenizer)
        self.most: int | None = None  # limit of rows side by side, after an accelerator's memory has run out

    def sample(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        seed: int,
        policy_version: int = 0,
        seeds: Sequence[int] | None = None,
        first: Sequence[int] | None = None,
    ) -> list[Rollout]:
        """Draw K rollouts for each prompt, prompt by prompt.

        Args:
            prompts: to complete.
            sampling: the settings.
            seed: of everything random.
            policy_version: optimizer steps that the policy has taken.
            seeds: one for each prompt, in place of its id: prompts that share one draw from the same streams.
            first: number of each prompt's first completion, if others of it are drawn elsewhere; by default, a
                prompt that is given twice continues its numbers.

        Raises:
            DataError: a prompt leaves no room for `max_tokens` in the model's context; nothing is drawn then.
            ConfigError: a stop id is not in the vocabulary.
            RunError: a single row does not fit into an accelerator's memory.
        """
        if first is None:
            first = [sampling.completions * index for index in occurrence_index(prompts)]
        while True:
            rows = self._rows(prompts, sampling, seed, seeds, first)
            batch = min(sampling.batch, self.most or sampling.batch)
            try:
                with merged(self.policy), prepacked(self.policy), torch.inference_mode():
                    self._draw_all(rows, sampling.model_copy(update={"batch": batch}))
                return [self._rollout(row, policy_version) for row in rows]
            except torch.OutOfMemoryError:
                pass  # the tensors are freed only after this block
            self._shrink(batch)

    def _shrink(self, batch: int) -> None:
        """Halve the number of rows permanently; each draws from its own stream, so completions stay the same."""
        if batch == 1:
            raise RunError(
                "the device's memory does not hold one completion being drawn; lower sampling.max_tokens, or "
                "take a smaller model."
            )
        self.most = batch // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        console.print(
            f"  [yellow]the device's memory ran out[/yellow]; continuing with {self.most} completions side by "
            f"side; set sampling.batch: {self.most} to start with that"
        )

    def _draw_all(self, rows: Sequence[_Row], sampling: Sampling) -> None:
        """Complete every row: rows enter, each draws a token, finished ones leave, the others continue."""
        decoder, waiting, active = decoder_for(self.policy), deque(rows), list[_Row]()
        ends = tuple(dict.fromkeys((*self.ends, *sampling.stop_ids)))
        stop = StopTexts(self.policy.tokenizer, sampling.stop)
        while active or waiting:
            states = [decoder.step([row.ids[-1] for row in active])] if active else []
            free = sampling.batch - len(active)
            # Prompts are read several at a time, so rows wait until an eighth of the batch is free.
            if waiting and (not active or (decoder.joins and 8 * free >= sampling.batch)):
                entering = [waiting.popleft() for _ in range(min(free, len(waiting)))]
                for row in entering:
                    row.uniforms = uniforms(sampling.max_tokens, *row.stream)
                states.append(decoder.enter([row.prompt_ids for row in entering]))
                active += entering
            scores = self._logits(torch.cat(states))
            scores = penalize(scores, [r.prompt_ids for r in active], [r.ids for r in active], ends, sampling)
            uniform = torch.tensor([r.uniforms[len(r.ids)] for r in active], dtype=torch.float64)
            token, logprob = draw(scores, sampling, uniform.to(scores.device))
            for row, t, lp in zip(active, token.tolist(), logprob.tolist(), strict=True):
                row.ids.append(t)
                row.logprobs.append(lp)
                row.reason = self._finish_reason(row, sampling, stop)
            unfinished = [index for index, row in enumerate(active) if row.reason is None]
            if len(unfinished) < len(active):
                active = [active[index] for index in decoder.keep(unfinished)]
                if self.report:
                    self.report(len(rows) - len(waiting) - len(active))

    def _finish_reason(self, row: _Row, sampling: Sampling, stop: StopTexts) -> FinishReason | None:
        """Return why the row ends with its last token, or `None`; sets the text of a row that ends."""
        tokenizer, last = self.policy.tokenizer, row.ids[-1]
        if last in self.ends:
            row.text = decode(tokenizer, row.ids)
            return "end"
        if last in sampling.stop_ids:
            row.text = decode(tokenizer, row.ids[:-1])
            return "stop"
        if (cut := stop.cut(row.ids)) is not None:
            row.text = cut
            return "stop"
        if len(row.ids) == sampling.max_tokens:
            row.text = decode(tokenizer, row.ids)
            return "length"
        return None

    def _rows(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seed: int,
        seeds: Sequence[int] | None,
        first: Sequence[int],
    ) -> list[_Row]:
        """Create K rows for each prompt, numbered from its `first`."""
        vocabulary = int(self.policy.network.get_output_embeddings().weight.shape[0])
        if beyond := [i for i in sampling.stop_ids if i >= vocabulary]:
            raise ConfigError(
                f"sampling: stop_ids: {beyond[0]} is not in the model's vocabulary of {vocabulary}; remove it."
            )
        context = context_length(self.policy.network.config)
        rows: list[_Row] = []
        for index, prompt in enumerate(prompts):
            ids = tuple(render_prompt(self.policy.tokenizer, prompt))
            if context is not None and len(ids) + sampling.max_tokens > context:
                raise DataError(
                    f"prompt '{prompt.id}' has {len(ids)} tokens, which with max_tokens {sampling.max_tokens} is "
                    f"more than the model's context of {context}; shorten it or lower sampling.max_tokens."
                )
            for k in range(sampling.completions):
                number = first[index] + k
                stream = (seed, prompt.id, number) if seeds is None else (seed, seeds[index], k)
                rows.append(_Row(prompt, ids, number, stream))
        return rows

    def _logits(self, hidden: Tensor) -> Tensor:
        network = self.policy.network
        # A trunk that ends in a projection returns bfloat16 under autocast; the head's weights are float32.
        return logits(network.get_output_embeddings(), network.config, hidden.float())

    def _rollout(self, row: _Row, policy_version: int) -> Rollout:
        assert row.reason is not None
        completion = Completion(id=f"{row.prompt.id}/{row.number}", text=row.text, token_ids=tuple(row.ids))
        return Rollout(row.prompt, row.prompt_ids, completion, tuple(row.logprobs), row.reason, policy_version)
