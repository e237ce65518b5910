"""Simulated annotators: judgements with known noise and known bias, from true utilities.

Each completion has a utility u. For two completions, shown first and second, the log-odds of the first are

    d = sharpness · (u_1 − u_2) + position + length · log2(characters_1 / characters_2)

and it wins as by R.R. Davidson's model ("On extending the Bradley–Terry model to accommodate ties in paired
comparison experiments", JASA 65, 1970): in proportion to exp(d/2), against exp(−d/2) for the second and `ties`
for a tie. Without ties that is Bradley and Terry's σ(d). A ranking is drawn by Plackett and Luce's model, which
for two is the same: the best has the largest utility with Gumbel noise (Yellott 1977). A score is the quantile of
the noisy utility, on the scale, where true utilities have mean 0 and deviation 1.

All randomness depends on the annotator's seed and on the completions, not on the time or order of judging.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from statistics import NormalDist
from typing import Annotated, Any

from gnomon.core.config import Settings, validate
from gnomon.core.errors import ConfigError
from gnomon.core.ranges import Range, Share
from gnomon.core.storage.digests import digest
from gnomon.core.types import Completion, Prompt
from gnomon.feedback.annotators.programmatic import AnnotatorKind, ProgramJudgement
from gnomon.feedback.task_types import Setup
from gnomon.feedback.tasks.queue import AnnotationTask
from gnomon.stats.bradley_terry import choice_probabilities

Utility = Callable[[Prompt, Completion], float]


class SimulatedBehavior(Settings):
    """Noise and bias of a simulated annotator; see the module.

    Attributes:
        sharpness: weight of a difference of utility; 0 ignores it.
        position: bias, in logits, towards the completion shown first.
        length: bias, in logits, towards a text of twice the length.
        ties: weight of a tie beside exp(±d/2).
        spam: share of random judgements.
        first: share of judgements that choose the completion shown first, or the order shown.
        tires_after: number of judgements after which all are random; `None`: never.
        skips: share of skipped items.
    """

    sharpness: Annotated[float, Range("it multiplies differences; 0 ignores them", ge=0, le=1e6)] = 2.0
    position: Annotated[float, Range("it is a bias in logits", ge=-1e6, le=1e6)] = 0.0
    length: Annotated[float, Range("it is a bias in logits", ge=-1e6, le=1e6)] = 0.0
    ties: Annotated[float, Range("it is the weight of a tie", ge=0, le=1e6)] = 0.0
    spam: Share = 0.0
    first: Share = 0.0
    tires_after: Annotated[int, Range("it counts judgements; null means never", ge=0, le=10**18)] | None = None
    skips: Share = 0.0


BEHAVIORS = {
    "careful": SimulatedBehavior(),
    "noisy": SimulatedBehavior(sharpness=0.5),
    "first-leaning": SimulatedBehavior(position=1.0),
    "length-leaning": SimulatedBehavior(length=1.0),
    "undecided": SimulatedBehavior(ties=1.0),
    "spammer": SimulatedBehavior(spam=1.0),
    "always-first": SimulatedBehavior(first=1.0),
    "tiring": SimulatedBehavior(tires_after=20),
}


def parse_behavior(spec: str) -> SimulatedBehavior:
    """Parse `careful`, or another of `BEHAVIORS`, with changes: `noisy,position=0.5`.

    Raises:
        ConfigError: there is no such behavior, or a change is invalid.
    """
    name, *changes = spec.split(",")
    if name not in BEHAVIORS:
        raise ConfigError(f"there is no simulated annotator '{name}'; give one of {', '.join(BEHAVIORS)}.")
    parts = [one.partition("=") for one in changes]
    changed: dict[str, Any] = {key: value for key, _, value in parts}
    return validate(SimulatedBehavior, {**BEHAVIORS[name].model_dump(), **changed}, f"simulated:{spec}")


def random_utility(_: Prompt, completion: Completion) -> float:
    """A utility drawn from N(0, 1), always the same for the same text."""
    return random.Random(digest(["utility", completion.text])).gauss(0, 1)


class SimulatedAnnotator:
    """One simulated annotator.

    Args:
        behavior: noise and bias.
        utility: true utility of a completion.
        seed: annotators with different seeds err independently.
        utility_name: identifies the utility function.
        name: shown in the store.
    """

    kind: AnnotatorKind = "simulated"

    def __init__(
        self,
        behavior: SimulatedBehavior,
        utility: Utility = random_utility,
        *,
        seed: int = 0,
        utility_name: str = "made up",
        name: str = "",
    ):
        self.behavior = behavior
        self.utility = utility
        self.seed = seed
        self.name = name or f"simulated {seed}"
        # These keys are hashed into the ids of annotators in existing stores.
        self.identity: dict[str, Any] = {"manner": behavior.model_dump(), "seed": seed, "truth": utility_name}
        self._mark = digest(self.identity)

    def judge(self, task: AnnotationTask, setup: Setup, number: int) -> ProgramJudgement:
        """Judge an item; the same for the same completions in the same order until it tires.

        Args:
            task: the leased item.
            setup: setup of the project.
            number: how many items it has judged before.
        """
        chance = random.Random(repr([self._mark, task.prompt.id, *(one.id for one in task.completions)]))
        behavior = self.behavior
        if chance.random() < behavior.skips:
            return ProgramJudgement(None, "no opinion")
        count, careless = len(task.completions), chance.random()
        if (behavior.tires_after is not None and number >= behavior.tires_after) or careless < behavior.spam:
            return ProgramJudgement(_at_random(count, task.kind, setup, chance))
        if careless < behavior.spam + behavior.first:
            return ProgramJudgement(_in_shown_order(count, task.kind, setup))
        utilities = self._biased_utilities(task)
        if task.kind == "pair":
            probabilities = choice_probabilities(utilities[0] - utilities[1], behavior.ties)
            (choice,) = chance.choices(list(probabilities), list(probabilities.values()))
            return ProgramJudgement({"choice": choice})
        if task.kind == "ranking":
            noisy = [value - math.log(-math.log(_open(chance))) for value in utilities]  # Gumbel's distribution
            return ProgramJudgement({"order": sorted(range(count), key=lambda index: -noisy[index])})
        criteria = setup.criteria_of(task.kind)
        scale = setup.whole_scale_of(task.kind)
        scores = [{name: self._score(value, scale, chance) for name in criteria} for value in utilities]
        return ProgramJudgement({"scores": scores})

    def _biased_utilities(self, task: AnnotationTask) -> list[float]:
        """Biased utilities in logits; in pairs and rankings only their differences matter."""
        sizes = [math.log2(max(1, len(one.text))) for one in task.completions]
        mean, behavior = sum(sizes) / len(sizes), self.behavior
        return [
            behavior.sharpness * self.utility(task.prompt, one)
            + behavior.position * (index == 0)
            + behavior.length * (size - mean)
            for index, (one, size) in enumerate(zip(task.completions, sizes, strict=True))
        ]

    def _score(self, utility: float, scale: tuple[int, int], chance: random.Random) -> int:
        """The quantile of a noisy utility among all texts, on the scale: each number is equally common."""
        share = _open(chance)
        noisy = utility + math.log(share / (1 - share))  # the logistic distribution, as in σ(d); variance π²/3
        spread = math.sqrt(self.behavior.sharpness**2 + math.pi**2 / 3)
        low, high = scale
        return min(high, low + int(NormalDist().cdf(noisy / spread) * (high - low + 1)))


def _at_random(count: int, task: str, setup: Setup, chance: random.Random) -> dict[str, Any]:
    """A random answer."""
    if task == "pair":
        return {"choice": chance.choice(("first", "second"))}
    if task == "ranking":
        return {"order": chance.sample(range(count), count)}
    low, high = setup.whole_scale_of(task)
    return {
        "scores": [{name: chance.randint(low, high) for name in setup.criteria_of(task)} for _ in range(count)]
    }


def _in_shown_order(count: int, task: str, setup: Setup) -> dict[str, Any]:
    """The first of a pair, the order shown, the highest score for all."""
    if task == "pair":
        return {"choice": "first"}
    if task == "ranking":
        return {"order": list(range(count))}
    return {
        "scores": [dict.fromkeys(setup.criteria_of(task), setup.whole_scale_of(task)[1]) for _ in range(count)]
    }


def _open(chance: random.Random) -> float:
    """Uniform in the open interval (0, 1)."""
    return (chance.getrandbits(52) + 0.5) / 2**52
