"""Layouts of token groups in the rows that a model reads, with the positions of their completions' states.

* `packed`: a prompt is in a row once, followed by all its completions, and several prompts share a row, with
  their common prefix (a chat template's system turn) once at its start. A mask lets a completion attend to its
  prompt and itself, and positions restart after the prompt for each completion.
* `branched`: the same tree in one row without padding, for an attention that computes its branches one by one.
* `plain`: one row for each completion, padded on the right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from gnomon.core.batches import TokenGroups
from gnomon.models.engine.row_packing import fill_rows

STEM, PADDING = 0, -1  # segment numbers in a packed row
SLICE = 128  # queries per call of attention; shorter slices compute fewer masked pairs, in more calls
CALL = 5000  # overhead of a call of attention, in query-key pairs
Span = tuple[int, int]  # positions in a row, from and to


@dataclass(frozen=True)
class Piece:
    """A span of queries that are computed in one call of attention, and the keys that they attend to.

    Attributes:
        stop: end of the span; it starts at the end of the previous one.
        seen: spans of the row, in order, that any of its tokens attends to.
        hidden: boolean, `[m, k]` for m tokens: true for those of the last k tokens of `seen` that are masked.
    """

    stop: int
    seen: tuple[Span, ...]
    hidden: Tensor

    @property
    def pairs(self) -> int:
        """Number of query-key pairs."""
        return len(self.hidden) * sum(stop - start for start, stop in self.seen)


@dataclass(frozen=True)
class Layout:
    """Token groups laid out in R rows of L tokens for a model.

    `state` and `end` have one entry for each completion token, M in all, completion by completion: the flat
    position (in R·L) of the state that predicts the token, and that of the token itself. `prompts` has groups and
    the flat positions of their prompts' tokens, `[P]`, for every copy of a prompt. With `pieces`, these replace
    the mask, which is empty.
    """

    input_ids: Tensor  # [R, L]
    position_ids: Tensor  # [R, L]
    attention_mask: Tensor  # [R, 1, L, L] boolean when packed, [R, L] when plain, [1, 1, 0, 0] when branched
    state: Tensor  # [M]
    end: Tensor  # [M]
    prompts: tuple[tuple[int, Tensor], ...]
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True)
class _Segment:
    """A span of a row, the part of a prompt after the stem or a completion, and the span of its prompt."""

    row: int
    start: int
    stop: int
    prompt: Span


def packed_layout(groups: TokenGroups) -> Layout:
    """Lay out groups with equal text once: the prompts' common prefix, then each prompt's rest and completions.

    A row is a tree of segments: the stem, prompts that branch off it, completions that branch off these. A token
    attends to earlier tokens of its own segment, of its prompt's and of the stem.
    """
    tree = _tree(groups)
    plan, segments = _lay_out(groups, tree, fill_rows(dict(enumerate(tree.sizes)), tree.stem))
    segment, prompt = _numbers(plan, segments, tree.stem)
    length = segment.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    visible = _visible(segment[:, None, :], segment[:, :, None], prompt[:, :, None])
    return replace(plan, attention_mask=(causal & visible)[:, None])


def branched_layout(groups: TokenGroups) -> Layout:
    """Lay out the same tree in one row without padding, in pieces for an attention that computes them one by one.

    Long segments are cut into slices, which skip the keys after them; neighbors are merged if that costs less
    than a call.
    """
    tree = _tree(groups)
    stem = tree.stem
    plan, segments = _lay_out(groups, tree, [range(len(tree.bundles))])
    cuts: list[_Cut] = []
    for segment in [_Segment(0, 0, stem, (0, stem)), *segments]:
        for at in range(segment.start, segment.stop, SLICE):
            stop = min(at + SLICE, segment.stop)
            prompt = segment.prompt[0], min(segment.prompt[1], stop)
            cut = _Cut(at, stop, _joined([(0, min(stem, stop)), prompt, (segment.start, stop)]))
            both = _Cut(cuts[-1].start, stop, _joined([*cuts[-1].seen, *cut.seen])) if cuts else cut
            if cuts and both.cost <= cuts[-1].cost + cut.cost:
                cuts[-1] = both
            else:
                cuts.append(cut)
    numbers = [of_row[0] for of_row in _numbers(plan, segments, stem)]
    pieces = tuple(_piece(cut, *numbers) for cut in cuts)
    return replace(plan, attention_mask=torch.empty(1, 1, 0, 0, dtype=torch.bool), pieces=pieces)


@dataclass(frozen=True)
class _Cut:
    """A span of queries and the keys that they attend to; its cost in query-key pairs."""

    start: int
    stop: int
    seen: tuple[Span, ...]

    @property
    def cost(self) -> int:
        return (self.stop - self.start) * sum(stop - start for start, stop in self.seen) + CALL


def _piece(cut: _Cut, segment: Tensor, prompt: Tensor) -> Piece:
    queries = torch.arange(cut.start, cut.stop)[:, None]
    keys = torch.cat([torch.arange(*span) for span in cut.seen])
    hidden = ~_visible(segment[keys], segment[queries], prompt[queries]) | (keys > queries)
    plain = int((~hidden.any(dim=0)).long().cumprod(0).sum())  # leading keys that all queries attend to
    return Piece(cut.stop, cut.seen, hidden[:, plain:])


def _joined(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Merge overlapping spans into as few as possible, in order."""
    merged: list[Span] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        elif start < stop:
            merged.append((start, stop))
    return tuple(merged)


