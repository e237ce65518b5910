"""How token groups lie in the rows that a model reads, and where their completions' states then are.

* `packed`: a prompt stands once, followed by all its completions, and several prompts share a row, with what
  they begin alike (a chat template's system turn) once at its start. A mask lets a completion see its prompt and
  itself, and positions restart after the prompt for each completion.
* `branched`: the same tree in one row without padding, for an attention that takes its branches one by one.
* `plain`: one row for each completion, padded on the right.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

from gnomon.core.batches import TokenGroups

ATTENTION_TOKENS = 1024  # row length at which attention costs about as much as the rest of a layer
STEM, PADDING = 0, -1  # numbers of segments in a packed row
SLICE = 128  # tokens of a text that ask together: shorter slices ask less of what they may not see, in more calls
CALL = 5000  # pairs of a query and a key that take as long as what a call of attention costs beside them
Stretch = tuple[int, int]  # of a row, from and to
Bundle = tuple[Tensor, list[int]]  # a prompt's tokens, and which completions follow it
WORTHWHILE = 0.01  # share of a pass's cost that is worth the search for a better layout


@dataclass(frozen=True)
class Piece:
    """A stretch of a row that asks together, and what it asks.

    Attributes:
        stop: where it ends; it begins where the one before ends.
        seen: stretches `(start, stop)` of the row that it sees: the path from the tree's root to it, and itself.
        hidden: boolean, `[m, m]` for m tokens: what of itself each of them does not see; of the path it sees all.
    """

    stop: int
    seen: tuple[Stretch, ...]
    hidden: Tensor


@dataclass(frozen=True)
class Layout:
    """Token groups laid out in R rows of L tokens for a model.

    `state` and `end` have one entry for each completion token, M in all, completion by completion: the flat
    position (in R·L) of the state that predicts the token, and that of the token itself. `prompts` has groups and
    the flat positions of their prompts' tokens, `[P]`, for every copy of a prompt. Where there are `pieces`, they
    say who sees what, and the mask is empty.
    """

    input_ids: Tensor  # [R, L]
    position_ids: Tensor  # [R, L]
    attention_mask: Tensor  # [R, 1, L, L] boolean when packed, [R, L] when plain, [1, 1, 0, 0] when branched
    state: Tensor  # [M]
    end: Tensor  # [M]
    prompts: tuple[tuple[int, Tensor], ...]
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True)
class _Branch:
    """Where a prompt's own rest stands in its row, and where each of its completions ends."""

    row: int
    start: int
    stop: int
    ends: tuple[int, ...]


def packed_layout(groups: TokenGroups) -> Layout:
    """Equal text once: the beginning that all prompts share, then each prompt's own rest, then its completions.

    A row is a tree of segments: the stem, prompts that branch off it, completions that branch off these. A token
    sees what stands before it in its own segment, in its prompt's and in the stem.
    """
    bundles = _bundles(groups)
    stem = _common_length([prompt for prompt, _ in bundles])
    rows = fill_rows(_sizes(groups, bundles, stem), stem)
    plan, branches = _lay_out(groups, bundles, stem, rows)
    segment = torch.full_like(plan.input_ids, PADDING)
    branch_of = torch.full_like(segment, PADDING)  # the segment of a token's prompt
    segment[:, :stem] = branch_of[:, :stem] = STEM
    number = STEM
    for branch in branches:
        cuts = (branch.start, branch.stop, *branch.ends)
        branch_of[branch.row, branch.start : cuts[-1]] = number + 1
        for start, stop in pairwise(cuts):
            number += 1
            segment[branch.row, start:stop] = number
    length = segment.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    seen = segment[:, None, :]
    visible = (seen == STEM) | (seen == segment[:, :, None]) | (seen == branch_of[:, :, None])
    return replace(plan, attention_mask=(causal & visible)[:, None])


def branched_layout(groups: TokenGroups) -> Layout:
    """The same tree in one row without padding, cut into pieces for an attention that takes them one by one."""
    bundles = _bundles(groups)
    stem = _common_length([prompt for prompt, _ in bundles])
    plan, branches = _lay_out(groups, bundles, stem, [range(len(bundles))])
    pieces = list(_pieces((), 0, [stem])) if stem else []
    for start, stop, ends in ((b.start, b.stop, b.ends) for b in branches):
        if start < stop:  # a prompt may be no more than the stem
            pieces += _pieces(((0, stem),), start, [stop])
        pieces += _pieces(((0, stem), (start, stop)), stop, ends)
    nothing = torch.empty(1, 1, 0, 0, dtype=torch.bool)
    return replace(plan, attention_mask=nothing, pieces=tuple(pieces))


