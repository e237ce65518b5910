"""Settings of each kind of stage in a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator, model_validator

from gnomon.algorithms.contract import algorithms
from gnomon.core.config import Settings, merge_deep, validate
from gnomon.core.experience import Experience
from gnomon.core.ranges import Finite, Range
from gnomon.data.ratings import DemonstrationChoice
from gnomon.models.settings import Device, HeadSettings, Precision, Trainable
from gnomon.rewards.composite import RewardPart
from gnomon.rewards.python_reward import is_function
from gnomon.rollouts.sampling_params import Sampling
from gnomon.training.settings import OfflineSettings, OnlineSettings

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Weight = Annotated[float, Range("what weighs nothing is better left out", gt=0, le=1e6)]
CRITIC = "critic"  # the folder of a stage's critic; `<stage>/critic` in recipes
BASE = "base"  # the name of the recipe's model in its stages
FILM_REVIEWS = "film-reviews"  # the ratings from a Python package; any other source is a path
TEXT_JUDGES = ("vader", "ridge")  # judges that are not language models


class ModelSettings(Trainable):
    """The model that stages start from, and which of its weights are trained.

    Attributes:
        name: a catalog name such as `smollm2-135m`, a folder, a GGUF file or a Hugging Face name.
        device: `auto` uses a GPU if there is one.
        precision: of matrix products; `auto` is bfloat16 on processors with bfloat16 instructions.
        chat_template: `plain` writes turns as `Human: …` and `Assistant: …`; or the path of a Jinja file;
            `None` uses the tokenizer's own.
    """

    name: str
    device: Device = "auto"
    precision: Precision = "auto"
    chat_template: str | None = None

    @field_validator("chat_template")
    @classmethod
    def _is_there(cls, value: str | None) -> str | None:
        if value not in (None, "plain") and not Path(str(value)).expanduser().is_file():
            raise ValueError(f"no file at {value}; give plain or the path of a Jinja file")
        return value


def _size(value: float) -> float:
    """Validate a size: a share below 1, or a whole number of texts."""
    if 0 < value < 1 or (value >= 2 and value == int(value)):
        return value if value < 1 else int(value)
    raise ValueError(f"{value:g} is neither a number of texts of at least 2 nor a share below 1")


Size = Annotated[
    float,
    Range("it is a share below 1, or a number of texts", gt=0, le=10**9),
    AfterValidator(_size),
]


class FeedbackStage(Settings):
    """Turn people's ratings into judgements, preferences and demonstrations.

    Sizes are numbers of texts, or shares of all texts if below 1. Their defaults are, for film-reviews and for a
    file of the user's own: `judge_holdout` 0.5 and 0.25, `training` 1600 and 0.6,
    `demonstrations` 600 and 0.3, `held_out` 400 and 0.15.

    Attributes:
        feedback: `film-reviews`, or a file of ratings: rows `{"id", "text", "ratings"}`, or one row a rating,
            `{"text", "rater", "rating"}`; either may have a `prompt`. Texts with prompts are compared within
            their prompt, and split by prompt; others are taken as completions of `prompt_templates`,
            and split by text.
        judge_holdout: share of the texts that only independent judges may learn from.
        training: texts for the reward model.
        demonstrations: texts for SFT, a part of those for the reward model.
        demonstration_choice: which texts: `neutral` as a whole in rating (around 0 for film-reviews, around the
            average text for a file), so that later gains come from alignment; or `best`, the highest rated, when
            a good start matters more than a clean comparison.
        held_out: texts for evaluation.
        group_size: largest number of texts compared with each other under one prompt.
        minimum_margin: pairs whose mean ratings differ by less, on the raters' scale, make no preference.
        prompt_templates: prompts for texts without prompts of their own.
        held_out_prompt_templates: other prompts, which only the evaluation uses.
    """

    name: Name
    feedback: str
    judge_holdout: Annotated[float, Range("it is a share, and some are trained on", ge=0, lt=1)] | None = None
    training: Size | None = None
    demonstrations: Size | None = None
    demonstration_choice: DemonstrationChoice = "neutral"
    held_out: Size | None = None
    group_size: Annotated[int, Range("fewer than 2 texts cannot be compared", ge=2, le=10**4)] = 8
    minimum_margin: Annotated[float, Range("it is a distance of mean ratings", ge=0)] = 0.0
    prompt_templates: list[str] = Field(default_factory=list)
    held_out_prompt_templates: list[str] = Field(default_factory=list)

    @field_validator("feedback")
    @classmethod
    def _is_a_source(cls, value: str) -> str:
        if value != FILM_REVIEWS and Path(value).name == value and not Path(value).suffix:
            raise ValueError(f"'{value}' is neither {FILM_REVIEWS} nor a path; write ./{value} for a folder")
        return value

    @model_validator(mode="after")
    def _has_both_prompt_templates(self) -> FeedbackStage:
        if bool(self.prompt_templates) != bool(self.held_out_prompt_templates):
            raise ValueError("prompt_templates and held_out_prompt_templates are given together, or neither")
        return self


class SFTMix(Settings):
    """An SFT term beside the loss.

    Attributes:
        data: demonstrations.
        weight: of the mean negative log-likelihood of a token.
        batch_size: demonstrations per optimizer step.
    """

    data: str
    weight: Weight = 0.1
    batch_size: Annotated[int, Range("a step sees demonstrations", ge=1, le=10**9)] = 8


class StoredSettings(Settings):
    """Stored completions, written by others, as members of a round's groups.

    Attributes:
        data: demonstrations; their prompts must be among the stage's prompts.
        share: share of each group's completions taken from the data.
    """

    data: str
    share: Annotated[float, Range("it is a share of a group, and the policy writes the rest", gt=0, lt=1)] = 0.25


class TrainStage(Settings):
    """Train one model with one algorithm.

    Attributes:
        algorithm: a file of `gnomon/algorithms/`.
        model: an earlier stage, `base`, or a model of your own: a folder, GGUF file, catalog or hub name.
        data: for offline algorithms: `<stage>/<part>` of a feedback stage, or a JSON-lines file.
        prompts: for online algorithms, likewise.
        reward: for online algorithms: a reward model (an earlier stage, or one of your own),
            `path/to/file.py:function`, or `vader`.
        critic: the model that the critic starts from, or `<stage>/critic`, the trained critic of an earlier
            stage; the default is the reward model, or the policy where the reward is not a model.
        critic_trainable_layers: number of upper layers of the critic that are trained; 0 trains its head alone.
        num_layers: for reward models: keep only this many of the lower layers.
        head: the shape of a reward model's new head, or of an online algorithm's critic.
        settings: the algorithm's own settings.
        trainable: which weights are trained; the default is that of the recipe's `model`.
        training: the loop's settings.
        stored: stored completions that join the policy's own in an online algorithm's groups.
        sampling: sampling settings of an online algorithm.
    """

    name: Name
    algorithm: str
    model: str = BASE
    data: str | dict[str, Weight] | None = None
    prompts: str | dict[str, Weight] | None = None
    reward: str | list[RewardPart] | None = None
    token_reward: str | None = None
    sft_mix: SFTMix | None = None
    stored: StoredSettings | None = None
    critic: str | None = None
    critic_trainable_layers: Annotated[
        int, Range("it counts layers; 0 trains the head alone", ge=0, le=10**4)
    ] = 0
    num_layers: Annotated[int, Range("a model keeps at least one layer", ge=1, le=10**4)] | None = None
    head: HeadSettings = HeadSettings()
    settings: dict[str, Any] = Field(default_factory=dict)
    trainable: Trainable | None = None
    training: dict[str, Any] = Field(default_factory=dict)
    sampling: Sampling = Sampling()

    @property
    def loop(self) -> OfflineSettings | OnlineSettings:
        """The validated settings of the algorithm's training loop."""
        own = merge_deep(algorithms()[self.algorithm].loop_defaults, self.training)  # type: ignore[attr-defined]
        return validate(loop_of(self.algorithm), own, f"stage '{self.name}', training")

    @property
    def critic_model(self) -> str:
        """The model that the critic starts from."""
        learned = [spec for spec in self.rewards if not is_not_a_model(spec)]
        return self.critic or (learned[0] if learned else self.model)

    @property
    def rewards(self) -> list[str]:
        """The names of the rewards, without rules."""
        if isinstance(self.reward, str):
            return [self.reward]
        return [part.of for part in self.reward or [] if part.of is not None]

    @property
    def pools(self) -> dict[str, float]:
        """The sources of prompts, with weights."""
        return {self.prompts: 1.0} if isinstance(self.prompts, str) else dict(self.prompts or {})

    @property
    def tasks(self) -> dict[str, float]:
        """The sources of data, with weights."""
        return {self.data: 1.0} if isinstance(self.data, str) else dict(self.data or {})

    @property
    def online(self) -> bool:
        """Whether the algorithm trains on its own samples."""
        return loop_of(self.algorithm) is OnlineSettings

    def make_algorithm(self) -> Any:
        """The algorithm with its validated settings."""
        return validate(algorithms()[self.algorithm], self.settings, f"stage '{self.name}', settings")


