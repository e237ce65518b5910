"""The recipe: what a user writes, checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from gnomon.algorithms.contract import algorithms
from gnomon.core.batches import Experience
from gnomon.core.config import Settings, nearest, parse_override, read_yaml, set_path, validate
from gnomon.core.errors import ConfigError
from gnomon.data.ratings import Demonstrate
from gnomon.models.adapters import Trainable
from gnomon.models.precision import Device, Precision
from gnomon.rollouts.sampler import Sampling
from gnomon.training.settings import OfflineSettings, OnlineSettings

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
BASE = "base"  # the name under which stages speak of the recipe's model
FILM_REVIEWS = "film-reviews"  # the ratings that come with a package; any other source is a path


class ModelSettings(Trainable):
    """The model that everything starts from, and which of its weights learn.

    Attributes:
        name: a catalogue name such as `smollm2-135m`, a folder, a GGUF file or a Hugging Face name.
        device: `auto` takes a GPU where there is one.
        precision: of matrix products; `auto` is bfloat16 where the processor is made for it.
        chat_template: `plain` writes turns as `Human: …` and `Assistant: …`; or the path of a Jinja file; the
            tokenizer's own where nothing is said.
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
    """A share below 1 as it is, a number of texts as a whole number."""
    if 0 < value < 1 or (value >= 2 and value == int(value)):
        return value if value < 1 else int(value)
    raise ValueError(f"{value:g} is neither a number of texts of at least 2 nor a share below 1")


Size = Annotated[float, AfterValidator(_size)]


class FeedbackStage(Settings):
    """People's ratings become judgements, preferences and demonstrations.

    Sizes are numbers of texts, or shares of all texts where they are below 1. Where nothing is said they are, for
    film-reviews and for a file of the user's own: `reserved` 0.5 and 0.25, `training` 1600 and 0.6,
    `demonstrations` 600 and 0.3, `held_out` 400 and 0.15.

    Attributes:
        feedback: `film-reviews`, or a file of ratings: rows `{"id", "text", "ratings"}`, or one row a rating,
            `{"text", "rater", "rating"}`; either may have a `prompt`. Texts with prompts are compared within
            their prompt, and split by prompt; others are taken to answer `wordings`, and split by text.
        reserved: share of the texts that only independent judges may learn from.
        training: texts for the reward model.
        demonstrations: texts for SFT, of those for the reward model.
        demonstrate: which: `neutral` as a whole in rating (around 0 for film-reviews, around the average text for
            a file), so that what is gained afterwards is alignment's; or `best`, the highest rated, when a good
            start matters more than a clean comparison.
        held_out: texts for evaluation.
        group_size: texts compared with each other under one prompt, at most.
        wordings: ways to ask for such a text, where the texts have no prompts of their own.
        held_out_wordings: others, which only the evaluation asks.
    """

    name: Name
    feedback: str
    reserved: float | None = Field(default=None, ge=0, lt=1)
    training: Size | None = None
    demonstrations: Size | None = None
    demonstrate: Demonstrate = "neutral"
    held_out: Size | None = None
    group_size: int = Field(default=8, gt=1)
    wordings: list[str] = Field(default_factory=list)
    held_out_wordings: list[str] = Field(default_factory=list)

    @field_validator("feedback")
    @classmethod
    def _is_a_source(cls, value: str) -> str:
        if value != FILM_REVIEWS and Path(value).name == value and not Path(value).suffix:
            raise ValueError(f"'{value}' is neither {FILM_REVIEWS} nor a path; write ./{value} for a folder")
        return value

    @model_validator(mode="after")
    def _wordings_come_in_both_kinds(self) -> FeedbackStage:
        if bool(self.wordings) != bool(self.held_out_wordings):
            raise ValueError("wordings and held_out_wordings are given together, or neither")
        return self


