"""Choice of a model's decoder: the fastest that reproduces the model's own log-probabilities in a trial.

Architectures differ in what they cache, and in how padding affects it. A wrong decoder fails silently: it draws
from another distribution than the one it reports. So a model of an unknown architecture reads a few tokens of
prompts of several lengths through each decoder, the fastest first, and the outputs are compared with its own
forward pass. Tests do the same for the architectures in `gnomon.models.verify_forward.VERIFIED`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from gnomon.core.errors import GnomonError, ModelError
from gnomon.core.progress import console
from gnomon.models.adapters import replaced
from gnomon.models.engine import tree_attention
from gnomon.models.engine.forward import can_pack
from gnomon.models.engine.lm_head import logits
from gnomon.models.roles import Policy
from gnomon.models.verify_forward import TOLERANCE, VERIFIED, own_numbers
from gnomon.rollouts.decoding import Decoder, PaddedDecoder, SlotDecoder, TokenIds
from gnomon.rollouts.plain_decoders import AloneDecoder, RecomputingDecoder, UnpaddedDecoder

DecoderName = Literal["slots", "padded", "unpadded", "alone", "recomputing"]
DECODERS: dict[DecoderName, Callable[[Policy], Decoder]] = {
    "slots": SlotDecoder,
    "padded": PaddedDecoder,
    "unpadded": UnpaddedDecoder,
    "alone": AloneDecoder,
    "recomputing": RecomputingDecoder,
}
ROUNDING = 1e-3  # nats in float32; a decoder within it is chosen at once, beyond it the next is tried first


def decoder_for(policy: Policy) -> Decoder:
    """Create a decoder of the kind that `choose_decoder` returns."""
    return DECODERS[choose_decoder(policy)](policy)


def choose_decoder(policy: Policy) -> DecoderName:
    """Choose the fastest decoder that reproduces the policy's log-probabilities; stored in `policy.decoder`.

    Raises:
        ModelError: none does.
    """
    if policy.decoder is None:
        policy.decoder = _chosen(policy)
        if policy.decoder == "recomputing":
            kind = policy.network.config.model_type
            console.print(
                f"  [yellow]no cache works for {kind} models[/yellow]; each token is drawn by reading the whole "
                "text, so long completions are slow"
            )
    return policy.decoder


def fast_decoder(trunk: Any) -> DecoderName:
    """Return the fast decoder that an architecture's declared properties allow."""
    replaceable = trunk._supports_attention_backend and trunk.config._attn_implementation in tree_attention.PLAIN
    return "slots" if replaceable and can_pack(trunk.config) else "padded"


def _chosen(policy: Policy) -> DecoderName:
    kind, fast = policy.network.config.model_type, fast_decoder(policy.trunk)
    if kind in VERIFIED:
        return fast
    near: list[DecoderName] = []
    for name, make in DECODERS.items():
        gap = _exact_gap(policy, make) if name != "slots" or fast == "slots" else torch.inf
        lower = policy.compute.dtype != torch.float32
        if gap > TOLERANCE or (lower and _trial_logprobs(policy, make) is None):  # in lower precision it must run
            continue
        if gap <= ROUNDING:
            return name
        near.append(name)
    if near:
        return near[0]
    raise ModelError(
        f"{kind} models cannot be sampled from: no decoder reproduces their forward pass token by token; train "
        "them on stored data, or take another model."
    )


def _exact_gap(policy: Policy, make: Callable[[Policy], Decoder]) -> float:
    """Compute `decoder_deviation` in float32, whatever the precision of the policy and its weights."""
    exact = Policy(policy.network, policy.tokenizer, replace(policy.compute, dtype=torch.float32), policy.adapter)
    exact.layout = policy.layout
    lower = (torch.float16, torch.bfloat16)
    with replaced({p: p.data.float() for p in policy.network.parameters() if p.dtype in lower}):
        return decoder_deviation(exact, make)


