"""Verification that the forward engine reproduces the outputs of a model of an unknown architecture.

Architectures differ in their treatment of masks, positions and logits, and new ones appear each month. One that
fails with the packed layout falls back to the plain one; one that fails with both is refused by name, instead of
training on wrong numbers. Tests verify the architectures in `VERIFIED`, which skip the check;
`gnomon.rollouts.choice` does the same for sampling.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from gnomon.core.batches import TokenGroups
from gnomon.core.errors import ModelError
from gnomon.models.engine.forward import LayoutName, can_pack, completion_states
from gnomon.models.roles import Model, Policy, RewardModel

M = TypeVar("M", bound=Model)
# fmt: off
VERIFIED = frozenset({
    "bloom", "cohere", "cohere2", "falcon", "gemma", "gemma2", "gemma3_text", "gpt2", "gpt_neox", "gpt_oss",
    "gptj", "granite", "llama", "mamba", "mistral", "mixtral", "olmo2", "olmo3", "opt", "phi", "phi3", "qwen2",
    "qwen3", "stablelm",
})
# fmt: on
TOLERANCE = 1e-2  # nats, or share of the largest state; a wrong layout deviates a hundred times more


@torch.no_grad()
def verified(model: M) -> M:
    """Set a layout in which the engine reproduces the model's own outputs, and return the model.

    Raises:
        ModelError: no layout does.
    """
    kind = model.network.config.model_type
    if kind in VERIFIED:
        return model
    if getattr(type(model.network.config), "is_encoder_decoder", False):
        raise ModelError(
            f"{kind} models are not supported: their decoder depends on an encoder; take a decoder-only model."
        )
    if model.trunk is model.network:
        raise ModelError(f"{kind} models are not supported: their decoder is not separate from its head.")
    if not isinstance(model, RewardModel) and _sees_ahead(model):
        raise ModelError(
            f"{kind} models are not supported as this one is configured: its tokens attend to later ones, so "
            "they cannot be drawn one by one."
        )
    groups = _test_groups(model.network.config.get_text_config().vocab_size)
    expected = [own_numbers(model, torch.cat([groups.prompts[g], c]), len(c)) for g, c in _rows(groups)]
    layouts: list[LayoutName] = ["packed", "plain"] if can_pack(model.trunk.config) else ["plain"]
    for layout in layouts:
        if _agree(_engine_numbers(model, groups, layout), torch.cat(expected)):
            model.layout = "auto" if layout == layouts[0] else layout
            return model
    raise ModelError(f"{kind} models are not supported: the forward engine does not reproduce their outputs.")


def _test_groups(vocab: int) -> TokenGroups:
    """Build two prompts with three completions of different lengths."""
    ids = [(37 * n + 5) % vocab for n in range(17)]
    return TokenGroups.build([ids[:3], ids[3:7]], [ids[7:9], ids[9:13], ids[13:16]], [0, 0, 1])


def _sees_ahead(model: Model) -> bool:
    """Return whether the states of a text's first tokens depend on its last ones."""
    ids = torch.cat(_test_groups(model.network.config.get_text_config().vocab_size).completions).to(model.device)
    whole, start = (
        model.trunk(input_ids=text[None], use_cache=False).last_hidden_state[0, :4] for text in (ids, ids[:4])
    )
    return float((whole - start).abs().max()) > TOLERANCE * float(start.abs().max())


def _rows(groups: TokenGroups) -> list[tuple[int, Tensor]]:
    return list(zip(groups.group.tolist(), groups.completions, strict=True))


def own_numbers(model: Model, ids: Tensor, count: int) -> Tensor:
    """Compute the network's own outputs for the last `count` tokens of one sequence, by a pass without a cache.

    Args:
        model: a policy, or another model, of which only the trunk is run.
        ids: the sequence, `[T]`.
        count: at most T - 1.

    Returns:
        A policy's log-probabilities in nats, `[count]`; another model's states at the tokens, `[count, d]`.
    """
    ids = ids.to(model.device)
    if not isinstance(model, Policy):
        states: Tensor = model.trunk(input_ids=ids[None], use_cache=False).last_hidden_state
        return states[0, -count:].float()
    logits = model.network(input_ids=ids[None], use_cache=False).logits[0]
    logprobs: Tensor = logits[-count - 1 : -1].float().log_softmax(-1)
    return logprobs.gather(1, ids[-count:, None]).squeeze(1)


def _engine_numbers(model: Model, groups: TokenGroups, layout: LayoutName) -> Tensor | None:
    """Compute the engine's outputs for the same tokens, in float32; `None` if the layout does not work."""
    try:
        if not isinstance(model, Policy):
            return completion_states(model.trunk, groups, at="end", layout=layout).float()
        exact = Policy(model.network, model.tokenizer, replace(model.compute, dtype=torch.float32), model.adapter)
        exact.layout = layout
        return exact.logprobs(groups)[groups.mask.to(model.device)]
    except (RuntimeError, TypeError, ValueError, AttributeError):
        return None  # it takes no mask or positions of ours; the next layout is tried, or the model is refused


def _agree(numbers: Tensor | None, expected: Tensor) -> bool:
    scale = 1.0 if expected.dim() == 1 else float(expected.abs().max())
    return numbers is not None and float((numbers - expected).abs().max()) <= TOLERANCE * scale