class TrainStage(Settings):
    """One algorithm on one model.

    Attributes:
        algorithm: a file of `gnomon/algorithms/`.
        model: an earlier stage, or `base`.
        data: for offline algorithms: `<stage>/<part>` of a feedback stage, or a JSON-lines file.
        prompts: for online algorithms, likewise.
        reward: for online algorithms: the reward-model stage that scores.
        critic: the model that a critic starts from; the reward's where nothing is said.
        critic_layers: how many upper layers of the critic learn; 0 trains its head alone.
        depth: for reward models: keep only this many of the lower layers.
        settings: the algorithm's own settings.
        trainable: which weights learn; the recipe's `model` says it otherwise.
        training: the loop's settings.
        sampling: how an online algorithm draws completions.
    """

    name: Name
    algorithm: str
    model: str = BASE
    data: str | None = None
    prompts: str | None = None
    reward: str | None = None
    critic: str | None = None
    critic_layers: int = Field(default=0, ge=0)
    depth: int | None = Field(default=None, gt=0)
    settings: dict[str, Any] = Field(default_factory=dict)
    trainable: Trainable | None = None
    training: dict[str, Any] = Field(default_factory=dict)
    sampling: Sampling = Sampling()

    @property
    def loop(self) -> OfflineSettings | OnlineSettings:
        """The settings of the loop that the algorithm runs in, checked."""
        where = f"stage '{self.name}', training"
        if self.online:
            return validate(OnlineSettings, self.training, where)
        return validate(OfflineSettings, self.training, where)

    @property
    def online(self) -> bool:
        """Whether the algorithm learns from its own samples."""
        return bool(algorithms()[self.algorithm].consumes is Experience)  # type: ignore[attr-defined]

    def make_algorithm(self) -> Any:
        """The algorithm with its settings, checked."""
        return validate(algorithms()[self.algorithm], self.settings, f"stage '{self.name}', settings")


class EvaluateStage(Settings):
    """Models side by side, before judges that training used and judges that it never saw.

    Attributes:
        evaluate: `base` and stages, in the order in which they are shown.
        judges: reward-model stages, `vader` (a lexicon) and `ridge` (fitted on `reserved`).
        prompts: held-out prompts.
        texts: held-out texts by people, for perplexity.
        reserved: rated texts that no other stage touches, for `ridge`.
        reference: the model that the candidate is compared with.
        candidate: the model that should be better; the last one where nothing is said.
        sampling: how completions are drawn.
    """

    name: Name
    evaluate: list[str] = Field(min_length=1)
    judges: list[str] = Field(min_length=1)
    prompts: str
    texts: str
    reserved: str | None = None
    reference: str
    candidate: str | None = None
    sampling: Sampling = Sampling(completions=16)


Stage = FeedbackStage | TrainStage | EvaluateStage


