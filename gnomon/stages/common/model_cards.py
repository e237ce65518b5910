"""The cards of a run's models: what a training stage knows of its model, and figures of the stages after it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from gnomon.core.errors import DataError
from gnomon.core.redaction import redact_values
from gnomon.core.storage.digests import digest_file
from gnomon.core.storage.environment import versions
from gnomon.core.storage.files import read_json
from gnomon.models.cards.card import PIPELINE_TAGS
from gnomon.models.cards.facts import DataFile, JudgementSource, ModelCard
from gnomon.models.cards.figures import set_figures
from gnomon.stages.contract import Result, Stage
from gnomon.stages.references import BASE, CRITIC, maker
from gnomon.stages.train_settings import TrainSettings
from gnomon.stages.workspace import Workspace, is_part
from gnomon.training.settings import NON_SEMANTIC_SETTINGS


def make_card(stage: Stage, work: Workspace) -> ModelCard:
    """Collect what the card of a stage's model states; figures come later, by `update_cards`."""
    behind = stages_behind(stage, work.recipe.stages)
    trainings = stage.trainings()
    used = list(dict.fromkeys(source for one in behind for source in one.inputs().sources))
    return ModelCard(
        name=stage.name,
        **_start(trainings[0].model if trainings else stage.inputs().model_names[0], work),
        algorithms=tuple(_portable(training.algorithm, work) for training in trainings),
        description="\n\n".join(dict.fromkeys(map(_description, trainings))),
        recipe=_recipe(behind, work),
        seed=work.recipe.seed,
        versions=versions(),
        judgements=tuple(_judgement_sources(behind, used, work)),
        data=tuple(_data_files(used, work)),
    )


def critic_card(card: ModelCard, start: str, work: Workspace) -> ModelCard:
    """Build the card of a critic: that of its policy, except the model that it started from.

    Args:
        card: of the policy.
        start: name of the model that the critic started from.
        work: of the run.
    """
    return replace(card, name=f"{card.name}/{CRITIC}", **_start(start, work))


def update_cards(work: Workspace) -> None:
    """Put the figures that a finished run has measured into the cards of its models."""
    stages: Sequence[Stage] = work.recipe.stages
    results = {stage.name: _result(stage, work) for stage in stages}
    for stage in (stage for stage in stages if stage.model_kind()):
        figures = [
            figure for name, result in results.items() if result for figure in result.figures_of(stage.name, name)
        ]
        task = str(PIPELINE_TAGS["reward" if stage.model_kind() == "reward" else "policy"])
        set_figures(work.stage_folder(stage.name) / "model", stage.name, figures, task)


def stages_behind(stage: Stage, stages: Sequence[Stage]) -> list[Stage]:
    """The stages that lead to a model, with its own, in the order of the recipe."""
    by_name = {one.name: one for one in stages}
    behind: set[str] = set()
    waiting = [stage]
    while waiting:
        one = waiting.pop()
        if one.name in behind:
            continue
        behind.add(one.name)
        named = one.inputs()
        names = [maker(name, by_name) for name in named.model_names]
        names += [source.partition("/")[0] for source in named.sources]
        waiting += [by_name[name] for name in names if name in by_name]
    return [one for one in stages if one.name in behind]


def _start(name: str, work: Workspace) -> dict[str, Any]:
    """The fields of a card on the model that training starts from, and on the base model behind it."""
    by_name: dict[str, Stage] = {stage.name: stage for stage in work.recipe.stages}
    root = name
    while root in by_name and (trainings := by_name[root].trainings()):
        root = trainings[0].model
    shown = work.recipe.model.name if root == BASE else root
    if maker(name, by_name) != name:  # a critic: its own card knows what it started from
        shown = ""
    return {
        "base": work.model(name),
        "base_name": _portable(shown, work),
        "start": name if maker(name, by_name) in by_name else "",
    }


def _description(training: TrainSettings) -> str:
    """The docstring of an algorithm's file: paper, formula, and when it is wrong."""
    kind = type(training.built_algorithm)
    return inspect.cleandoc(getattr(sys.modules.get(kind.__module__), "__doc__", None) or kind.__doc__ or "")


def _recipe(behind: Sequence[Stage], work: Workspace) -> str:
    content = {
        "seed": work.recipe.seed,
        "model": work.recipe.model.model_dump(mode="json", exclude_none=True),
        "stages": [_without_machine(stage.row()) for stage in behind],
    }
    portable = redact_values(_portable(content, work))
    return str(yaml.safe_dump(portable, allow_unicode=True, sort_keys=False))


def _without_machine(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a stage or phase without settings of its loop that change no result."""
    result = dict(row)
    if isinstance(training := row.get("training"), dict):
        result["training"] = {key: value for key, value in training.items() if key not in NON_SEMANTIC_SETTINGS}
    if isinstance(phases := row.get("phases"), list):
        result["phases"] = [_without_machine(phase) for phase in phases]
    return result


def _portable(value: Any, work: Workspace) -> Any:
    """A value with paths as the recipe has them: those in the run folder relative to it, `~` for home."""
    if isinstance(value, Mapping):
        return {_portable(key, work): _portable(item, work) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(item, work) for item in value]
    if not isinstance(value, str):
        return value
    text = str(work.recipe.as_written(value)).removeprefix(f"{work.recipe.run}/")
    home = f"{Path.home()}/"
    return f"~/{text.removeprefix(home)}" if text.startswith(home) else text


def _judgement_sources(
    behind: Sequence[Stage], used: Sequence[str], work: Workspace
) -> Iterator[JudgementSource]:
    """The judgements of stages, and the exports among the data."""
    for stage in behind:
        result = _result(stage, work)
        if result is not None and (known := result.judgement_source(stage.name)) is not None:
            yield replace(known, store=_portable(known.store, work))
    for source in used:
        if (note := work.feedback_provenance.get(source)) is not None:
            manifest: Any = None
            with suppress(DataError):
                manifest = read_json(work.folder / note["manifest"])
            count, judgements = note["annotators"], note["judgements"]
            yield JudgementSource(
                source=_portable(source, work),
                store=note["project"],
                judgements=judgements if isinstance(judgements, int) else None,
                annotators="unknown" if count is None else str(count),
                aggregation=str(manifest.get("by", "unknown")) if isinstance(manifest, dict) else "unknown",
                digest=note["digest"],
                unchanged=bool(note["unchanged"]),
            )


def _data_files(used: Sequence[str], work: Workspace) -> Iterator[DataFile]:
    for source in used:
        if source in work.digests:
            yield DataFile(_portable(source, work), work.digests[source])
        elif is_part(source, work.recipe) and (path := work.data_path(source)).is_file():
            yield DataFile(source, digest_file(path))


def _result(stage: Stage, work: Workspace) -> Result | None:
    """The result of a stage that is finished."""
    path = work.stage_folder(stage.name) / "result.json"
    return type(stage).result_type.model_validate(read_json(path)) if path.is_file() else None
