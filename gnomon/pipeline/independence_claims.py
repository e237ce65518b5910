"""Check the judges that a recipe declares independent against the recipe itself, before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gnomon.core.errors import ConfigError
from gnomon.stages.references import maker, references, scorers
from gnomon.stages.settings import EvaluateStage, HybridStage, Stage, TrainStage


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
    for evaluation in (stage for stage in stages if isinstance(stage, EvaluateStage)):
        training = list(_leading_to(evaluation.evaluate, named))
        for judge in evaluation.independent:
            prefix = f"{where}, stage '{evaluation.name}': the judge '{judge}' is declared independent, but"
            for stage in training:
                if judge in scorers(stage):
                    raise ConfigError(f"{prefix} it is the reward of '{stage.name}'; remove independent there.")
            own = named.get(judge)
            shared = set(_learned_by(own)) & {source for stage in training for source in _learned_by(stage)}
            if shared:
                raise ConfigError(
                    f"{prefix} it is trained on {min(shared)}, as the training is; give it other data, or remove "
                    "independent there."
                )


def _leading_to(names: Sequence[str], named: dict[str, Stage]) -> Iterator[Stage]:
    """The stages that lead to some models, through their starting models and rewards."""
    queue, seen = list(names), set[str]()
    while queue:
        name = queue.pop()
        if name in seen or name not in named:
            continue
        seen.add(name)
        stage = named[name]
        yield stage
        queue += [maker(other, named) for _, other in references(stage)]


def _learned_by(stage: Stage | None) -> Iterator[str]:
    """The data that a stage is trained on, without prompts."""
    parts = stage.phases if isinstance(stage, HybridStage) else [stage]
    for part in parts:
        if isinstance(part, TrainStage):
            yield from part.tasks
            yield from (extra.data for extra in (part.sft_mix, part.stored) if extra)