class Recipe(Settings):
    """A pipeline of named stages on one model.

    Attributes:
        run: the run folder.
        seed: of everything that is random.
        model: what stages start from.
        language: of the report when it is opened: `en` or `zh`.
        training: loop settings for every training stage that does not say otherwise.
        stages: what is done, in order.
    """

    run: str
    seed: int = 0
    model: ModelSettings
    language: Literal["en", "zh"] = "en"
    training: dict[str, Any] = Field(default_factory=dict)
    stages: list[Any]


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, apply overrides, check all of it.

    An override that starts with a stage's name addresses that stage (`sft.training.epochs=2`); `training.…`
    sets it for every training stage; anything else addresses the top of the recipe.
    """
    content = read_yaml(path)
    rows = content.get("stages")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ConfigError(f"{path}: 'stages' is missing or not a list of mappings; give at least one stage.")
    named = {str(row.get("name")): row for row in rows}
    for override in overrides:
        keys, value = parse_override(override)
        if keys == ["stages"] or (keys[0] in named and len(keys) == 1):
            raise ConfigError(
                f"override '{override}' would replace a whole stage; name a key of it, as in sft.model=base."
            )
        if keys[0] in named:
            set_path(named[keys[0]], keys[1:], value)
            continue
        known = [*Recipe.model_fields, *named]
        if keys[0] not in known:
            raise ConfigError(f"override '{override}': unknown key '{keys[0]}'; {nearest(keys[0], known)}")
        set_path(content, keys, value)
        if keys[0] == "training":
            for row in rows:
                if "algorithm" in row:
                    set_path(row, keys, value)
    recipe = validate(Recipe, content, str(path))
    stages = [_stage(row, recipe, f"{path}, stage {n}") for n, row in enumerate(rows, start=1)]
    _check_names(stages, str(path))
    return recipe.model_copy(update={"stages": stages})


def _stage(row: Mapping[str, Any], recipe: Recipe, where: str) -> Stage:
    kinds: dict[str, type[Stage]] = {
        "feedback": FeedbackStage,
        "algorithm": TrainStage,
        "evaluate": EvaluateStage,
    }
    found = [key for key in kinds if key in row]
    if len(found) != 1:
        raise ConfigError(f"{where}: a stage has exactly one of the keys {', '.join(kinds)}.")
    if found[0] == "algorithm":
        known = algorithms()
        if not isinstance(row["algorithm"], str) or row["algorithm"] not in known:
            hint = nearest(str(row["algorithm"]), known)
            raise ConfigError(f"{where}: unknown algorithm '{row['algorithm']}'; {hint}")
        own = row.get("training") or {}
        if not isinstance(own, dict):
            raise ConfigError(f"{where}: training is not a mapping; give keys below it, such as epochs: 1.")
        row = {**row, "training": {**recipe.training, **own}}
    stage = validate(kinds[found[0]], row, where)
    if isinstance(stage, TrainStage):
        _check_train_stage(stage, where)
    if isinstance(stage, EvaluateStage):
        _check_evaluate_stage(stage, where)
    return stage


def _check_train_stage(stage: TrainStage, where: str) -> None:
    """A stage has what its algorithm needs, and its loop's and algorithm's settings are right."""
    wanted = ("prompts", "reward") if stage.online else ("data",)
    for key in wanted:
        if getattr(stage, key) is None:
            raise ConfigError(f"{where}: {stage.algorithm} needs the key '{key}'.")
    for key in {"data", "prompts", "reward", "critic"} - {*wanted, "critic" if stage.online else ""}:
        if getattr(stage, key) is not None:
            raise ConfigError(f"{where}: {stage.algorithm} has no use for the key '{key}'; remove it.")
    _ = stage.loop
    try:
        stage.make_algorithm()
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}, settings: {error}.") from None


def _check_evaluate_stage(stage: EvaluateStage, where: str) -> None:
    """Each model stands once, those that are compared are among them, and judges have what they learn from."""
    for name in stage.evaluate:
        if stage.evaluate.count(name) > 1:
            raise ConfigError(f"{where}: evaluate names '{name}' twice; remove one of them.")
    for key in ("reference", "candidate"):
        name = getattr(stage, key)
        if name is not None and name not in stage.evaluate:
            raise ConfigError(f"{where}: {key} '{name}' is not among those in evaluate; add it there.")
    if "ridge" in stage.judges and stage.reserved is None:
        raise ConfigError(f"{where}: the judge ridge needs the key 'reserved', texts to learn from.")


def _check_names(stages: Sequence[Stage], where: str) -> None:
    """Stages are named once, and speak only of earlier ones that made what is wanted."""
    seen: dict[str, Stage] = {}
    names = {stage.name for stage in stages}
    for stage in stages:
        if stage.name in seen or stage.name == BASE:
            raise ConfigError(f"{where}: two stages are called '{stage.name}'; rename one of them.")
        for key, name in references(stage):
            if name not in seen and name != BASE:
                hint = nearest(name, [BASE, *seen])
                raise ConfigError(
                    f"{where}, stage '{stage.name}': {key} names '{name}', no earlier stage; {hint}"
                )
            wanted = _wanted(stage, key)
            if _made(seen.get(name)) not in wanted:
                kind = " or ".join(wanted)
                raise ConfigError(
                    f"{where}, stage '{stage.name}': {key} names '{name}', which is no {kind} model; "
                    "name a stage that trains one."
                )
        for source in sources(stage):
            owner, _, part = source.partition("/")
            if part and owner in names - seen.keys():
                raise ConfigError(
                    f"{where}, stage '{stage.name}': '{source}' is data of a stage that is not earlier; move it."
                )
        seen[stage.name] = stage


def _made(stage: Stage | None) -> str:
    """The model that a stage leaves behind: `policy` (so is the base), `reward`, or none."""
    if stage is None:
        return "policy"
    return str(getattr(algorithms()[stage.algorithm], "trains", "")) if isinstance(stage, TrainStage) else ""


def _wanted(stage: Stage, key: str) -> list[str]:
    """The models that may stand under a key."""
    if key in ("reward", "judges"):
        return ["reward"]
    if key == "critic" or (isinstance(stage, TrainStage) and _made(stage) == "reward"):
        return ["policy", "reward"]
    return ["policy"]


def references(stage: Stage) -> list[tuple[str, str]]:
    """The models that a stage names, with the key that names them."""
    if isinstance(stage, TrainStage):
        keys = ("model", "reward", "critic")
        return [(key, name) for key in keys if (name := getattr(stage, key)) is not None]
    if isinstance(stage, EvaluateStage):
        models = [("evaluate", name) for name in stage.evaluate]
        judges = [("judges", name) for name in stage.judges if name not in ("vader", "ridge")]
        rest = [("reference", stage.reference), ("candidate", stage.candidate or stage.evaluate[-1])]
        return [*models, *judges, *rest]
    return []


def sources(stage: Stage) -> list[str]:
    """The data that a stage reads: `<stage>/<part>` or paths."""
    if isinstance(stage, FeedbackStage):
        return [] if stage.feedback == FILM_REVIEWS else [stage.feedback]
    if isinstance(stage, TrainStage):
        return [source for source in (stage.data, stage.prompts) if source]
    if isinstance(stage, EvaluateStage):
        return [source for source in (stage.prompts, stage.texts, stage.reserved) if source]
    return []
