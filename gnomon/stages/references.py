"""The models and data that stages refer to: those of earlier stages, or the user's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set

from gnomon.algorithms.contract import algorithms
from gnomon.core.config import did_you_mean
from gnomon.core.errors import ConfigError
from gnomon.core.types import Demonstration, Prompt, RatedText
from gnomon.models.external import is_external_model
from gnomon.stages.row_paths import is_part
from gnomon.stages.settings import (
    BASE,
    CRITIC,
    FILM_REVIEWS,
    EvaluateStage,
    FeedbackStage,
    HybridStage,
    Stage,
    TrainStage,
    is_not_a_model,
)


def saved_critic(stage: Stage) -> str | None:
    """The path in a run of a stage's saved critic, in a hybrid stage the last one; `None` without one."""
    if isinstance(stage, HybridStage):
        inside = [path for phase in stage.phases if (path := saved_critic(phase))]
        return f"{stage.name}/{inside[-1]}" if inside else None
    if isinstance(stage, TrainStage) and "critic" in stage.make_algorithm().needs:
        return f"{stage.name}/{CRITIC}"
    return None


def maker(name: str, names: Collection[str]) -> str:
    """The stage that makes the model called `name`: itself, or in `<stage>/critic` the stage; else `name`."""
    stage, _, part = name.partition("/")
    return stage if part == CRITIC and stage in names else name


def references(stage: Stage) -> list[tuple[str, str]]:
    """The models that a stage names, as (key, name)."""
    named: list[tuple[str, str | None]] = []
    if isinstance(stage, HybridStage):
        inside = [pair for phase in stage.phases for pair in references(phase)]
        return list(dict.fromkeys([("model", stage.model), *inside]))
    if isinstance(stage, TrainStage):
        rewards = [("reward", name) for name in stage.rewards]
        named = [("model", stage.model), *rewards, ("critic", stage.critic), ("token_reward", stage.token_reward)]
    if isinstance(stage, EvaluateStage):
        models = [("evaluate", name) for name in stage.evaluate]
        judges = [("judges", name) for name in stage.judges]
        rest = [("reference", stage.reference), ("candidate", stage.candidate or stage.evaluate[-1])]
        named = [*models, *judges, *rest]
    scoring = ("reward", "judges")
    return [(k, n) for k, n in named if n is not None and not (k in scoring and is_not_a_model(n))]


def sources(stage: Stage) -> list[str]:
    """The data that a stage reads: `<stage>/<part>` or paths."""
    return list(dict.fromkeys(source for source, _ in kinds_of_sources(stage)))


def kinds_of_sources(stage: Stage) -> list[tuple[str, tuple[type, ...]]]:
    """The data that a stage reads, each with the allowed record types of its rows."""
    if isinstance(stage, FeedbackStage):
        return [] if stage.feedback == FILM_REVIEWS else [(stage.feedback, (RatedText,))]
    if isinstance(stage, HybridStage):
        return [pair for phase in stage.phases for pair in kinds_of_sources(phase)]
    if isinstance(stage, TrainStage):
        tasks = [(task, (stage.make_algorithm().consumes,)) for task in stage.tasks]
        pools = [(pool, (Prompt,)) for pool in stage.pools]
        texts = [(part.data, (Demonstration,)) for part in (stage.sft_mix, stage.stored) if part]
        return [*tasks, *pools, *texts]
    if isinstance(stage, EvaluateStage):
        inputs: list[tuple[str | None, tuple[type, ...]]] = [
            (stage.prompts, (Prompt,)),
            (stage.texts, (Demonstration, RatedText)),
            (stage.judge_holdout, (RatedText,)),
        ]
        return [(source, kinds) for source, kinds in inputs if source]
    return []


def scorers(stage: Stage) -> list[str]:
    """The names of a stage's rewards or judges."""
    if isinstance(stage, EvaluateStage):
        return list(stage.judges)
    if isinstance(stage, HybridStage):
        return [spec for phase in stage.phases for spec in phase.rewards]
    return stage.rewards if isinstance(stage, TrainStage) else []


def outside_models(stages: Sequence[Stage]) -> list[tuple[str, str]]:
    """The models that stages name and no stage makes, without `base`, each with its required kind."""
    names = {stage.name for stage in stages} | {BASE}
    outside = [
        (name, " or ".join(allowed_kinds(stage, key)))
        for stage in stages
        for key, name in references(stage)
        if maker(name, names) not in names
    ]
    return list(dict.fromkeys(outside))


def model_kind(stage: Stage | None) -> str:
    """The kind of model that a stage makes: `policy` (also for `None`, the base), `reward`, or ""."""
    if stage is None:
        return "policy"
    if isinstance(stage, HybridStage):
        return "policy"
    return str(getattr(algorithms()[stage.algorithm], "trains", "")) if isinstance(stage, TrainStage) else ""


def allowed_kinds(stage: Stage, key: str) -> list[str]:
    """The kinds of model that a key may name."""
    if key in ("reward", "judges"):
        return ["reward"]
    if key == "critic":
        return ["policy", "reward", "critic"]
    if isinstance(stage, TrainStage) and model_kind(stage) == "reward":
        return ["policy", "reward"]
    return ["policy"]


def check_names(stages: Sequence[Stage], reserved: Set[str], where: str) -> None:
    """Check that stage names are unique, and that stages refer only to earlier ones or to the user's models.

    Args:
        stages: in their order.
        reserved: names that no stage may have.
        where: the recipe, as the user named it.

    Raises:
        ConfigError: a name or a reference is wrong.
    """
    seen: dict[str, Stage] = {}
    names = {stage.name for stage in stages}
    for stage in stages:
        if stage.name in seen:
            raise ConfigError(f"{where}: two stages are called '{stage.name}'; rename one of them.")
        if stage.name in reserved:
            raise ConfigError(f"{where}: a stage may not be called '{stage.name}', a word of recipes; rename it.")
        for key, name in references(stage):
            if maker(name, names) in names or name == BASE or not is_external_model(name):
                check_reference(stage, key, name, seen, where)
        for source in sources(stage):
            if is_part(source, names - seen.keys()):
                raise ConfigError(
                    f"{where}, stage '{stage.name}': '{source}' is data of a stage that is not earlier; move it."
                )
        seen[stage.name] = stage


def check_reference(stage: Stage, key: str, name: str, seen: Mapping[str, Stage], where: str) -> None:
    """Check that a key names the base or an earlier stage that makes a model of the right kind.

    Args:
        stage: with the key.
        key: `model`, `reward`, `critic`, ….
        name: that stands under the key.
        seen: earlier stages by name.
        where: the recipe, as the user named it.

    Raises:
        ConfigError: it does not.
    """
    owner = maker(name, seen) if key == "critic" else name
    if owner != name and saved_critic(seen[owner]) is None:
        raise ConfigError(
            f"{where}, stage '{stage.name}': {key} names '{name}', but '{owner}' trains no critic; name another."
        )
    if owner != name:
        return
    if name not in seen and name != BASE:
        hint = did_you_mean(name, [BASE, *seen])
        raise ConfigError(
            f"{where}, stage '{stage.name}': {key} names '{name}', no earlier stage and no model here; {hint}"
        )
    allowed = allowed_kinds(stage, key)
    if model_kind(seen.get(name)) not in allowed:
        *others, last = allowed
        kinds = f"{', '.join(others)} or {last}" if others else last
        raise ConfigError(
            f"{where}, stage '{stage.name}': {key} names '{name}', which is no {kinds} model; "
            "name a stage that trains one."
        )
