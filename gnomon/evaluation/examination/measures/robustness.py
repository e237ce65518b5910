"""Robustness to changes that leave an answer's worth alone, and sensitivity to the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gnomon.core.types import Completion, Prompt
from gnomon.evaluation.examination.cases import Cases, PairCase, Texts, evenly
from gnomon.evaluation.examination.measures.transformations import CHANGES, changed
from gnomon.evaluation.examination.results import Accuracy, PromptFigures, Robustness
from gnomon.stats.clustered import ClusterBootstrap

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Perturbed:
    """Pairs with their changed texts, and preferred texts under other prompts; all are among the texts to score.

    Attributes:
        pairs: decided pairs with answers of one turn.
        changes: by the change's name, the indices of each pair's changed texts.
        elsewhere: index of each pair's preferred text under another row's prompt; empty where there is none.
    """

    pairs: Sequence[PairCase]
    changes: dict[str, list[tuple[int, int]]]
    elsewhere: list[int]


def perturb(cases: Cases, count: int, seed: int) -> Perturbed:
    """Add the changed texts of some pairs to the texts of the cases.

    Args:
        cases: the data; answers of several turns are not changed.
        count: number of pairs, evenly spaced.
        seed: of random changes and of the other prompts.
    """
    texts = cases.texts
    single = [p for p in cases.decided if all(texts.completions[n].turns is None for n in (p.first, p.second))]
    pairs = evenly(single, count)
    changes = {
        name: [(_changed(texts, p.first, name, seed), _changed(texts, p.second, name, seed)) for p in pairs]
        for name in CHANGES
    }
    return Perturbed(pairs, changes if pairs else {}, _elsewhere(cases, pairs, seed))


def _changed(texts: Texts, index: int, name: str, seed: int) -> int:
    completion = texts.completions[index]
    text = changed(name, completion.text, seed)
    if text == completion.text:
        return index
    return texts.add(texts.prompts[index], Completion(f"{completion.id}-{name}", text, completion.source))


def _elsewhere(cases: Cases, pairs: Sequence[PairCase], seed: int) -> list[int]:
    """Put each preferred text under the prompt that follows its own in a random circle of the pairs' prompts."""
    prompts: dict[int, Prompt] = {pair.clusters[0]: cases.texts.prompts[pair.first] for pair in pairs}
    if len(prompts) < 2 or any(pair.clusters[0] != pair.clusters[1] for pair in pairs):
        return []
    order = [list(prompts)[n] for n in np.random.default_rng(seed).permutation(len(prompts)).tolist()]
    following = {own: prompts[other] for own, other in zip(order, [*order[1:], order[0]], strict=True)}
    return [
        cases.texts.add(
            replace(following[pair.clusters[0]], where=pair.where), cases.texts.completions[pair.first]
        )
        for pair in pairs
    ]


def prompt_figures(perturbed: Perturbed, scores: FloatArray, seed: int, resamples: int) -> PromptFigures | None:
    """Compute how often a preferred text scores higher under its own prompt; `None` without other prompts.

    Args:
        perturbed: the pairs.
        scores: of all texts by index, [N].
        seed: of the bootstrap over prompts.
        resamples: of the bootstrap.
    """
    if not perturbed.elsewhere:
        return None
    gaps = scores[[pair.first for pair in perturbed.pairs]] - scores[perturbed.elsewhere]
    valid = ~np.isnan(gaps)
    estimate = _bootstrap(perturbed.pairs, seed, resamples).mean(np.where(valid, gaps > 0, np.nan))
    return PromptFigures(
        own=Accuracy(
            value=estimate.value,
            low=estimate.low,
            high=estimate.high,
            pairs=int(valid.sum()),
            equal=int((gaps == 0).sum()),
            excluded=int((~valid).sum()),
        )
    )


def robustness(perturbed: Perturbed, scores: FloatArray, seed: int, resamples: int) -> list[Robustness]:
    """Compute what each change does.

    Args:
        perturbed: the pairs.
        scores: of all texts by index, [N].
        seed: of the bootstrap over prompts.
        resamples: of the bootstrap.
    """
    if not perturbed.pairs:
        return []
    plain = np.array([(pair.first, pair.second) for pair in perturbed.pairs])  # [P, 2]
    bootstrap = _bootstrap(perturbed.pairs, seed, resamples)
    return [
        _of_change(name, plain, np.array(indices), scores, bootstrap)
        for name, indices in perturbed.changes.items()
    ]


def _of_change(
    name: str,
    plain: NDArray[np.int64],
    dressed: NDArray[np.int64],
    scores: FloatArray,
    bootstrap: ClusterBootstrap,
) -> Robustness:
    before, after = scores[plain], scores[dressed]  # [P, 2]
    altered = plain != dressed
    used = altered.any(axis=1) & ~np.isnan(before).any(axis=1) & ~np.isnan(after).any(axis=1)
    flips = np.sign(before[:, 0] - before[:, 1]) != np.sign(after[:, 0] - after[:, 1])
    share = bootstrap.mean(np.where(used, flips, np.nan))
    spread = float(before[used].std()) if used.any() else 0.0
    moved = altered & used[:, None]
    right = used & (before[:, 0] > before[:, 1]) & altered[:, 1]
    overtakes = after[right, 1] > before[right, 0]
    return Robustness(
        change=name,
        pairs=int(used.sum()),
        unchanged=int((~altered.any(axis=1)).sum()),
        flips=share.value,
        flips_low=share.low,
        flips_high=share.high,
        shift=float((after - before)[moved].mean()) / spread if spread > 0 else None,
        overtakes=float(overtakes.mean()) if overtakes.size else None,
        ordered=int(right.sum()),
    )


def _bootstrap(pairs: Sequence[PairCase], seed: int, resamples: int) -> ClusterBootstrap:
    clusters = np.array([pair.clusters for pair in pairs])
    return ClusterBootstrap(clusters[:, 0], clusters[:, 1], seed, resamples)
