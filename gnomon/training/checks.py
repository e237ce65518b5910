"""Checks of an online stage's settings against its algorithm, made before a model is loaded."""

from __future__ import annotations

from typing import cast

from gnomon.algorithms.contract import Algorithm, OnlineAlgorithm
from gnomon.rollouts.sampling import Sampling
from gnomon.training.settings import OnlineSettings


def reuse_fault(algorithm: Algorithm, settings: OnlineSettings) -> str | None:
    """What is wrong with learning so often from a round's samples, in one sentence; `None` if nothing is."""
    if settings.epochs * settings.minibatches == 1 or not cast(OnlineAlgorithm, algorithm).used_once:
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
    if sampling.completions < algorithm.group:
        return (
            f"sampling.completions is {sampling.completions}, but this algorithm compares several of one prompt; "
            f"set it to {algorithm.group} or more (4 to 16 is usual)."
        )
    return None


def needs_reference(algorithm: Algorithm, settings: OnlineSettings) -> bool:
    """Whether anything in a round reads the reference: the algorithm, the KL's price, the sampling or a measure.

    A coefficient of 0 stays 0 whatever its target, so nothing is priced then.
    """
    kl = settings.kl
    wanted = kl.coefficient > 0 or kl.measure != "auto" or settings.exploration.reference_share > 0
    return wanted or "reference" in algorithm.needs
