"""Check the judges that a recipe declares independent against the recipe itself, before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gnomon.core.errors import ConfigError
from gnomon.stages.contract import Stage
from gnomon.stages.references import maker


def check_claims(stages: Sequence[Stage], where: str) -> None:
    """Refuse a judge declared independent of a training that used it or that shares its training data.

    Args:
        stages: of the recipe, validated.
        where: the recipe, as the user named it.

    Raises:
        ConfigError: a judge of `independent` rewards a stage that leads to a model it judges, or is trained on
            data that such a stage reads.
    """
    named = {stage.name: stage for stage in stages}
    for evaluation in stages:
        compared = evaluation.comparison()
        if compared is None:
            continue
        training = list(_leading_to(compared.models, named))
        for judge in compared.independent:
            prefix = f"{where}, stage '{evaluation.name}': the judge '{judge}' is declared independent, but"
            for stage in training:
                if judge in stage.inputs().scorers:
                    raise ConfigError(f"{prefix} it is the reward of '{stage.name}'; remove independent there.")
            own = named.get(judge)
            shared = set(_learned_by(own)) & {source for stage in training for source in _learned_by(stage)}
            if shared:
                raise ConfigError(
                    f"{prefix} it is trained on {min(shared)}, as the training is; give it other data, or remove "
                    "independent there."
                )


def _leading_to(names: Sequence[str], named: dict[str, Stage]) -> Iterator[Stage]:
    """Yield the stages that lead to some models, through their starting models and rewards."""
    queue, seen = list(names), set[str]()
    while queue:
        name = queue.pop()
        if name in seen or name not in named:
            continue
        seen.add(name)
        stage = named[name]
        yield stage
        queue += [maker(other, named) for other in stage.inputs().model_names]


def _learned_by(stage: Stage | None) -> Iterator[str]:
    """Yield the sources of data that a stage is trained on, without prompts."""
    for training in stage.trainings() if stage else ():
        yield from training.data_sources
        yield from (extra.data for extra in (training.sft_mix, training.stored) if extra)
