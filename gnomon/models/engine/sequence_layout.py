"""How token groups lie in the rows that a model reads, and where their completions' states then are.

* `packed`: a prompt stands once, followed by all its completions, and several prompts share a row, with what
  they begin alike (a chat template's system turn) once at its start. A mask lets a completion see its prompt and
  itself, and positions restart after the prompt for each completion.
* `branched`: the same tree in one row without padding, for an attention that takes its branches one by one.
* `plain`: one row for each completion, padded on the right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from gnomon.core.batches import TokenGroups
from gnomon.models.engine.row_packing import fill_rows

STEM, PADDING = 0, -1  # numbers of segments in a packed row
SLICE = 128  # tokens of a text that ask together: shorter slices ask less of what they may not see, in more calls
CALL = 5000  # pairs of a query and a key that take as long as what a call of attention costs beside them
Stretch = tuple[int, int]  # of a row, from and to


@dataclass(frozen=True)
class Piece:
    """A stretch of a row that asks together, and what it asks.

    Attributes:
        stop: where it ends; it begins where the one before ends.
        seen: stretches of the row, in order, that any of its tokens sees.
        hidden: boolean, `[m, k]` for m tokens: which of the last k tokens of `seen` each of them does not see.
    """

    stop: int
    seen: tuple[Stretch, ...]
    hidden: Tensor

    @property
    def pairs(self) -> int:
        """Queries times keys."""
        return len(self.hidden) * sum(stop - start for start, stop in self.seen)


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
class _Segment:
    """A stretch of a row, a prompt's own rest or a completion, and where its prompt's own rest is."""

    row: int
    start: int
    stop: int
    prompt: Stretch


def packed_layout(groups: TokenGroups) -> Layout:
    """Equal text once: the beginning that all prompts share, then each prompt's own rest, then its completions.

    A row is a tree of segments: the stem, prompts that branch off it, completions that branch off these. A token
    sees what stands before it in its own segment, in its prompt's and in the stem.
    """
    tree = _tree(groups)
    plan, segments = _lay_out(groups, tree, fill_rows(dict(enumerate(tree.sizes)), tree.stem))
    segment, prompt = _numbers(plan, segments, tree.stem)
    length = segment.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    visible = _visible(segment[:, None, :], segment[:, :, None], prompt[:, :, None])
    return replace(plan, attention_mask=(causal & visible)[:, None])


def branched_layout(groups: TokenGroups) -> Layout:
    """The same tree in one row without padding, cut into pieces for an attention that takes them one by one.

    Long segments are cut into slices, which do not ask what comes after them; neighbours ask together where that
    costs less than a call.
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
    """A stretch that asks together and what it sees; its cost in pairs of a query and a key."""

    start: int
    stop: int
    seen: tuple[Stretch, ...]

    @property
    def cost(self) -> int:
        return (self.stop - self.start) * sum(stop - start for start, stop in self.seen) + CALL


def _piece(cut: _Cut, segment: Tensor, prompt: Tensor) -> Piece:
    asks = torch.arange(cut.start, cut.stop)[:, None]
    asked = torch.cat([torch.arange(*stretch) for stretch in cut.seen])
    hidden = ~_visible(segment[asked], segment[asks], prompt[asks]) | (asked > asks)
    plain = int((~hidden.any(dim=0)).long().cumprod(0).sum())  # what all of them see stands first
    return Piece(cut.stop, cut.seen, hidden[:, plain:])


def _joined(stretches: Sequence[Stretch]) -> tuple[Stretch, ...]:
    """The same positions in as few stretches as may be, in order."""
    found: list[Stretch] = []
    for start, stop in sorted(stretches):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        elif start < stop:
            found.append((start, stop))
    return tuple(found)


def _numbers(plan: Layout, segments: Sequence[_Segment], stem: int) -> tuple[Tensor, Tensor]:
    """For each token the number of its segment and that of its prompt's, `[R, L]`."""
    segment = torch.full_like(plan.input_ids, PADDING)
    segment[:, :stem] = STEM
    prompt, branch = segment.clone(), STEM
    for number, own in enumerate(segments, STEM + 1):
        segment[own.row, own.start : own.stop] = number
        branch = number if own.prompt == (own.start, own.stop) else branch
        prompt[own.row, own.start : own.stop] = branch
    return segment, prompt


def _visible(asked: Tensor, asking: Tensor, prompt: Tensor) -> Tensor:
    """Whether tokens of segments `asking`, whose prompts' are `prompt`, may see those of segments `asked`."""
    return (asked == STEM) | (asked == asking) | (asked == prompt)


@dataclass(frozen=True)
class _Tree:
    """Texts by what they begin alike.

    Attributes:
        stem: how many tokens all prompts have in common at their start.
        bundles: each text that is a prompt, and all completions of it, whichever of its groups they are in.
        sizes: tokens of each bundle beside the stem.
    """

    stem: int
    bundles: list[tuple[Tensor, list[int]]]
    sizes: list[int]


def _tree(groups: TokenGroups) -> _Tree:
    found: dict[bytes, tuple[Tensor, list[int]]] = {}
    for n, g in enumerate(groups.group.tolist()):
        prompt = groups.prompts[g]
        found.setdefault(prompt.numpy().tobytes(), (prompt, []))[1].append(n)
    bundles = list(found.values())
    stem = _common_length([prompt for prompt, _ in bundles])
    sizes = [len(prompt) - stem + sum(len(groups.completions[n]) for n in members) for prompt, members in bundles]
    return _Tree(stem, bundles, sizes)


def _common_length(prompts: Sequence[Tensor]) -> int:
    """How many tokens at their beginning all prompts have in common."""
    shortest = min(len(prompt) for prompt in prompts)
    heads = torch.stack([prompt[:shortest] for prompt in prompts])
    return int((heads == heads[0]).all(dim=0).long().cumprod(0).sum())


def _lay_out(groups: TokenGroups, tree: _Tree, rows: Sequence[Sequence[int]]) -> tuple[Layout, list[_Segment]]:
    """Bundles in rows, each of which begins with the stem: a prompt's segment, then its completions'.

    The mask is left to the caller.
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
    nothing = torch.empty(0, dtype=torch.bool)
    return Layout(ids, positions, nothing, torch.cat(state), torch.cat(end), tuple(prompts)), segments


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
