"""How token groups lie in the rows that a model reads, and where their completions' states then are.

* `packed`: a prompt stands once, followed by all its completions, and several prompts share a row, with what
  they begin alike (a chat template's system turn) once at its start. A mask lets a completion see its prompt and
  itself, and positions restart after the prompt for each completion.
* `plain`: one row for each completion, padded on the right.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn

from gnomon.core.batches import TokenGroups

ATTENTION_TOKENS = 1024  # row length at which attention costs about as much as the rest of a layer
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
