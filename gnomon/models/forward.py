"""The forward engine: what a model says about each completion token of `TokenGroups`.

The only place that knows a prompt's padding, the shift by one between a token and the state that predicts it, and
the vocabulary dimension. A layout lays groups out in rows for the model; the head then runs on completion
positions only. Two layouts give the same numbers:

* `packed`: a prompt stands once, followed by all its completions, and several groups share a row. A block mask
  lets a completion see its prompt and itself, and positions restart after the prompt for each completion.
* `plain`: one row for each completion, padded on the right. The twin that tests hold `packed` to, and the layout
  for models whose attention cannot take a mask of our own (sliding windows, recurrent layers).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gnomon.core.batches import TokenGroups
from gnomon.core.errors import ModelError
from gnomon.models.head import target_logprobs

LayoutName = Literal["auto", "packed", "plain"]
ATTENTION_TOKENS = 1024  # row length at which attention costs about as much as the rest of a layer
# Architectures that see more of a row than a mask and positions of ours say, though their configuration does not
# show it: ALiBi, recurrent layers, local attention.
UNPACKED = ("bloom", "mpt", "falcon", "gpt_neo", "mamba", "mamba2", "rwkv", "jamba")
WORTHWHILE = 0.01  # share of a pass's cost that is worth the search for a better layout


@dataclass(frozen=True)
class Layout:
    """Token groups laid out in R rows of L tokens for a model.

    `state` and `end` have one entry for each completion token, M in all, completion by completion: the flat
    position (in R·L) of the state that predicts the token, and that of the token itself. `prompts` has the group
    and the flat position of the first token of every copy of a prompt.
    """

    input_ids: Tensor  # [R, L]
    position_ids: Tensor  # [R, L]
    attention_mask: Tensor  # [R, 1, L, L] boolean when packed, [R, L] when plain
    state: Tensor  # [M]
    end: Tensor  # [M]
    prompts: tuple[tuple[int, int], ...]


Above = Callable[[TokenGroups, Layout], AbstractContextManager[None]]


def packed_layout(groups: TokenGroups) -> Layout:
    """Each group's prompt once, its completions after it, several groups in a row."""
    members: list[list[int]] = [[] for _ in groups.prompts]
    for row, g in enumerate(groups.group.tolist()):
        members[g].append(row)
    sizes = {
        g: len(groups.prompts[g]) + sum(len(groups.completions[n]) for n in rows)
        for g, rows in enumerate(members)
        if rows
    }
    bins = fill_rows(sizes)
    length = max(sum(sizes[g] for g in b) for b in bins)
    ids = torch.zeros(len(bins), length, dtype=torch.long)
    positions = torch.zeros_like(ids)
    owner = torch.full_like(ids, -1)  # which group a token belongs to; −1 is padding
    branch = torch.zeros_like(ids)  # 0 in the prompt, 1… in its completions
    state: list[Tensor] = [torch.empty(0)] * len(groups)
    end: list[Tensor] = [torch.empty(0)] * len(groups)
    prompts: list[tuple[int, int]] = []
    for r, b in enumerate(bins):
        at = 0
        for g in b:
            prompt = groups.prompts[g]
            start, depth = at, len(prompt)
            ids[r, at : at + depth] = prompt
            positions[r, at : at + depth] = torch.arange(depth)
            owner[r, start : start + sizes[g]] = g
            prompts.append((g, start + r * length))
            at += depth
            for order, n in enumerate(members[g], start=1):
                count = len(groups.completions[n])
                ids[r, at : at + count] = groups.completions[n]
                positions[r, at : at + count] = torch.arange(depth, depth + count)
                branch[r, at : at + count] = order
                end[n] = torch.arange(at, at + count) + r * length
                state[n] = torch.cat([torch.tensor([start + depth - 1 + r * length]), end[n][:-1]])
                at += count
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    same_group = owner[:, :, None] == owner[:, None, :]
    visible = (branch[:, None, :] == 0) | (branch[:, :, None] == branch[:, None, :])
    mask = (causal & same_group & visible)[:, None]
    return Layout(ids, positions, mask, torch.cat(state), torch.cat(end), tuple(prompts))


def fill_rows(sizes: Mapping[int, int]) -> list[list[int]]:
    """Spread groups over rows so that R·L·(1 + L/ATTENTION_TOKENS) is about least: padding against attention.

    For a number of rows the longest groups are placed first, each into the emptiest row. Numbers of rows are
    tried in the order of what they must cost at least, until none is left that could save `WORTHWHILE` or more.
    """
    order = sorted(sizes, key=lambda g: -sizes[g])
    sums = list(accumulate((sizes[g] for g in order), initial=0))
    bounds = {n: _rows_cost(n, _least_length(sums, n)) for n in range(1, len(order) + 1)}
    best: list[list[int]] = []
    least = math.inf
    for count in sorted(bounds, key=bounds.__getitem__):
        if bounds[count] >= least * (1 - WORTHWHILE):
            break
        rows, length = _emptiest_first(order, sizes, count)
        cost = _rows_cost(count, length)
        if cost < least:
            best, least = rows, cost
    return best


