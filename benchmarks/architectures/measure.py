"""What of Gnomon holds for an architecture, measured against transformers' own forward pass, a text at a time."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import configurations
import torch
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from gnomon.core.batches import TokenGroups
from gnomon.core.errors import GnomonError
from gnomon.core.types import Message, Prompt
from gnomon.data.templates.chat_template import PLAIN_TEMPLATE
from gnomon.models.engine.device import Compute
from gnomon.models.library_patches import quiet_transformers
from gnomon.models.loading import load_policy, save_model
from gnomon.models.roles import Policy
from gnomon.models.verify_forward import verified
from gnomon.rollouts.choice import ROUNDING
from gnomon.rollouts.experience import token_groups_of
from gnomon.rollouts.sampler import NativeSampler
from gnomon.rollouts.sampling_params import Sampling

CPU = Compute(torch.device("cpu"), torch.float32)
NEAR = 1e-4  # nats; and of a gradient, the length of the difference over its own length
WAYS = {
    "slots": "fast",
    "padded": "fast",
    "unpadded": "plain",
    "alone": "plain",
    "recomputing": "no cache",
}


@dataclass(frozen=True)
class Row:
    """A line of the table: what was measured, or why it was not.

    Attributes:
        kind: the model type.
        forward: `yes`, or by how many nats log-probabilities are off.
        gradient: `yes`, or by which share gradients are off.
        sampler: which way draws, one of `WAYS`, and by how many nats it is off, if it is.
        saved: whether a saved model gives the same log-probabilities when it is loaded.
        layout: how rows are laid out in training.
        refusal: the sentence of the refusal, where there is one.
        unbuilt: why no tiny model can be made, where that is so.
    """

    kind: str
    forward: str = ""
    gradient: str = ""
    sampler: str = ""
    saved: str = ""
    layout: str = ""
    refusal: str = ""
    unbuilt: str = ""

    @property
    def right(self) -> bool:
        """Whether everything holds."""
        return {self.forward, self.gradient, self.saved} == {"yes"} and self.sampler in WAYS.values()


def measure(kind: str) -> Row:
    """Build a tiny model of the type `kind`, train, sample and save with it."""
    with warnings.catch_warnings(), quiet_transformers():
        warnings.simplefilter("ignore")
        try:
            network = configurations.tiny_network(kind)
            network(input_ids=torch.arange(5, 9)[None], use_cache=False)
        except Exception as error:  # noqa: BLE001  whatever a configuration that was not made for this does
            reason = " ".join(str(error).split()).split(". ")[0].removesuffix(".")
            return Row(kind, unbuilt=f"{type(error).__name__}: {reason[:150]}")
        policy = Policy(network, tokenizer(), CPU)
        try:
            verified(policy)
            sampler = NativeSampler(policy)
        except GnomonError as error:
            return Row(kind, refusal=str(error))
        network.requires_grad_(True)
        try:
            forward, gradient = _training(policy)
            return Row(kind, forward, gradient, _sampling(sampler), _saving(policy), policy.layout_in_use)
        except Exception as error:  # noqa: BLE001  a fault, and a line of the table like any other
            return Row(kind, f"fails: {type(error).__name__}", layout=policy.layout_in_use)


def tokenizer() -> Any:
    """A word for each token, so that any sampled text can be read."""
    words = {"<end>": 0, "Human": 1, ":": 2, "Assistant": 3, "<unk>": 4}
    words |= {f"w{i}": i for i in range(len(words), configurations.VOCABULARY)}
    inner = Tokenizer(WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<end>", pad_token="<end>", unk_token="<unk>"
    )
    tokenizer.chat_template = PLAIN_TEMPLATE
    return tokenizer


def _own(policy: Policy, prompt: Sequence[int], completion: Sequence[int]) -> Tensor:
    """The log-probabilities that transformers gives a completion, read alone and without a cache, `[T]`."""
    ids = torch.tensor([*prompt, *completion])
    logprobs = policy.network(input_ids=ids[None], use_cache=False).logits[0].float().log_softmax(-1)
    at: Tensor = logprobs[len(prompt) - 1 : -1].gather(1, torch.tensor(completion)[:, None])
    return at.squeeze(1)


def _groups() -> TokenGroups:
    """Ragged prompts and completions, longer than every window and chunk of the tiny configurations."""
    draw = torch.Generator().manual_seed(1)
    prompts, completions = (
        [torch.randint(5, configurations.VOCABULARY, (n,), generator=draw).tolist() for n in lengths]
        for lengths in ((13, 5, 21), (9, 4, 11, 6))
    )
    return TokenGroups.build(prompts, completions, [0, 1, 0, 2])


def _training(policy: Policy) -> tuple[str, str]:
    """Log-probabilities and gradients of the engine beside transformers'."""
    groups = _groups()
    own = torch.cat(
        [
            _own(policy, groups.prompts[g].tolist(), c.tolist())
            for g, c in zip(groups.group.tolist(), groups.completions, strict=True)
        ]
    )
    logprobs = policy.logprobs(groups)[groups.mask]
    weights = torch.linspace(-1, 1, len(own))
    gap = float((logprobs - own).abs().max())
    named = policy.trainable()
    own_gradients, gradients = (
        torch.autograd.grad((values * weights).sum(), list(named.values()), allow_unused=True)
        for values in (own, logprobs)
    )
    own_gradient = torch.cat([_flat(g, p) for g, p in zip(own_gradients, named.values(), strict=True)])
    gradient = torch.cat([_flat(g, p) for g, p in zip(gradients, named.values(), strict=True)])
    share = float((gradient - own_gradient).norm() / own_gradient.norm())
    return _verdict(gap, "nats"), _verdict(share, "of its length")


def _flat(gradient: Tensor | None, parameter: Tensor) -> Tensor:
    return (torch.zeros_like(parameter) if gradient is None else gradient).flatten()


def _verdict(gap: float, unit: str) -> str:
    return "yes" if gap <= NEAR else f"off by {gap:.1g} {unit}"


def _sampling(sampler: NativeSampler) -> str:
    """What the sampler reports of ragged prompts and completions, which wait, join and leave."""
    texts = ["w5", "w6 w7 w8 w9 w10 w11 w12 w13 w14", "w15 w16", "w17 w18 w19 w20 w21"]
    prompts = [Prompt(f"p{i}", (Message("user", text),)) for i, text in enumerate(texts)]
    rollouts = sampler.sample(prompts, Sampling(completions=2, max_tokens=12, batch=3), seed=3)
    groups = token_groups_of(rollouts)
    assert len({len(prompt) for prompt in groups.prompts}) == len(prompts)
    with torch.no_grad():
        gap = max(
            float((torch.tensor(r.logprobs) - _own(sampler.policy, r.prompt_ids, r.token_ids)).abs().max())
            for r in rollouts
        )
    way = WAYS[str(sampler.policy.decoder)]
    return way if gap <= ROUNDING else f"{way}, off by {gap:.1g} nats"


def _saving(policy: Policy) -> str:
    """Whether the policy that is saved and loaded again is the same."""
    groups = _groups()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        before = policy.logprobs(groups)
        save_model(policy, Path(folder) / "model")
        try:
            after = load_policy(str(Path(folder) / "model"), CPU).logprobs(groups)
        except GnomonError:
            return "refused when loaded"
    return _verdict(float((before - after).abs().max()), "nats")
