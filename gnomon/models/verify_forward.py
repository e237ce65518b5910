"""A model of an unknown architecture is asked the same few tokens twice: by the forward engine, and as it is.

Architectures differ in what they do with masks, positions and logits, and new ones come each month. One that the
packed layout misleads falls back to the plain one; one that the engine cannot follow at all is refused by name,
instead of training on wrong numbers. Tests do the same for those in `VERIFIED`, so that they need not pay for it;
`gnomon.rollouts.choice` does so for sampling.
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
TOLERANCE = 1e-2  # nats, or share of the largest state; a misled model is off by a hundred times as much


@torch.no_grad()
def verified(model: M) -> M:
    """`model` itself, with a layout in which the engine says what the model says.

    Raises:
        ModelError: there is none.
    """
    kind = model.network.config.model_type
    if kind in VERIFIED:
        return model
    if getattr(type(model.network.config), "is_encoder_decoder", False):
        raise ModelError(
            f"{kind} models are not supported: they are made to answer what an encoder has read; take a model "
            "that goes on from its prompt."
        )
    if model.trunk is model.network:
        raise ModelError(f"{kind} models are not supported: their decoder does not stand apart from its head.")
    if not isinstance(model, RewardModel) and _sees_ahead(model):
        raise ModelError(
            f"{kind} models are not supported as this one is configured: its tokens see those that come after "
            "them, so they cannot be drawn one by one."
        )
    groups = _question(model.network.config.get_text_config().vocab_size)
    expected = [own_numbers(model, torch.cat([groups.prompts[g], c]), len(c)) for g, c in _rows(groups)]
    layouts: list[LayoutName] = ["packed", "plain"] if can_pack(model.trunk.config) else ["plain"]
    for layout in layouts:
        if _agree(_engine_numbers(model, groups, layout), torch.cat(expected)):
            model.layout = "auto" if layout == layouts[0] else layout
            return model
    raise ModelError(f"{kind} models are not supported: the forward engine does not find their own numbers.")


def _question(vocab: int) -> TokenGroups:
    """Two prompts, three completions, no two of a length."""
    ids = [(37 * n + 5) % vocab for n in range(17)]
    return TokenGroups.build([ids[:3], ids[3:7]], [ids[7:9], ids[9:13], ids[13:16]], [0, 0, 1])


def _sees_ahead(model: Model) -> bool:
    """Whether the states above a text's first tokens depend on its last ones."""
    ids = torch.cat(_question(model.network.config.get_text_config().vocab_size).completions).to(model.device)
    whole, start = (
        model.trunk(input_ids=text[None], use_cache=False).last_hidden_state[0, :4] for text in (ids, ids[:4])
    )
    return float((whole - start).abs().max()) > TOLERANCE * float(start.abs().max())


def _rows(groups: TokenGroups) -> list[tuple[int, Tensor]]:
    return list(zip(groups.group.tolist(), groups.completions, strict=True))


def own_numbers(model: Model, ids: Tensor, count: int) -> Tensor:
    """The network's own numbers for the last `count` tokens of one sequence, by a forward pass without a cache.

    Args:
        model: a policy, or another model, of which only the trunk is asked.
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
    """What the engine says of the same tokens, in float32; `None` where the architecture refuses the layout."""
    try:
        if not isinstance(model, Policy):
            return completion_states(model.trunk, groups, at="end", layout=layout).float()
        exact = Policy(model.network, model.tokenizer, replace(model.compute, dtype=torch.float32), model.adapter)
        exact.layout = layout
        return exact.logprobs(groups)[groups.mask.to(model.device)]
    except (RuntimeError, TypeError, ValueError, AttributeError):
        return None  # it takes no mask or positions of ours; what is left to try, or the refusal, says so


def _agree(numbers: Tensor | None, expected: Tensor) -> bool:
    scale = 1.0 if expected.dim() == 1 else float(expected.abs().max())
    return numbers is not None and float((numbers - expected).abs().max()) <= TOLERANCE * scale
