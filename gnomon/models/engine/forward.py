"""The forward engine: states and log-probabilities of the completion tokens of `TokenGroups`.

Only the engine, with its layouts and its head, handles padding, the shift by one between a token and the state
that predicts it, and the vocabulary dimension. A layout puts groups into rows for the model
(`gnomon.models.engine.sequence_layout`); the head then runs on completion positions only
(`gnomon.models.engine.lm_head`). All layouts give the same numbers: `packed` reads each prompt once; `branched`
does so without padding or mask, on a CPU; `plain` is the reference in tests, and is used for models whose
attention does not take a custom mask (sliding windows, recurrent layers).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gnomon.core.batches import TokenGroups
from gnomon.core.errors import ModelError
from gnomon.models.engine import tree_attention
from gnomon.models.engine.lm_head import target_logprobs
from gnomon.models.engine.sequence_layout import Layout, branched_layout, packed_layout, plain_layout
from gnomon.models.library_patches import set_attention

LayoutName = Literal["auto", "branched", "packed", "plain"]
LAYOUTS: dict[LayoutName, Callable[[TokenGroups], Layout]] = {
    "branched": branched_layout,
    "packed": packed_layout,
    "plain": plain_layout,
}
# Architectures that see more of a row than a custom mask and positions allow, though their configuration does
# not show it: ALiBi, recurrent layers, local attention.
UNPACKED = ("bloom", "mpt", "falcon", "gpt_neo", "mamba", "mamba2", "rwkv", "jamba")
# Architectures that pass keyword arguments on to attention; others would get an empty mask, and fail.
BRANCHING = (
    *("llama", "mistral", "mixtral", "qwen2", "qwen3", "gemma", "phi", "phi3"),
    *("gpt2", "gpt_neox", "olmo2", "opt", "cohere", "granite"),
)
Above = Callable[[TokenGroups, Layout], AbstractContextManager[None]]


def can_pack(config: Any) -> bool:
    """Return whether the model has full attention and takes a custom mask."""
    text = config.get_text_config()  # the text part of a multimodal model
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    window = getattr(text, "sliding_window", None) if getattr(text, "use_sliding_window", True) else None
    return (
        kinds == {"full_attention"}
        and window is None
        and getattr(config, "_attn_implementation", "sdpa") in (*tree_attention.PLAIN, "eager")
        and not getattr(config, "is_encoder_decoder", False)
        and getattr(text, "position_embedding_type", "rotary") != "alibi"
        and text.model_type not in UNPACKED
    )


def best_layout(config: Any, device: torch.device) -> LayoutName:
    """Return the fastest layout that the model supports."""
    if not can_pack(config):
        return "plain"
    branching = device.type == "cpu" and config.model_type in BRANCHING
    return "branched" if branching and config._attn_implementation in tree_attention.PLAIN else "packed"


@contextmanager
def autocast(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Context manager: matrix products in `dtype`; no change for float32."""
    on = dtype != torch.float32
    with torch.autocast(device.type, dtype=dtype) if on else nullcontext():
        yield


def completion_states(
    trunk: nn.Module,
    groups: TokenGroups,
    *,
    at: Literal["state", "end", "end and prompt"],
    dtype: torch.dtype = torch.float32,
    layout: LayoutName = "auto",
    above: Above | None = None,
) -> Tensor:
    """Compute final hidden states for every completion token, `[M, d]`, completion by completion.

    Args:
        trunk: the decoder without its head.
        groups: prompts and completions.
        at: `state` for the state before each token, which predicts it and its value; `end` for the state at the
            token, which a reward model reads; `end and prompt` for these and, after them, the state at the last
            token of each completion's prompt, `[M + N, d]`.
        dtype: of matrix products.
        layout: `auto` is the fastest that the model supports.
        above: context manager of the pass, in which the trunk may start above frozen layers
            (`gnomon.models.engine.activation_cache`).
    """
    config: Any = trunk.config
    device = next(trunk.parameters()).device
    if layout == "auto":
        layout = best_layout(config, device)
    if layout != "plain" and not can_pack(config):
        raise ModelError(f"a {config.model_type} model cannot share prompts in a row; use the plain layout.")
    plan = LAYOUTS[layout](groups)
    mask = plan.attention_mask
    if layout == "branched":
        set_attention(config, tree_attention.NAME)  # for good: layers that are computed again read it again
    if layout == "packed" and getattr(config, "_attn_implementation", "sdpa") == "eager":
        mask = torch.where(
            mask, 0.0, torch.finfo(torch.float32).min
        )  # eager attention adds the mask to its scores
    with autocast(device, dtype), above(groups, plan) if above else nullcontext():
        hidden: Tensor = trunk(
            input_ids=plan.input_ids.to(device),
            attention_mask=mask.to(device),
            position_ids=plan.position_ids.to(device),
            use_cache=False,
            **({"pieces": plan.pieces} if plan.pieces else {}),
        ).last_hidden_state
    index = plan.state if at == "state" else plan.end
    if at == "end and prompt":
        first = groups.lengths.cumsum(0) - groups.lengths  # the state before a completion's first token
        index = torch.cat([plan.end, plan.state[first]])
    return hidden.flatten(0, 1)[index.to(device)]


def to_padded(values: Tensor, groups: TokenGroups) -> Tensor:
    """Pad per-token values `[M, …]` to `[N, T, …]` with zeros."""
    return nn.utils.rnn.pad_sequence(list(torch.split(values, groups.lengths.tolist())), batch_first=True)


def token_logprobs(
    head: nn.Module,
    config: Any,
    states: Tensor,
    groups: TokenGroups,
    *,
    temperature: float = 1.0,
    entropy: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Compute log-probabilities of the completion tokens and, on request, entropies, both `[N, T]`.

    Logits are computed at completion positions only. Entropy is for monitoring and has no gradient.

    Args:
        head: the vocabulary head.
        config: of the network.
        states: before each completion token, `[M, d]`.
        groups: prompts and completions.
        temperature: divides the logits.
        entropy: compute the entropy of each next-token distribution; otherwise it is `None`.
    """
    targets = torch.cat(groups.completions).to(states.device)
    logprobs, spread = target_logprobs(head, config, states, targets, temperature=temperature, entropy=entropy)
    return to_padded(logprobs, groups), None if spread is None else to_padded(spread, groups)