class Until(Settings):
    """A condition that ends a phase before its last step.

    Attributes:
        metric: a name from the training metrics.
        above: end when the metric exceeds this.
        below: end when the metric falls below this.
    """

    metric: str
    above: Finite | None = None
    below: Finite | None = None

    @model_validator(mode="after")
    def _has_a_bound(self) -> Until:
        if self.above is None and self.below is None:
            raise ValueError("until has a metric, and above or below")
        return self

    def reached(self, metrics: Mapping[str, float]) -> bool:
        """Whether the metric has passed its bound."""
        value = metrics.get(self.metric)
        if value is None:
            return False
        over = self.above is not None and value > self.above
        return over or (self.below is not None and value < self.below)


class Phase(TrainStage):
    """A part of a hybrid stage: an algorithm on the stage's one policy.

    Attributes:
        until: ends the phase early when a metric passes a bound.
    """

    until: Until | None = None


class HybridStage(Settings):
    """Several algorithms in turn on one policy, for example DPO to warm up, PPO in the main part, IPO to settle.

    All phases share the policy and its reference, which is the model that the stage starts from. Each phase has
    its own optimizer, without the moments of the previous loss.

    Attributes:
        model: what the stage starts from.
        trainable: which weights are trained; the default is that of the recipe's `model`.
        phases: in order.
    """

    name: Name
    model: str = BASE
    trainable: Trainable | None = None
    phases: list[Any] = Field(min_length=1)


