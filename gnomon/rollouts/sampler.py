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
from gnomon.rollouts.decoding import TokenIds
from gnomon.rollouts.sampling_params import Sampling
from gnomon.rollouts.stop_strings import StopTexts
from gnomon.rollouts.token_sampling import draw, penalize, uniforms

__all__ = ["NativeSampler", "ProgressCallback", "Sampler", "Sampling", "occurrence_index"]

ProgressCallback = Callable[[int], None]  # gets the number of completions that have ended


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
        first_indices: Sequence[int] | None = None,
    ) -> list[Rollout]:
        """Sample `sampling.completions` rollouts for each prompt, prompt by prompt.

        Args:
            prompts: to complete.
            sampling: the settings.
            seed: of everything random.
            policy_version: optimizer steps that the policy has taken.
            seeds: one for each prompt, in place of its id.
            first_indices: index of each prompt's first completion.
        """


@dataclass
class _Request:
    """A completion to sample, and its tokens so far.

    Attributes:
        index: among the completions of its prompt.
        random_key: what its random stream depends on.
    """

    prompt: Prompt
    prompt_ids: TokenIds
    index: int
    random_key: tuple[object, ...]
    uniforms: list[float] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    text: str = ""


class NativeSampler:
    """Samples from a policy in this process.

    Each prompt is prefilled once for its K completions. With continuous batching, completions of waiting prompts
    take the rows of those that end, so that `sampling.batch` rows stay busy.

    A completion draws from its own random stream, derived from `seed`, its prompt's id (or the prompt's own seed)
    and its index among the prompt's completions. So its tokens do not depend on the rest of the batch, its order
    or the number of processes, except for a draw so close to the boundary of two tokens that rounding decides.
    """

    def __init__(self, policy: Policy, on_progress: ProgressCallback | None = None):
        """Choose the policy's decoder.

        Raises:
            ModelError: no decoder reproduces its own log-probabilities.
        """
        choose_decoder(policy)
        self.policy = policy
        self.on_progress = on_progress
        self.end_ids = end_ids(policy.network, policy.tokenizer)
        self.max_batch: int | None = None  # limit of rows, set once an accelerator's memory has run out

    def sample(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        seed: int,
        policy_version: int = 0,
        seeds: Sequence[int] | None = None,
        first_indices: Sequence[int] | None = None,
    ) -> list[Rollout]:
        """Sample `sampling.completions` rollouts for each prompt, prompt by prompt.

        Args:
            prompts: to complete.
            sampling: the settings.
            seed: of everything random.
            policy_version: optimizer steps that the policy has taken.
            seeds: one for each prompt, in place of its id: prompts that share one draw from the same streams.
            first_indices: index of each prompt's first completion, if others of it are sampled elsewhere; by
                default they are counted from 0, and on if the prompt is given again.

        Raises:
            DataError: a prompt leaves no room for `max_tokens` in the model's context; nothing is drawn then.
            ConfigError: a stop id is not in the vocabulary.
            RunError: a single row does not fit into an accelerator's memory.
        """
        if first_indices is None:
            first_indices = [sampling.completions * occurrence for occurrence in occurrence_index(prompts)]
        while True:
            requests = self._requests(prompts, sampling, seed, seeds, first_indices)
            batch = min(sampling.batch, self.max_batch or sampling.batch)
            try:
                with merged(self.policy), prepacked(self.policy), torch.inference_mode():
                    self._complete(requests, sampling.model_copy(update={"batch": batch}))
                return [self._rollout(request, policy_version) for request in requests]
            except torch.OutOfMemoryError:
                pass  # the tensors are freed only after this block
            self._shrink(batch)

    def _shrink(self, batch: int) -> None:
        """Halve the number of rows permanently; completions stay the same, as each has its own random stream."""
        if batch == 1:
            raise RunError(
                "the device's memory does not hold one completion being drawn; lower sampling.max_tokens, or "
                "take a smaller model."
            )
        self.max_batch = batch // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        console.print(
            f"  [yellow]the device's memory ran out[/yellow]; continuing with {self.max_batch} completions side "
            f"by side; set sampling.batch: {self.max_batch} to start with that"
        )

    def _complete(self, requests: Sequence[_Request], sampling: Sampling) -> None:
        """Sample all requests: a batch of rows draws one token each at a time, and ended rows are replaced."""
        decoder, waiting, active = decoder_for(self.policy), deque(requests), list[_Request]()
        terminators = tuple(dict.fromkeys((*self.end_ids, *sampling.stop_ids)))
        stop = StopTexts(self.policy.tokenizer, sampling.stop)
        while active or waiting:
            states = [decoder.decode([request.token_ids[-1] for request in active])] if active else []
            free = sampling.batch - len(active)
            # Prefilling several prompts at once is faster, so requests wait until an eighth of the batch is free.
            if waiting and (not active or (decoder.continuous_batching and 8 * free >= sampling.batch)):
                entering = [waiting.popleft() for _ in range(min(free, len(waiting)))]
                for request in entering:
                    request.uniforms = uniforms(sampling.max_tokens, *request.random_key)
                states.append(decoder.enter([request.prompt_ids for request in entering]))
                active += entering
            next_logits = penalize(
                self._logits(torch.cat(states)),
                [request.prompt_ids for request in active],
                [request.token_ids for request in active],
                terminators,
                sampling,
            )
            uniform = torch.tensor([r.uniforms[len(r.token_ids)] for r in active], dtype=torch.float64)
            tokens, logprobs = draw(next_logits, sampling, uniform.to(next_logits.device))
            for request, token, logprob in zip(active, tokens.tolist(), logprobs.tolist(), strict=True):
                request.token_ids.append(token)
                request.logprobs.append(logprob)
                request.finish_reason = self._finish_reason(request, sampling, stop)
            unfinished = [row for row, request in enumerate(active) if request.finish_reason is None]
            if len(unfinished) < len(active):
                active = [active[row] for row in decoder.keep(unfinished)]
                if self.on_progress:
                    self.on_progress(len(requests) - len(waiting) - len(active))

    def _finish_reason(self, request: _Request, sampling: Sampling, stop: StopTexts) -> FinishReason | None:
        """Return why a completion ends with its last token, or `None`; sets the text of one that ends."""
        tokenizer, ids = self.policy.tokenizer, request.token_ids
        if ids[-1] in self.end_ids:
            request.text = decode(tokenizer, ids)
            return "end"
        if ids[-1] in sampling.stop_ids:
            request.text = decode(tokenizer, ids[:-1])
            return "stop"
        if (text := stop.cut(ids)) is not None:
            request.text = text
            return "stop"
        if len(ids) == sampling.max_tokens:
            request.text = decode(tokenizer, ids)
            return "length"
        return None

    def _requests(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seed: int,
        seeds: Sequence[int] | None,
        first_indices: Sequence[int],
    ) -> list[_Request]:
        """Create K requests for each prompt, counted from its first index."""
        vocabulary = int(self.policy.network.get_output_embeddings().weight.shape[0])
        if beyond := [i for i in sampling.stop_ids if i >= vocabulary]:
            raise ConfigError(
                f"sampling: stop_ids: {beyond[0]} is not in the model's vocabulary of {vocabulary}; remove it."
            )
        context = context_length(self.policy.network.config)
        requests: list[_Request] = []
        for position, prompt in enumerate(prompts):
            prompt_ids = tuple(render_prompt(self.policy.tokenizer, prompt))
            if context is not None and len(prompt_ids) + sampling.max_tokens > context:
                raise DataError(
                    f"prompt '{prompt.id}' has {len(prompt_ids)} tokens, which with max_tokens "
                    f"{sampling.max_tokens} is more than the model's context of {context}; shorten it or lower "
                    "sampling.max_tokens."
                )
            for k in range(sampling.completions):
                index = first_indices[position] + k
                random_key = (seed, prompt.id, index) if seeds is None else (seed, seeds[position], k)
                requests.append(_Request(prompt, prompt_ids, index, random_key))
        return requests

    def _logits(self, hidden: Tensor) -> Tensor:
        network = self.policy.network
        # A trunk that ends in a projection returns bfloat16 under autocast; the head's weights are float32.
        return logits(network.get_output_embeddings(), network.config, hidden.float())

    def _rollout(self, request: _Request, policy_version: int) -> Rollout:
        prompt, token_ids = request.prompt, tuple(request.token_ids)
        completion = Completion(id=f"{prompt.id}/{request.index}", text=request.text, token_ids=token_ids)
        logprobs, reason = tuple(request.logprobs), request.finish_reason
        assert reason is not None
        return Rollout(prompt, request.prompt_ids, completion, logprobs, reason, policy_version)