@torch.no_grad()
def decoder_deviation(policy: Policy, make: Callable[[Policy], Decoder]) -> float:
    """Compute the largest deviation of a decoder's log-probabilities from those of a forward pass, in nats.

    Infinite if the architecture does not work with the decoder.
    """
    trial = _trial_logprobs(policy, make)
    if trial is None:
        return torch.inf
    whole = [text for text in trial if not any(_begins(other, text) for other in trial)]
    own = {text: own_numbers(policy, torch.tensor(text), len(text) - 1).tolist() for text in whole}
    gaps = [
        abs(logprobs[len(text) - 2] - logprob)
        for text, logprob in trial.items()
        for longer, logprobs in own.items()
        if longer == text or _begins(longer, text)
    ]
    return max(gaps) if all(math.isfinite(gap) for gap in gaps) else torch.inf


@torch.no_grad()
def _trial_logprobs(policy: Policy, make: Callable[[Policy], Decoder]) -> dict[TokenIds, float] | None:
    """Compute the decoder's log-probabilities of a few texts' last tokens, in nats; `None` if it fails."""
    try:
        trial = _Trial(policy, make(policy))
        trial.run()
    except (RuntimeError, TypeError, ValueError, AttributeError, LookupError, AssertionError, GnomonError):
        return None  # the next decoder is tried, or the model is refused
    return trial.logprobs


def _begins(text: TokenIds, start: TokenIds) -> bool:
    """Return whether a text begins with `start` and is longer."""
    return len(text) > len(start) and text[: len(start)] == start


class _Trial:
    """A few tokens through a decoder: rows of several lengths enter, leave and are joined by others.

    Attributes:
        logprobs: of the last token of each row's text so far, in nats.
    """

    def __init__(self, policy: Policy, decoder: Decoder) -> None:
        self.policy, self.decoder = policy, decoder
        self.vocabulary = int(policy.network.get_output_embeddings().weight.shape[0])
        self.rows: list[TokenIds] = []
        self.logprobs: dict[TokenIds, float] = {}

    def run(self) -> None:
        """Run two batches of prompts; one prompt has two rows, which read different tokens."""
        ids = tuple((37 * n + 5) % self.vocabulary for n in range(13))
        first, second = [ids[:4], ids[3:12], ids[:4], ids[5:7]], [ids[2:5], ids[4:12]]
        states = self._enter(first)
        states = self._step(states)
        states = self._step(states, staying=[1, 2, 3])
        if self.decoder.continuous_batching:
            states = torch.cat([self._step(states, staying=[1, 2]), self._enter(second)])
        else:
            self.rows = []
            states = self._enter(second)
        states = self._step(states)
        states = self._step(states, staying=list(range(1, len(self.rows))))
        self._note(states)

    def _enter(self, prompts: Sequence[TokenIds]) -> Tensor:
        self.rows += prompts
        return self.decoder.enter(prompts)

    def _step(self, states: Tensor, staying: Sequence[int] | None = None) -> Tensor:
        """Give each row a token, which those in `staying` read; returns the next states, `[B, d]`."""
        tokens = self._note(states)
        if staying is not None:
            order = self.decoder.keep(staying)
            self.rows, tokens = [self.rows[row] for row in order], [tokens[row] for row in order]
        return self.decoder.decode(tokens)

    def _note(self, states: Tensor) -> list[int]:
        """Give each row a token, and record its log-probability."""
        head, config = self.policy.network.get_output_embeddings(), self.policy.network.config
        logprobs = logits(head, config, states.float()).log_softmax(-1)
        tokens = [(11 * len(self.logprobs) + 7 * row + 3) % self.vocabulary for row in range(len(self.rows))]
        self.rows = [(*row, token) for row, token in zip(self.rows, tokens, strict=True)]
        for row, token, of_row in zip(self.rows, tokens, logprobs, strict=True):
            self.logprobs[row] = float(of_row[token])
        return tokens