def _numbers(plan: Layout, segments: Sequence[_Segment], stem: int) -> tuple[Tensor, Tensor]:
    """Number the segments; returns each token's segment and its prompt's segment, both `[R, L]`."""
    segment = torch.full_like(plan.input_ids, PADDING)
    segment[:, :stem] = STEM
    prompt, branch = segment.clone(), STEM
    for number, own in enumerate(segments, STEM + 1):
        segment[own.row, own.start : own.stop] = number
        branch = number if own.prompt == (own.start, own.stop) else branch
        prompt[own.row, own.start : own.stop] = branch
    return segment, prompt


def _visible(key: Tensor, query: Tensor, prompt: Tensor) -> Tensor:
    """True where tokens of segments `query`, with prompt segments `prompt`, may attend to segments `key`."""
    return (key == STEM) | (key == query) | (key == prompt)


@dataclass(frozen=True)
class _Tree:
    """Prompts and completions as a tree.

    Attributes:
        stem: length of the common prefix of all prompts, in tokens.
        bundles: each distinct prompt, with the completions of all its groups.
        sizes: tokens of each bundle without the stem.
    """

    stem: int
    bundles: list[tuple[Tensor, list[int]]]
    sizes: list[int]


def _tree(groups: TokenGroups) -> _Tree:
    by_prompt: dict[bytes, tuple[Tensor, list[int]]] = {}
    for n, g in enumerate(groups.group.tolist()):
        prompt = groups.prompts[g]
        by_prompt.setdefault(prompt.numpy().tobytes(), (prompt, []))[1].append(n)
    bundles = list(by_prompt.values())
    stem = _common_length([prompt for prompt, _ in bundles])
    sizes = [len(prompt) - stem + sum(len(groups.completions[n]) for n in members) for prompt, members in bundles]
    return _Tree(stem, bundles, sizes)


def _common_length(prompts: Sequence[Tensor]) -> int:
    """Return the length of the common prefix of all prompts."""
    shortest = min(len(prompt) for prompt in prompts)
    heads = torch.stack([prompt[:shortest] for prompt in prompts])
    return int((heads == heads[0]).all(dim=0).long().cumprod(0).sum())


def _lay_out(groups: TokenGroups, tree: _Tree, rows: Sequence[Sequence[int]]) -> tuple[Layout, list[_Segment]]:
    """Lay out bundles in rows, each of which starts with the stem: a prompt's segment, then its completions'.

    The caller sets the mask.
    """
    stem = tree.stem
    length = stem + max(sum(tree.sizes[b] for b in row) for row in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    positions = torch.zeros_like(ids)
    state: list[Tensor] = [torch.empty(0)] * len(groups)
    end: list[Tensor] = [torch.empty(0)] * len(groups)
    prompts: list[tuple[int, Tensor]] = []
    segments: list[_Segment] = []
    for r, row in enumerate(rows):
        ids[r, :stem] = tree.bundles[row[0]][0][:stem]
        positions[r, :stem] = torch.arange(stem)
        at = stem
        for b in row:
            prompt, members = tree.bundles[b]
            depth = len(prompt)
            own = slice(at, at + depth - stem)
            ids[r, own] = prompt[stem:]
            positions[r, own] = torch.arange(stem, depth)
            path = torch.cat([torch.arange(stem), torch.arange(own.start, own.stop)]) + r * length
            prompts += [(g, path) for g in dict.fromkeys(groups.group[members].tolist())]
            at = own.stop
            segments.append(_Segment(r, own.start, own.stop, (own.start, own.stop)))
            for n in members:
                count = len(groups.completions[n])
                ids[r, at : at + count] = groups.completions[n]
                positions[r, at : at + count] = torch.arange(depth, depth + count)
                end[n] = torch.arange(at, at + count) + r * length
                state[n] = torch.cat([path[-1:], end[n][:-1]])
                segments.append(_Segment(r, at, at + count, (own.start, own.stop)))
                at += count
    no_mask = torch.empty(0, dtype=torch.bool)
    return Layout(ids, positions, no_mask, torch.cat(state), torch.cat(end), tuple(prompts)), segments


def plain_layout(groups: TokenGroups) -> Layout:
    """Lay out each completion in a row of its own: its prompt, the completion, padding on the right."""
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
