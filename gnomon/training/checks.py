"""Checks of an online stage's settings against its algorithm, made before a model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from gnomon.algorithms.contract import Algorithm, OnlineAlgorithm
from gnomon.core.experience import Experience
from gnomon.core.types import Demonstration, Label, Preference, Ranking
from gnomon.data.encoding import Example
from gnomon.rollouts.sampling_params import Sampling
from gnomon.training.settings import OnlineSettings


def reuse_fault(algorithm: Algorithm, settings: OnlineSettings) -> str | None:
    """What is wrong with learning so often from a round's samples, in one sentence; `None` if nothing is."""
    if settings.epochs * settings.minibatches == 1 or not cast(OnlineAlgorithm, algorithm).single_update:
        return None
    return (
        f"training: {type(algorithm).__name__} has no ratio that would follow the policy away from its samples, "
        f"so it takes one step a round; set epochs ({settings.epochs}) and minibatches "
        f"({settings.minibatches}) to 1."
    )


def sampling_fault(algorithm: Algorithm, sampling: Sampling) -> str | None:
    """What is wrong with drawing like this for an online algorithm, in one sentence; `None` if nothing is."""
    if not sampling.on_policy:
        return (
            f"sampling: {', '.join(sampling.off_policy)} would draw from another distribution than that of the "
            "model that learns; leave them out here."
        )
    if sampling.completions < algorithm.min_group_size:
        return (
            f"sampling.completions is {sampling.completions}, but this algorithm compares several of one prompt; "
            f"set it to {algorithm.min_group_size} or more (4 to 16 is usual)."
        )
    return None


def needs_reference(algorithm: Algorithm, settings: OnlineSettings) -> bool:
    """Whether anything in a round reads the reference: the algorithm, the KL's price, the sampling or a measure.

    A coefficient of 0 stays 0 whatever its target, so nothing is priced then.
    """
    kl = settings.kl
    wanted = kl.coef > 0 or kl.measure != "auto" or settings.exploration.reference_share > 0
    return wanted or "reference" in algorithm.needs


def data_fault(algorithm: Algorithm, examples: Sequence[Example] | None) -> str | None:
    """Why an algorithm cannot learn from these, in one sentence; `None` if it can.

    Args:
        algorithm: any.
        examples: stored ones; `None` for what is sampled.
    """
    name, wanted, online = type(algorithm).__name__, algorithm.consumes, algorithm.consumes is Experience
    if online != (examples is None):
        learns, loop = ("its own samples", "online") if online else (f"{wanted.__name__}s", "offline")
        return f"{name} learns from {learns}; train it in the {loop} loop."
    strange = next((e for e in examples or () if _kind_of(e) is not wanted), None)
    if strange is None:
        return None
    return (
        f"{name} learns from {wanted.__name__}s, but the example of prompt '{strange.prompt_id}' is a "
        f"{_kind_of(strange).__name__}; give it data of its kind."
    )


def _kind_of(example: Example) -> type:
    if example.pairs or example.rankings:
        return Preference if example.pairs else Ranking
    return Demonstration if example.good is None else Label