def _rows_cost(count: int, length: int) -> float:
    return count * length * (1 + length / ATTENTION_TOKENS)


def _least_length(sums: Sequence[int], count: int) -> int:
    """What the longest of `count` rows must hold; `sums[k]` is the sum of the k longest groups.

    At least the average; and of the k·count + 1 longest groups some k + 1 share a row, at best the shortest ones.
    """
    groups = len(sums) - 1
    shared = (sums[k * count + 1] - sums[k * count - k] for k in range((groups - 1) // count + 1))
    return max(math.ceil(sums[-1] / count), *shared)


def _emptiest_first(order: Sequence[int], sizes: Mapping[int, int], count: int) -> tuple[list[list[int]], int]:
    """Groups in `count` rows, each put into the emptiest one, and the length of the longest row."""
    rows: list[list[int]] = [[] for _ in range(count)]
    loads = [(0, row) for row in range(count)]  # a heap
    for g in order:
        load, row = loads[0]
        rows[row].append(g)
        heapq.heapreplace(loads, (load + sizes[g], row))
    return rows, max(loads)[0]


def plain_layout(groups: TokenGroups) -> Layout:
    """One row for each completion: its prompt, the completion, padding on the right."""
    rows = [
        torch.cat([groups.prompts[g], c]) for g, c in zip(groups.group.tolist(), groups.completions, strict=True)
    ]
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    length = ids.shape[1]
    lengths = torch.tensor([len(row) for row in rows])
    mask = torch.arange(length)[None] < lengths[:, None]
    end = [torch.arange(len(r) - len(c), len(r)) for r, c in zip(rows, groups.completions, strict=True)]
    flat = torch.cat([e + n * length for n, e in enumerate(end)])
    positions = torch.arange(length).expand_as(ids)
    prompts = tuple((g, n * length) for n, g in enumerate(groups.group.tolist()))
    return Layout(ids, positions, mask.long(), flat - 1, flat, prompts)


def can_pack(config: Any) -> bool:
    """Whether the model attends fully and takes a mask of our own."""
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    return (
        kinds == {"full_attention"}
        and window is None
        and getattr(config, "_attn_implementation", "sdpa") in ("sdpa", "eager")
        and not getattr(config, "is_encoder_decoder", False)
        and getattr(config, "position_embedding_type", "rotary") != "alibi"
        and config.model_type not in UNPACKED
    )


@contextmanager
def autocast(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Matrix products in `dtype`; nothing to do for float32."""
    on = dtype != torch.float32
    with torch.autocast(device.type, dtype=dtype) if on else nullcontext():
        yield


def completion_states(
    trunk: nn.Module,
    groups: TokenGroups,
    *,
    at: Literal["state", "end"],
    dtype: torch.dtype = torch.float32,
    layout: LayoutName = "auto",
    above: Above | None = None,
) -> Tensor:
    """Final hidden states for every completion token, `[M, d]`, completion by completion.

    `at="state"` is what the model knew before the token (it predicts the token, and values it); `at="end"` is
    what it knows having read it (a reward model's view). Inside `above`, if given, the trunk may start above
    layers that said the same before (`gnomon.models.frozen`).
    """
    config: Any = trunk.config
    if layout == "auto":
        layout = "packed" if can_pack(config) else "plain"
    if layout == "packed" and not can_pack(config):
        raise ModelError(f"a {config.model_type} model cannot share prompts in a row; use the plain layout.")
    plan = packed_layout(groups) if layout == "packed" else plain_layout(groups)
    mask = plan.attention_mask
    if layout == "packed" and getattr(config, "_attn_implementation", "sdpa") == "eager":
        mask = torch.where(mask, 0.0, torch.finfo(torch.float32).min)  # which eager attention adds to its scores
    device = next(trunk.parameters()).device
    with autocast(device, dtype), above(groups, plan) if above else nullcontext():
        hidden: Tensor = trunk(
            input_ids=plan.input_ids.to(device),
            attention_mask=mask.to(device),
            position_ids=plan.position_ids.to(device),
            use_cache=False,
        ).last_hidden_state
    index = plan.state if at == "state" else plan.end
    return hidden.flatten(0, 1)[index.to(device)]


def to_padded(values: Tensor, groups: TokenGroups) -> Tensor:
    """Per-token values `[M, …]` as `[N, T, …]`, zeros in the padding."""
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
    """Log-probabilities of the completion tokens at `temperature`, and the entropy if asked, both `[N, T]`.

    Only completion positions meet the vocabulary. Entropy is for monitoring and carries no gradient.
    """
    targets = torch.cat(groups.completions).to(states.device)
    found, spread = target_logprobs(head, config, states, targets, temperature=temperature, entropy=entropy)
    return to_padded(found, groups), None if spread is None else to_padded(spread, groups)
