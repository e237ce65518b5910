"""Check the names of a recipe's stages, and the models of earlier stages and of the user that they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from gnomon.core.config import did_you_mean
from gnomon.core.errors import ConfigError
from gnomon.models.external import is_external_model
from gnomon.stages.contract import Stage
from gnomon.stages.references import BASE, ModelInput, is_part, maker


def outside_models(stages: Sequence[Stage]) -> list[tuple[str, str]]:
    """Return the models that stages name and no stage makes, without `base`, each with its required kind."""
    names = {stage.name for stage in stages} | {BASE}
    outside = [
        (model.name, " or ".join(model.kinds))
        for stage in stages
        for model in stage.inputs().models
        if maker(model.name, names) not in names
    ]
    return list(dict.fromkeys(outside))


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
        inputs = stage.inputs()
        for model in inputs.models:
            if maker(model.name, names) in names or model.name == BASE or not is_external_model(model.name):
                check_reference(model, seen, f"{where}, stage '{stage.name}'")
        for source in inputs.sources:
            if is_part(source, names - seen.keys()):
                raise ConfigError(
                    f"{where}, stage '{stage.name}': '{source}' is data of a stage that is not earlier; move it."
                )
        seen[stage.name] = stage


def check_reference(model: ModelInput, seen: Mapping[str, Stage], where: str) -> None:
    """Check that a key names the base or an earlier stage that makes a model of the right kind.

    Args:
        model: that the key names.
        seen: earlier stages by name.
        where: prefix of error messages.

    Raises:
        ConfigError: it does not.
    """
    key, name = model.key, model.name
    if "reward" in model.kinds and "#" in name:  # a named score, which the stage's model has or has not
        name = maker(name, seen)
    owner = maker(name, seen) if key == "critic" else name
    if owner != name and seen[owner].saved_critic() is None:
        raise ConfigError(f"{where}: {key} names '{name}', but '{owner}' trains no critic; name another.")
    if owner != name:
        return
    if name not in seen and name != BASE:
        hint = did_you_mean(name, [BASE, *seen])
        raise ConfigError(f"{where}: {key} names '{name}', no earlier stage and no model here; {hint}")
    kind = seen[name].model_kind() if name in seen else "policy"
    if kind not in model.kinds:
        *others, last = model.kinds
        kinds = f"{', '.join(others)} or {last}" if others else last
        raise ConfigError(
            f"{where}: {key} names '{name}', which is no {kinds} model; name a stage that trains one."
        )
