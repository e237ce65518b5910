"""The interface of an algorithm, and the list of algorithms in this folder."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeGuard

from gnomon.core.batches import Metrics
from gnomon.core.experience import Experience

if TYPE_CHECKING:
    from torch import Tensor

    from gnomon.models.roles import Critic, Policy, RewardModel


class Models(Protocol):
    """The models that a loop passes to a loss; those that an algorithm does not need are absent."""

    @property
    def policy(self) -> Policy:
        """The language model being trained."""

    @property
    def critic(self) -> Critic:
        """Its value function."""

    @property
    def reward(self) -> RewardModel:
        """The reward model being trained."""

    @property
    def temperature(self) -> float:
        """Of the distribution that is trained; 1 for stored data."""


class Algorithm(Protocol):
    """A frozen dataclass whose fields are its settings.

    Attributes:
        consumes: `Demonstration`, `Preference`, `Label`, `Ranking` or `Experience`. An algorithm that learns from
            more kinds at once has them in `also_consumes`, and its batches are `Judgements`.
        trains: the model that a loop makes trainable: `policy` or `reward`.
        loop_defaults: settings of the loop that its paper uses; a recipe may say otherwise.
        min_group_size: completions of a prompt that it needs at least.
    """

    consumes: ClassVar[type]
    trains: ClassVar[str]
    loop_defaults: ClassVar[Mapping[str, Any]]
    min_group_size: ClassVar[int]

    @property
    def needs(self) -> frozenset[str]:
        """Inputs from the loop: `reference` (not for the KL penalty), `critic`, `token_reward`, `mismatched`."""

    def loss(self, models: Models, batch: Any) -> tuple[Tensor, Metrics]:
        """The batch's share of the step's loss, `[]`, and of each metric's mean: micro-batches add up."""


class OnlineAlgorithm(Protocol):
    """An algorithm that learns from its own samples.

    Attributes:
        supports_kl_loss: whether its loss has a KL term (`training.kl.placement: loss`).
        single_update: whether its loss is valid for only one optimizer step on a round's samples.
    """

    supports_kl_loss: ClassVar[bool]
    single_update: ClassVar[bool]

    def compute_advantages(self, experience: Experience) -> Experience:
        """Set advantages (and returns) from rewards (and values)."""

    def loss(self, models: Models, batch: Experience) -> tuple[Tensor, Metrics]:
        """The same as for any algorithm, `[]`."""


class StepStatisticsAlgorithm(Protocol):
    """An offline algorithm whose loss needs sums over the whole step."""

    def step_statistics(self, models: Models, batch: Any, mismatched: Any) -> Metrics:
        """Sums over a part of the step, without gradient; the loop adds them up in `batch.totals.sums`.

        Args:
            models: the trained models.
            batch: a part of the step's examples.
            mismatched: with `mismatched` in `needs`, the prompts of `batch` with completions of other prompts.
        """

    def loss(self, models: Models, batch: Any) -> tuple[Tensor, Metrics]:
        """The same as for any algorithm, `[]`."""


def is_online(algorithm: object) -> TypeGuard[OnlineAlgorithm]:
    """Return whether it learns from its own samples, by its attributes, which a wrapper may forward."""
    return callable(getattr(algorithm, "compute_advantages", None))


def needs_step_statistics(algorithm: object) -> TypeGuard[StepStatisticsAlgorithm]:
    """Return whether its loss needs sums over the whole step, by its attributes as in `is_online`."""
    return callable(getattr(algorithm, "step_statistics", None))


def algorithms() -> dict[str, type]:
    """Return the algorithm of each file, a frozen dataclass with a `loss`; names with `_` hold shared code."""
    package = importlib.import_module("gnomon.algorithms")
    classes_by_name: dict[str, type] = {}
    for info in pkgutil.iter_modules(package.__path__):
        if info.name in ("contract", "registry") or info.name.startswith("_"):
            continue
        module = importlib.import_module(f"gnomon.algorithms.{info.name}")
        own = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == module.__name__]
        classes = [kind for kind in own if is_dataclass(kind) and hasattr(kind, "loss")]
        assert len(classes) == 1, f"{module.__name__} must hold one algorithm"
        classes_by_name[info.name] = classes[0]
    return classes_by_name
