"""Checks of a stage's settings against its algorithm, before a model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from gnomon.algorithms.contract import Algorithm, OnlineAlgorithm
from gnomon.algorithms.registry import consumed_kinds
from gnomon.core.experience import Experience
from gnomon.core.types import Demonstration, Label, NamedScores, Preference, Ranking
from gnomon.data.encoding import Example
from gnomon.data.tokenized.stored_examples import StoredExamples
from gnomon.rollouts.sampling_params import Sampling
from gnomon.training.settings import OnlineSettings


def reuse_incompatibility(algorithm: Algorithm, settings: OnlineSettings) -> str | None:
    """An error sentence if a round has more optimizer steps than the algorithm supports, else `None`."""
    if settings.epochs * settings.minibatches == 1 or not cast(OnlineAlgorithm, algorithm).single_update:
        return None
    return (
        f"training: {type(algorithm).__name__} has no importance ratio for samples of an earlier policy, "
        f"so it takes one step a round; set epochs ({settings.epochs}) and minibatches "
        f"({settings.minibatches}) to 1."
    )


def sampling_incompatibility(algorithm: Algorithm, sampling: Sampling) -> str | None:
    """An error sentence if the sampling settings do not suit an online algorithm, else `None`."""
    if not sampling.on_policy:
        return (
            f"sampling: {', '.join(sampling.off_policy)} would sample from another distribution than the "
            "trained policy's; remove them."
        )
    if sampling.completions < algorithm.min_group_size:
        return (
            f"sampling.completions is {sampling.completions}, but this algorithm compares several of one prompt; "
            f"set it to {algorithm.min_group_size} or more (4 to 16 is usual)."
        )
    return None


def needs_reference(algorithm: Algorithm, settings: OnlineSettings) -> bool:
    """Return whether a round reads the reference: for the algorithm, the KL penalty, the sampling or a metric.

    A coefficient of 0 stays 0 with any target, so there is no penalty then.
    """
    kl = settings.kl
    used = kl.coef > 0 or kl.measure != "auto" or settings.exploration.reference_share > 0
    return used or "reference" in algorithm.needs


def data_incompatibility(algorithm: Algorithm, examples: Sequence[Example] | None) -> str | None:
    """An error sentence if an algorithm cannot train on these examples, else `None`.

    Args:
        algorithm: any algorithm.
        examples: stored examples; `None` for sampled ones.
    """
    name, kind, online = type(algorithm).__name__, algorithm.consumes, algorithm.consumes is Experience
    if online != (examples is None):
        learns, loop = ("its own samples", "online") if online else (f"{kind.__name__}s", "offline")
        return f"{name} learns from {learns}; train it in the {loop} loop."
    sample = examples[:1] if isinstance(examples, StoredExamples) else examples  # those are of one kind
    other = next((e for e in sample or () if _kind_of(e) not in consumed_kinds(algorithm)), None)
    if other is None:
        return None
    return (
        f"{name} learns from {kind.__name__}s, but the example of prompt '{other.prompt_id}' is a "
        f"{_kind_of(other).__name__}; give it data of its kind."
    )


def _kind_of(example: Example) -> type:
    if example.pairs or example.rankings:
        return Preference if example.pairs else Ranking
    if example.scores:
        return NamedScores
    return Demonstration if example.good is None else Label
