"""Token sampling: penalties, restrictions, and one draw per row."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from gnomon.rollouts.sampling_params import Sampling

BLOCK = 64  # tokens of the vocabulary per block of the search
FEW = 256  # most likely tokens in which a nucleus is searched first


def uniforms(count: int, *key: object) -> list[float]:
    """Draw `count` numbers in [0, 1) that depend on `key` alone: the same in every process and batch."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
    return torch.rand(count, generator=generator, dtype=torch.float64).tolist()


def penalize(
    logits: Tensor,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    terminators: Sequence[int],
    sampling: Sampling,
) -> Tensor:
    """Apply `repetition_penalty`, `no_repeat_ngram` and `min_tokens` to logits, `[B, vocab]`.

    Args:
        logits: `[B, vocab]`.
        prompts: ids of each row's prompt.
        completions: ids of each row's completion so far.
        terminators: ids that end a completion.
        sampling: the settings.
    """
    if sampling.repetition_penalty == 1 and not sampling.no_repeat_ngram and not sampling.min_tokens:
        return logits
    texts = [[*prompt, *tokens] for prompt, tokens in zip(prompts, completions, strict=True)]
    if sampling.repetition_penalty != 1:
        seen = [set(text) - set(terminators) for text in texts]
        logits = repetition_penalty(logits, seen, sampling.repetition_penalty)
    if sampling.no_repeat_ngram:
        banned = [repeated(text, sampling.no_repeat_ngram) - set(terminators) for text in texts]
        others = logits.shape[-1] - len(terminators)  # if all of them are banned, none is
        logits = forbid(logits, [ids if len(ids) < others else () for ids in banned])
    if sampling.min_tokens:
        logits = forbid(
            logits, [terminators if len(tokens) < sampling.min_tokens else () for tokens in completions]
        )
    return logits


def repetition_penalty(logits: Tensor, seen: Sequence[set[int]], penalty: float) -> Tensor:
    """Make `seen` tokens less likely, `[B, vocab]` (CTRL, Keskar et al. 2019).

    The paper divides logits; a negative one is multiplied, as dividing would make its token likelier.

    Args:
        logits: `[B, vocab]`.
        seen: ids of each row.
        penalty: above 1 makes them less likely.
    """
    rows, ids = _pairs(seen, logits.device)
    chosen = logits[rows, ids]
    return logits.index_put((rows, ids), torch.where(chosen > 0, chosen / penalty, chosen * penalty))


def repeated(ids: Sequence[int], n: int) -> set[int]:
    """Return the tokens that would complete an n-gram that `ids` already holds."""
    tail = list(ids[len(ids) - n + 1 :])
    return {ids[i + n - 1] for i in range(len(ids) - n + 1) if list(ids[i : i + n - 1]) == tail}


def forbid(logits: Tensor, ids: Sequence[Sequence[int] | set[int]]) -> Tensor:
    """Set the logits of each row's `ids` to −∞, `[B, vocab]`."""
    return logits.index_put(_pairs(ids, logits.device), logits.new_tensor(-torch.inf))


def _pairs(ids: Sequence[Sequence[int] | set[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    pairs = [(row, token) for row, tokens in enumerate(ids) for token in tokens]
    rows, tokens = torch.tensor(pairs, dtype=torch.long, device=device).reshape(-1, 2).unbind(1)
    return rows, tokens


def restrict(logits: Tensor, *, top_k: int, top_p: float) -> Tensor:
    """Set logits outside the top k and the nucleus (Holtzman et al. 2020) to −∞, `[B, vocab]`.

    Exactly k remain, even with a tie for the k-th.

    Args:
        logits: `[B, vocab]`.
        top_k: tokens to keep; 0 keeps all.
        top_p: probability to keep; 1 keeps all.
    """
    if 0 < top_k < logits.shape[-1]:
        likeliest = logits.topk(top_k, dim=-1)
        logits = torch.full_like(logits, -torch.inf).scatter(1, likeliest.indices, likeliest.values)
    return nucleus(logits, top_p) if top_p < 1 else logits


def nucleus(logits: Tensor, top_p: float, among: int = FEW) -> Tensor:
    """Keep the smallest set of tokens with at least probability `top_p`; the others become −∞, `[B, vocab]`.

    Sorting a whole vocabulary takes longer than a small model's forward pass, so the set is searched in the most
    likely tokens first.

    Args:
        logits: `[B, vocab]`.
        top_p: probability to keep.
        among: most likely tokens to search first; all if those are too few.
    """
    among = min(among, logits.shape[-1])
    likeliest = logits.softmax(dim=-1).topk(among, dim=-1)
    upto = likeliest.values.cumsum(dim=-1)
    inside = logits.gather(1, likeliest.indices).masked_fill(upto - likeliest.values >= top_p, -torch.inf)
    restricted = torch.full_like(logits, -torch.inf).scatter(1, likeliest.indices, inside)
    more = upto[:, -1] < top_p
    if among < logits.shape[-1] and bool(more.any()):
        restricted[more] = nucleus(logits[more], top_p, logits.shape[-1])
    return restricted


def draw(logits: Tensor, sampling: Sampling, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Draw one token per row, with its log-probability under the distribution drawn from, `[B], [B]`.

    At temperature 0 the token is the most likely one, and its log-probability is that at temperature 1; under the
    distribution drawn from, it would always be 0.

    Args:
        logits: `[B, vocab]`.
        sampling: temperature, `top_k` and `top_p`.
        uniform: a number in [0, 1) for each row, `[B]`; the token is where the cumulative distribution passes it.
    """
    if sampling.temperature == 0:
        token = logits.argmax(dim=-1, keepdim=True)
        return token.squeeze(1), (logits.gather(1, token) - logits.logsumexp(dim=-1, keepdim=True)).squeeze(1)
    if sampling.temperature != 1:
        logits = logits / sampling.temperature
    probability = restrict(logits, top_k=sampling.top_k, top_p=sampling.top_p).softmax(dim=-1)
    token = invert(probability, uniform)
    return token, probability.gather(1, token[:, None]).log().squeeze(1)


def invert(weights: Tensor, uniform: Tensor) -> Tensor:
    """Find the tokens `[B]` at which the cumulative `weights` `[B, vocab]` pass the share `uniform` `[B]`.

    First the block of tokens is searched, then the token in it, both by cumulative sums in float64: a cumulative
    sum over the whole vocabulary is slower and, in float32, too coarse for rare tokens. A token of weight 0 is
    never drawn.
    """
    width = weights.shape[-1]
    padded = torch.nn.functional.pad(weights, (0, -width % BLOCK)) if width % BLOCK else weights
    blocks = padded.reshape(len(weights), -1, BLOCK)
    totals = blocks.sum(dim=-1).double()
    block, rest = _search(totals, uniform.to(totals)[:, None] * totals.sum(dim=-1, keepdim=True))
    inside = blocks.gather(1, block[:, :, None].expand(-1, 1, BLOCK)).squeeze(1).double()
    token, _ = _search(inside, rest)
    return (block * BLOCK + token).squeeze(1)


def _search(weights: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Find the first index `[B, 1]` where cumulative weights exceed `target`, and the remainder of `target`."""
    cumulative = weights.cumsum(dim=-1)
    # Rounding may leave a target at the very end: take the last token with a weight, not one after it.
    indices = torch.arange(weights.shape[-1], device=weights.device)
    last = indices.where(weights > 0, 0).amax(dim=-1, keepdim=True)
    index = torch.minimum(torch.searchsorted(cumulative, target, right=True), last)
    return index, (target - cumulative.gather(1, index) + weights.gather(1, index)).clamp(min=0)
