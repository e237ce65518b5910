"""Simulated annotators: judgements with known noise and known bias, by true utilities.

Each completion has a utility u. Of two, shown first and second, the lead of the first is

    d = sharpness · (u_1 − u_2) + position + length · log2(characters_1 / characters_2)

and it wins as by R.R. Davidson's model ("On extending the Bradley–Terry model to accommodate ties in paired
comparison experiments", JASA 65, 1970): in proportion to exp(d/2), against exp(−d/2) for the second and `ties`
for a tie. Without ties that is Bradley and Terry's σ(d). A ranking is drawn by Plackett and Luce's model, which
for two is the same: the best has the largest utility with Gumbel noise (Yellott 1977). A score is the place of
the noisy utility on the scale, where true utilities have mean 0 and deviation 1.

Everything drawn depends on the rater's seed and on the completions, not on when or beside what they are judged.
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
from gnomon.feedback.annotators.programmatic import Kind, Opinion
from gnomon.feedback.task_types import Setup
from gnomon.feedback.tasks.queue import Task
from gnomon.stats.bradley_terry import choice_probabilities

Utility = Callable[[Prompt, Completion], float]


class Manner(Settings):
    """How a simulated annotator judges; see the module.

    Attributes:
        sharpness: how much a difference of utility tells; 0 is blind, large is sure.
        position: lead, in logits, of what is shown first.
        length: lead, in logits, of a text of twice the length.
        ties: weight of a tie beside exp(±d/2).
        spam: share of judgements made without looking: at random.
        first: share of judgements made without looking: what is shown first, in the order shown.
        tires_after: judgements after which all are spam; `None`: never.
        skips: share of items given back.
    """

    sharpness: Annotated[float, Range("it multiplies differences; 0 is blind", ge=0, le=1e6)] = 2.0
    position: Annotated[float, Range("it is a lead in logits", ge=-1e6, le=1e6)] = 0.0
    length: Annotated[float, Range("it is a lead in logits", ge=-1e6, le=1e6)] = 0.0
    ties: Annotated[float, Range("it is the weight of a tie", ge=0, le=1e6)] = 0.0
    spam: Share = 0.0
    first: Share = 0.0
    tires_after: Annotated[int, Range("it counts judgements; null never tires", ge=0, le=10**18)] | None = None
    skips: Share = 0.0


MANNERS = {
    "careful": Manner(),
    "noisy": Manner(sharpness=0.5),
    "first-leaning": Manner(position=1.0),
    "length-leaning": Manner(length=1.0),
    "undecided": Manner(ties=1.0),
    "spammer": Manner(spam=1.0),
    "always-first": Manner(first=1.0),
    "tiring": Manner(tires_after=20),
}


def manner_of(said: str) -> Manner:
    """`careful`, or another of `MANNERS`, with changes: `noisy,position=0.5`.

    Raises:
        ConfigError: there is no such manner, or a change cannot be.
    """
    name, *changes = said.split(",")
    if name not in MANNERS:
        raise ConfigError(f"there is no simulated annotator '{name}'; give one of {', '.join(MANNERS)}.")
    parts = [one.partition("=") for one in changes]
    changed: dict[str, Any] = {key: value for key, _, value in parts}
    return validate(Manner, {**MANNERS[name].model_dump(), **changed}, f"simulated:{said}")


def made_up_utility(_: Prompt, completion: Completion) -> float:
    """A utility for texts of which nobody knows one: from N(0, 1), always the same for the same text."""
    return random.Random(digest(["utility", completion.text])).gauss(0, 1)


class SimulatedRater:
    """One simulated annotator.

    Args:
        manner: how it judges.
        utility: of a completion.
        seed: two raters of one manner and different seeds err independently.
        truth: what the utilities are, as its name says it.
    """

    kind: Kind = "simulated"

    def __init__(
        self,
        manner: Manner,
        utility: Utility = made_up_utility,
        *,
        seed: int = 0,
        truth: str = "made up",
        name: str = "",
    ):
        self.manner = manner
        self.utility = utility
        self.seed = seed
        self.name = name or f"simulated {seed}"
        self.identity: dict[str, Any] = {"manner": manner.model_dump(), "seed": seed, "truth": truth}
        self._mark = digest(self.identity)

    def judge(self, task: Task, setup: Setup, number: int) -> Opinion:
        """What it says; the same for the same completions in the same order, before it is tired."""
        chance = random.Random(repr([self._mark, task.prompt.id, *(one.id for one in task.completions)]))
        manner = self.manner
        if chance.random() < manner.skips:
            return Opinion(None, "no opinion")
        count, careless = len(task.completions), chance.random()
        if (manner.tires_after is not None and number >= manner.tires_after) or careless < manner.spam:
            return Opinion(_at_random(count, task.kind, setup, chance))
        if careless < manner.spam + manner.first:
            return Opinion(_as_shown(count, task.kind, setup))
        seen = self._seen(task)
        if task.kind == "pair":
            found = choice_probabilities(seen[0] - seen[1], manner.ties)
            (choice,) = chance.choices(list(found), list(found.values()))
            return Opinion({"choice": choice})
        if task.kind == "ranking":
            noisy = [value - math.log(-math.log(_open(chance))) for value in seen]  # Gumbel's distribution
            return Opinion({"order": sorted(range(count), key=lambda place: -noisy[place])})
        criteria = setup.asked_of(task.kind)
        scale = setup.whole_scale_of(task.kind)
        scores = [{name: self._score(value, scale, chance) for name in criteria} for value in seen]
        return Opinion({"scores": scores})

    def _seen(self, task: Task) -> list[float]:
        """The utilities as this rater sees them, in logits; only their differences tell in pairs and rankings."""
        sizes = [math.log2(max(1, len(one.text))) for one in task.completions]
        mean, manner = sum(sizes) / len(sizes), self.manner
        return [
            manner.sharpness * self.utility(task.prompt, one)
            + manner.position * (place == 0)
            + manner.length * (size - mean)
            for place, (one, size) in enumerate(zip(task.completions, sizes, strict=True))
        ]

    def _score(self, seen: float, scale: tuple[int, int], chance: random.Random) -> int:
        """The place of a noisy utility among those of all texts: each number of the scale is as common."""
        share = _open(chance)
        noisy = seen + math.log(share / (1 - share))  # the logistic distribution, as in σ(d); variance π²/3
        spread = math.sqrt(self.manner.sharpness**2 + math.pi**2 / 3)
        low, high = scale
        return min(high, low + int(NormalDist().cdf(noisy / spread) * (high - low + 1)))


def _at_random(count: int, task: str, setup: Setup, chance: random.Random) -> dict[str, Any]:
    """One or the other of a pair, any order, any score."""
    if task == "pair":
        return {"choice": chance.choice(("first", "second"))}
    if task == "ranking":
        return {"order": chance.sample(range(count), count)}
    low, high = setup.whole_scale_of(task)
    return {"scores": [{name: chance.randint(low, high) for name in setup.asked_of(task)} for _ in range(count)]}


def _as_shown(count: int, task: str, setup: Setup) -> dict[str, Any]:
    """The first of a pair, the order in which they stand, the highest score for all."""
    if task == "pair":
        return {"choice": "first"}
    if task == "ranking":
        return {"order": list(range(count))}
    return {"scores": [dict.fromkeys(setup.asked_of(task), setup.whole_scale_of(task)[1]) for _ in range(count)]}


def _open(chance: random.Random) -> float:
    """Uniform between 0 and 1, neither of them."""
    return (chance.getrandbits(52) + 0.5) / 2**52