class BestOfSettings(Settings):
    """Best-of-n at inference, shown beside the candidate.

    Attributes:
        n: completions of which the best is taken; completions that do not fill a group of n are unused.
        judge: the judge that chooses, one of `judges`.
    """

    n: Annotated[int, Range("the best of fewer than 2 is no choice", ge=2, le=10**6)]
    judge: str


class JudgeSettings(Settings):
    """A judge, and whether it took no part in the training of the models that it judges.

    Attributes:
        judge: as in `judges`.
        independent: counts for the verdict, unless the training folders show that it took part.
    """

    judge: str
    independent: bool = False


class EvaluateStage(Settings):
    """Compare models by judges that training used and judges that it never saw.

    Attributes:
        evaluate: `base`, stages and models of your own, in display order.
        judges: reward models (stages or your own), functions, `vader` (a lexicon) and `ridge` (fitted on
            `judge_holdout`); `{judge: NAME, independent: true}` declares that one took no part in the training.
        independent: the judges declared so.
        prompts: held-out prompts.
        texts: held-out texts by people, or demonstrations, for perplexity; `None` measures none.
        texts_used: at most so many of them, evenly spaced.
        judge_holdout: rated texts that no other stage uses, for `ridge`.
        reference: the model that the candidate is compared with; by default the first.
        candidate: the model that should be better; by default the last.
        best_of: also show the best of every n completions of the candidate, by one of the judges.
        sampling: sampling settings of all models.
    """

    name: Name
    evaluate: list[str] = Field(min_length=1)
    judges: list[str] = Field(min_length=1)
    independent: list[str] = Field(default_factory=list)
    prompts: str
    texts: str | None = None
    texts_used: Annotated[int, Range("it counts texts", ge=1, le=10**9)] | None = None
    judge_holdout: str | None = None
    reference: str = ""
    candidate: str | None = None
    best_of: BestOfSettings | None = None
    sampling: Sampling = Sampling(completions=16)

    @model_validator(mode="before")
    @classmethod
    def _judges_by_name(cls, content: Any) -> Any:
        """Turn judges that are mappings into names, and add those declared independent to `independent`."""
        judges = content.get("judges") if isinstance(content, dict) else None
        if not isinstance(judges, list) or not any(isinstance(one, dict) for one in judges):
            return content
        entries = [validate(JudgeSettings, one, "judges") if isinstance(one, dict) else one for one in judges]
        names = [one.judge if isinstance(one, JudgeSettings) else one for one in entries]
        claimed = [one.judge for one in entries if isinstance(one, JudgeSettings) and one.independent]
        return {**content, "judges": names, "independent": [*(content.get("independent") or []), *claimed]}

    @model_validator(mode="before")
    @classmethod
    def _first_is_reference(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("reference") is None:
            models = content.get("evaluate")
            first = models[0] if isinstance(models, list) and models else ""
            return {**content, "reference": first}
        return content


Stage = FeedbackStage | TrainStage | HybridStage | EvaluateStage


def loop_of(algorithm: str) -> type[OfflineSettings] | type[OnlineSettings]:
    """The settings class of an algorithm's training loop."""
    online = algorithms()[algorithm].consumes is Experience  # type: ignore[attr-defined]
    return OnlineSettings if online else OfflineSettings


def is_not_a_model(name: str) -> bool:
    """Whether a reward or judge is a function or a text judge, not a model."""
    return name in TEXT_JUDGES or name.startswith("python:") or is_function(name)
