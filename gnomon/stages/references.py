"""What stages speak of: models and data of earlier stages, or of the user."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set

from gnomon.algorithms.contract import algorithms
from gnomon.core.config import did_you_mean
from gnomon.core.errors import ConfigError
from gnomon.core.types import Demonstration, Prompt, RatedText
from gnomon.models.external import is_outside_model
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
    made_of_no_model,
)


def saved_critic(stage: Stage) -> str | None:
    """Where in a run a stage saves its critic, a hybrid stage its last one; `None` where it trains none."""
    if isinstance(stage, HybridStage):
        inside = [place for phase in stage.phases if (place := saved_critic(phase))]
        return f"{stage.name}/{inside[-1]}" if inside else None
    if isinstance(stage, TrainStage) and "critic" in stage.make_algorithm().needs:
        return f"{stage.name}/{CRITIC}"
    return None


def maker(name: str, names: Collection[str]) -> str:
    """The stage that makes the model called `name`: itself, or in `<stage>/critic` the stage; else `name`."""
    stage, _, part = name.partition("/")
    return stage if part == CRITIC and stage in names else name


def references(stage: Stage) -> list[tuple[str, str]]:
    """The models that a stage names, with the key that names them."""
    found: list[tuple[str, str | None]] = []
    if isinstance(stage, HybridStage):
        inside = [pair for phase in stage.phases for pair in references(phase)]
        return list(dict.fromkeys([("model", stage.model), *inside]))
    if isinstance(stage, TrainStage):
        rewards = [("reward", name) for name in stage.rewards]
        found = [("model", stage.model), *rewards, ("critic", stage.critic), ("token_reward", stage.token_reward)]
    if isinstance(stage, EvaluateStage):
        models = [("evaluate", name) for name in stage.evaluate]
        judges = [("judges", name) for name in stage.judges]
        rest = [("reference", stage.reference), ("candidate", stage.candidate or stage.evaluate[-1])]
        found = [*models, *judges, *rest]
    scoring = ("reward", "judges")
    return [(k, n) for k, n in found if n is not None and not (k in scoring and made_of_no_model(n))]


def sources(stage: Stage) -> list[str]:
    """The data that a stage reads: `<stage>/<part>` or paths."""
    return list(dict.fromkeys(source for source, _ in kinds_of_sources(stage)))


def kinds_of_sources(stage: Stage) -> list[tuple[str, tuple[type, ...]]]:
    """The data that a stage reads, with the kinds of record of which its rows must be one."""
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
        asked: list[tuple[str | None, tuple[type, ...]]] = [
            (stage.prompts, (Prompt,)),
            (stage.texts, (Demonstration, RatedText)),
            (stage.judge_holdout, (RatedText,)),
        ]
        return [(source, kinds) for source, kinds in asked if source]
    return []


def scorers(stage: Stage) -> list[str]:
    """What scores in a stage: its rewards, or its judges."""
    if isinstance(stage, EvaluateStage):
        return list(stage.judges)
    if isinstance(stage, HybridStage):
        return [spec for phase in stage.phases for spec in phase.rewards]
    return stage.rewards if isinstance(stage, TrainStage) else []


def outside_models(stages: Sequence[Stage]) -> list[tuple[str, str]]:
    """The models that stages name and no stage made, `base` aside, with the kind that is wanted of each."""
    names = {stage.name for stage in stages} | {BASE}
    found = [
        (name, " or ".join(wanted_kinds(stage, key)))
        for stage in stages
        for key, name in references(stage)
        if maker(name, names) not in names
    ]
    return list(dict.fromkeys(found))


def made_by(stage: Stage | None) -> str:
    """The model that a stage leaves behind: `policy` (so is the base), `reward`, or none."""
    if stage is None:
        return "policy"
    if isinstance(stage, HybridStage):
        return "policy"
    return str(getattr(algorithms()[stage.algorithm], "trains", "")) if isinstance(stage, TrainStage) else ""


def wanted_kinds(stage: Stage, key: str) -> list[str]:
    """The models that may stand under a key."""
    if key in ("reward", "judges"):
        return ["reward"]
    if key == "critic":
        return ["policy", "reward", "critic"]
    if isinstance(stage, TrainStage) and made_by(stage) == "reward":
        return ["policy", "reward"]
    return ["policy"]


def check_names(stages: Sequence[Stage], reserved: Set[str], where: str) -> None:
    """Stages are named once, and speak only of earlier ones that made what is wanted, or of the user's models.

    Args:
        stages: in their order.
        reserved: words by which none may be called.
        where: the recipe, as the user named it.

    Raises:
        ConfigError: one is not so.
    """
    seen: dict[str, Stage] = {}
    names = {stage.name for stage in stages}
    for stage in stages:
        if stage.name in seen:
            raise ConfigError(f"{where}: two stages are called '{stage.name}'; rename one of them.")
        if stage.name in reserved:
            raise ConfigError(f"{where}: a stage may not be called '{stage.name}', a word of recipes; rename it.")
        for key, name in references(stage):
            if maker(name, names) in names or name == BASE or not is_outside_model(name):
                check_reference(stage, key, name, seen, where)
        for source in sources(stage):
            if is_part(source, names - seen.keys()):
                raise ConfigError(
                    f"{where}, stage '{stage.name}': '{source}' is data of a stage that is not earlier; move it."
                )
        seen[stage.name] = stage


def check_reference(stage: Stage, key: str, name: str, seen: Mapping[str, Stage], where: str) -> None:
    """What `key` names is the base or an earlier stage, and a model of the right kind."""
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
    wanted = wanted_kinds(stage, key)
    if made_by(seen.get(name)) not in wanted:
        *others, last = wanted
        kinds = f"{', '.join(others)} or {last}" if others else last
        raise ConfigError(
            f"{where}, stage '{stage.name}': {key} names '{name}', which is no {kinds} model; "
            "name a stage that trains one."
        )
