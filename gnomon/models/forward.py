"""The forward engine: what a model says about each completion token of `TokenGroups`.

The only place that knows a prompt's padding, the shift by one between a token and the state that predicts it, and
the vocabulary dimension. A layout lays groups out in rows for the model; the head then runs on completion
positions only. Two layouts give the same numbers:

* `packed`: a prompt stands once, followed by all its completions, and several prompts share a row, with what
  they begin alike (a chat template's system turn) once at its start. A mask lets a completion see its prompt and
  itself, and positions restart after the prompt for each completion.
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
STEM, PADDING = 0, -1  # numbers of segments in a packed row
WORTHWHILE = 0.01  # share of a pass's cost that is worth the search for a better layout


@dataclass(frozen=True)
class Layout:
    """Token groups laid out in R rows of L tokens for a model.

    `state` and `end` have one entry for each completion token, M in all, completion by completion: the flat
    position (in R·L) of the state that predicts the token, and that of the token itself. `prompts` has groups and
    the flat positions of their prompts' tokens, `[P]`, for every copy of a prompt.
    """

    input_ids: Tensor  # [R, L]
    position_ids: Tensor  # [R, L]
    attention_mask: Tensor  # [R, 1, L, L] boolean when packed, [R, L] when plain
    state: Tensor  # [M]
    end: Tensor  # [M]
    prompts: tuple[tuple[int, Tensor], ...]


Above = Callable[[TokenGroups, Layout], AbstractContextManager[None]]


def packed_layout(groups: TokenGroups) -> Layout:
    """Equal text once: the beginning that all prompts share, then each prompt's own rest, then its completions.

    A row is a tree of segments: the stem, prompts that branch off it, completions that branch off these. A token
    sees what stands before it in its own segment, in its prompt's and in the stem.
    """
    bundles = _bundles(groups)
    stem = _common_length([prompt for prompt, _ in bundles])
    sizes = {
        b: len(prompt) - stem + sum(len(groups.completions[n]) for n in members)
        for b, (prompt, members) in enumerate(bundles)
    }
    rows = fill_rows(sizes, stem)
    length = stem + max(sum(sizes[b] for b in row) for row in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    positions = torch.zeros_like(ids)
    segment = torch.full_like(ids, PADDING)
    branch_of = torch.full_like(ids, PADDING)  # the segment of a token's prompt
    state: list[Tensor] = [torch.empty(0)] * len(groups)
    end: list[Tensor] = [torch.empty(0)] * len(groups)
    prompts: list[tuple[int, Tensor]] = []
    for r, row in enumerate(rows):
        ids[r, :stem] = bundles[row[0]][0][:stem]
        positions[r, :stem] = torch.arange(stem)
        segment[r, :stem] = branch_of[r, :stem] = STEM
        at, number = stem, STEM
        for b in row:
            prompt, members = bundles[b]
            depth, number = len(prompt), number + 1
            own = slice(at, at + depth - stem)
            ids[r, own] = prompt[stem:]
            positions[r, own] = torch.arange(stem, depth)
            segment[r, own] = number
            branch_of[r, at : at + sizes[b]] = number
            path = torch.cat([torch.arange(stem), torch.arange(own.start, own.stop)]) + r * length
            prompts += [(g, path) for g in dict.fromkeys(groups.group[members].tolist())]
            at = own.stop
            for n in members:
                count, number = len(groups.completions[n]), number + 1
                ids[r, at : at + count] = groups.completions[n]
                positions[r, at : at + count] = torch.arange(depth, depth + count)
                segment[r, at : at + count] = number
                end[n] = torch.arange(at, at + count) + r * length
                state[n] = torch.cat([path[-1:], end[n][:-1]])
                at += count
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    seen = segment[:, None, :]
    visible = (seen == STEM) | (seen == segment[:, :, None]) | (seen == branch_of[:, :, None])
    mask = (causal & visible)[:, None]
    return Layout(ids, positions, mask, torch.cat(state), torch.cat(end), tuple(prompts))


def _bundles(groups: TokenGroups) -> list[tuple[Tensor, list[int]]]:
    """Each text that is a prompt, with all completions of it, whichever of its groups they are in."""
    found: dict[bytes, tuple[Tensor, list[int]]] = {}
    for n, g in enumerate(groups.group.tolist()):
        prompt = groups.prompts[g]
        found.setdefault(prompt.numpy().tobytes(), (prompt, []))[1].append(n)
    return list(found.values())


def _common_length(prompts: Sequence[Tensor]) -> int:
    """How many tokens at their beginning all prompts have in common."""
    shortest = min(len(prompt) for prompt in prompts)
    heads = torch.stack([prompt[:shortest] for prompt in prompts])
    return int((heads == heads[0]).all(dim=0).long().cumprod(0).sum())


def fill_rows(sizes: Mapping[int, int], stem: int = 0) -> list[list[int]]:
    """Spread groups over rows so that R·L·(1 + L/ATTENTION_TOKENS) is about least: padding against attention.

    Each row also holds a stem of so many tokens.

    For a number of rows the longest groups are placed first, each into the emptiest row. Numbers of rows are
    tried in the order of what they must cost at least, until none is left that could save `WORTHWHILE` or more.
    """
    order = sorted(sizes, key=lambda g: -sizes[g])
    sums = list(accumulate((sizes[g] for g in order), initial=0))
    bounds = {n: _rows_cost(n, stem + _least_length(sums, n)) for n in range(1, len(order) + 1)}
    best: list[list[int]] = []
    least = math.inf
    for count in sorted(bounds, key=bounds.__getitem__):
        if bounds[count] >= least * (1 - WORTHWHILE):
            break
        rows, length = _emptiest_first(order, sizes, count)
        cost = _rows_cost(count, stem + length)
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
    prompts = tuple(
        (g, torch.arange(len(groups.prompts[g])) + n * length) for n, g in enumerate(groups.group.tolist())
    )
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