def _pieces(path: tuple[Stretch, ...], start: int, ends: Sequence[int]) -> Iterator[Piece]:
    """Texts that follow the same path, one after the other: long ones in slices, short ones together."""
    above = sum(stop - at for at, stop in path)
    waiting: list[Stretch] = []
    for stop in ends:
        text = (start, stop)
        if waiting and not (_short(text) and _better_together(above, waiting, text)):
            yield _piece(path, waiting)
            waiting = []
        if _short(text):
            waiting.append(text)
        else:
            for at in range(start, stop, SLICE):
                yield _piece((*path, (start, at)), [(at, min(at + SLICE, stop))])
        start = stop
    if waiting:
        yield _piece(path, waiting)


def _short(text: Stretch) -> bool:
    return text[1] - text[0] <= SLICE


def _better_together(above: int, texts: Sequence[Stretch], text: Stretch) -> bool:
    """Whether texts that cannot see one another ask in one call for less than in two."""
    first, last = texts[-1][1] - texts[0][0], text[1] - text[0]
    both = first + last
    return both * (above + both) <= first * (above + first) + last * (above + last) + CALL


def _piece(path: Sequence[Stretch], texts: Sequence[Stretch]) -> Piece:
    start, stop = texts[0][0], texts[-1][1]
    hidden = torch.ones(stop - start, stop - start, dtype=torch.bool).triu(1)
    for _, end in texts[:-1]:
        hidden[end - start :, : end - start] = True
    seen: list[Stretch] = []
    for at, to in (*path, (start, stop)):
        if seen and seen[-1][1] == at:
            seen[-1] = (seen[-1][0], to)
        elif at < to:
            seen.append((at, to))
    return Piece(stop, tuple(seen), hidden)


def _lay_out(
    groups: TokenGroups, bundles: Sequence[Bundle], stem: int, rows: Sequence[Sequence[int]]
) -> tuple[Layout, list[_Branch]]:
    """Bundles in rows, each of which begins with the stem; the mask is left to the caller."""
    sizes = _sizes(groups, bundles, stem)
    length = stem + max(sum(sizes[b] for b in row) for row in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    positions = torch.zeros_like(ids)
    state: list[Tensor] = [torch.empty(0)] * len(groups)
    end: list[Tensor] = [torch.empty(0)] * len(groups)
    prompts: list[tuple[int, Tensor]] = []
    branches: list[_Branch] = []
    for r, row in enumerate(rows):
        ids[r, :stem] = bundles[row[0]][0][:stem]
        positions[r, :stem] = torch.arange(stem)
        at = stem
        for b in row:
            prompt, members = bundles[b]
            depth = len(prompt)
            own = slice(at, at + depth - stem)
            ids[r, own] = prompt[stem:]
            positions[r, own] = torch.arange(stem, depth)
            path = torch.cat([torch.arange(stem), torch.arange(own.start, own.stop)]) + r * length
            prompts += [(g, path) for g in dict.fromkeys(groups.group[members].tolist())]
            at = own.stop
            ends = []
            for n in members:
                count = len(groups.completions[n])
                ids[r, at : at + count] = groups.completions[n]
                positions[r, at : at + count] = torch.arange(depth, depth + count)
                end[n] = torch.arange(at, at + count) + r * length
                state[n] = torch.cat([path[-1:], end[n][:-1]])
                at += count
                ends.append(at)
            branches.append(_Branch(r, own.start, own.stop, tuple(ends)))
    nothing = torch.empty(0, dtype=torch.bool)
    return Layout(ids, positions, nothing, torch.cat(state), torch.cat(end), tuple(prompts)), branches


def _sizes(groups: TokenGroups, bundles: Sequence[Bundle], stem: int) -> dict[int, int]:
    """Tokens of each bundle beside the stem."""
    return {
        b: len(prompt) - stem + sum(len(groups.completions[n]) for n in members)
        for b, (prompt, members) in enumerate(bundles)
    }


def _bundles(groups: TokenGroups) -> list[Bundle]:
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
