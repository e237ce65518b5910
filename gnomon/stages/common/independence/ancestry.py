"""The ancestors of a model: rewards, models and data of its training and of all models it was trained from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gnomon.algorithms.contract import algorithms
from gnomon.algorithms.registry import consumed_kinds
from gnomon.core.config import read_yaml
from gnomon.core.errors import GnomonError
from gnomon.core.storage.files import read_json
from gnomon.core.types import Demonstration, Prompt
from gnomon.data.formats.registry import OWN, RowLayout
from gnomon.data.reading.sources import files_of
from gnomon.data.record_kinds import KINDS, kinds_to_learn
from gnomon.models.external import model_path
from gnomon.models.settings import split_head
from gnomon.rewards.python_reward import is_function
from gnomon.stages.references import BASE, CRITIC, is_not_a_model

RECORDS = {kind.__name__: kind for kind in KINDS}


@dataclass(frozen=True)
class TrainingData:
    """A data file that a training read.

    Attributes:
        path: of the file.
        kind: of its records.
        layout: the layout that the recipe gave for it, if any.
    """

    path: Path
    kind: type
    layout: RowLayout = OWN


@dataclass
class Ancestry:
    """The models, rewards and data that a model was trained from.

    Attributes:
        models: folders (or names, without a folder) of the model itself, of the models it was trained from and of
            those that rewarded it, with their own ancestors.
        rewards: folders of reward models, and names of functions and of `vader`, that scored its samples.
        data: that any of these was trained on.
        judgements: the part of `data` that reward models were trained on.
        policy_data: data and prompts that policies were trained on.
    """

    models: set[str] = field(default_factory=set)
    rewards: set[str] = field(default_factory=set)
    data: set[TrainingData] = field(default_factory=set)
    judgements: set[TrainingData] = field(default_factory=set)
    policy_data: set[TrainingData] = field(default_factory=set)

    def __or__(self, other: Ancestry) -> Ancestry:
        return Ancestry(
            self.models | other.models,
            self.rewards | other.rewards,
            self.data | other.data,
            self.judgements | other.judgements,
            self.policy_data | other.policy_data,
        )


def ancestry(name: str, run: Path) -> Ancestry:
    """Find the known ancestors of a model.

    Args:
        name: a stage of the run, `base`, or a model of one's own.
        run: the folder of the run in which the name is used.
    """
    known = Ancestry()
    _climb(name, run, known)
    return known


def identity_of(name: str, run: Path) -> str:
    """The identity of a judge: the folder of its weights, a function's file and name, or else its name."""
    if is_function(name):
        file, _, function = name.rpartition(":")
        return f"{Path(file).expanduser().resolve()}:{function}"
    return name if is_not_a_model(name) else _folder_of(name, run)[1]


def _folder_of(name: str, run: Path) -> tuple[Path | None, str]:
    """The folder of the stage that made a model, if any, and the model's identity."""
    name, _ = split_head(name)
    if name == BASE:
        name = _base_of(run)
    elif (run / name / "stage.json").is_file() and "/" not in name:
        return run / name, str((run / name / "model").resolve())
    inside = run / name  # a critic beside its policy
    model = inside if name.endswith(f"/{CRITIC}") and inside.is_dir() else Path(model_path(name)).expanduser()
    if not model.exists():
        return None, name
    stage = model.resolve().parent
    return (stage if (stage / "stage.json").is_file() else None), str(model.resolve())


def _base_of(run: Path) -> str:
    with suppress(GnomonError, KeyError, TypeError):
        return str(read_yaml(run / "config.yaml")["model"]["name"])
    return BASE


def _climb(name: str, run: Path, known: Ancestry) -> None:
    """Add a model with its ancestors."""
    stage, identity = _folder_of(name, run)
    if identity in known.models:
        return
    known.models.add(identity)
    if stage is None:
        return
    record: Any = None
    with suppress(GnomonError):
        record = read_json(stage / "stage.json")
    content = record.get("stage") if isinstance(record, dict) else None
    if not isinstance(content, dict):
        return
    run, code = stage.parent, _mapping(record.get("code"))
    _add_inputs(_mapping(record.get("inputs")), run, known)
    for part in [content, *(p for p in content.get("phases") or [] if isinstance(p, dict))]:
        for data in _data_of(part, run, code):
            known.data.add(data)
            judges = "reward_models" in part or _algorithm_of(part, code)[1] == "reward"
            learned = known.judgements if judges else known.policy_data
            learned.add(data)
        known.policy_data |= set(_prompts_of(part if "prompts" in part else content, run))
        for reward in _rewards_of(part):
            known.rewards.add(identity_of(reward, run))
            if not is_not_a_model(reward):
                _climb(reward, run, known)
        for key in ("model", "critic"):
            if isinstance(part.get(key), str):
                _climb(part[key], run, known)
        for member in part.get("reward_models") or []:
            _climb(str(member), run, known)


def _add_inputs(inputs: Mapping[str, Any], run: Path, known: Ancestry) -> None:
    """Add the models, rewards and data that a stage recorded whose kind comes from outside."""
    for source, kinds in _mapping(inputs.get("data")).items():
        kind = next((RECORDS[name] for name in kinds if name in RECORDS), None)
        if kind is not None and (path := path_of(source, run)) is not None:
            known.data.add(TrainingData(path, kind, _layout_of(source, run)))
    scorers = [name for name in inputs.get("scorers") or [] if isinstance(name, str)]
    known.rewards |= {identity_of(name, run) for name in scorers}
    for name in (*(inputs.get("models") or []), *(name for name in scorers if not is_not_a_model(name))):
        _climb(str(name), run, known)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _algorithm_of(part: Mapping[str, Any], code: Mapping[str, Any]) -> tuple[type | None, str]:
    """The records and the kind of model that an algorithm trains, without running code from outside."""
    name = str(part.get("algorithm"))
    kind: Any = algorithms().get(name)
    if kind is not None:
        return kind.consumes, kind.trains
    facts = _mapping(code.get(name))
    return RECORDS.get(str(facts.get("consumes"))), str(facts.get("trains", ""))


def _rewards_of(part: Mapping[str, Any]) -> Iterator[str]:
    reward = part.get("reward")
    for one in [reward] if isinstance(reward, str) else reward or []:
        names = [one.get("of"), *(one.get("ensemble") or [])] if isinstance(one, dict) else [one]
        yield from (name for name in names if isinstance(name, str))
    if isinstance(part.get("token_reward"), str):
        yield part["token_reward"]


def _data_of(part: Mapping[str, Any], run: Path, code: Mapping[str, Any]) -> Iterator[TrainingData]:
    kind = RECORDS["Preference"] if "reward_models" in part else _algorithm_of(part, code)[0]
    data = part.get("data")
    sources = [(name, kind) for name in ([data] if isinstance(data, str) else data or [])]
    beside = [part[key] for key in ("sft_mix", "stored") if isinstance(part.get(key), dict)]
    sources += [(extra.get("data"), Demonstration) for extra in beside]
    for source, of in sources:
        if isinstance(source, str) and isinstance(of, type) and (path := path_of(source, run)) is not None:
            layout = _layout_of(source, run)
            yield TrainingData(path, _kind_in(path, of, part, layout), layout)


def _kind_in(path: Path, kind: type, part: Mapping[str, Any], layout: RowLayout) -> type:
    """The kind of records that a training read from a file: `kind`, unless its algorithm learns from several."""
    algorithm = algorithms().get(str(part.get("algorithm")))
    if algorithm is None or consumed_kinds(algorithm)[0] is not kind:
        return kind
    with suppress(GnomonError):  # a file that is gone or changed is dealt with where it is read
        return kinds_to_learn(path, consumed_kinds(algorithm), layout, scores=False)[0]
    return kind


def _prompts_of(part: Mapping[str, Any], run: Path) -> Iterator[TrainingData]:
    """The prompts that an online algorithm sampled for."""
    prompts = part.get("prompts")
    for source in [prompts] if isinstance(prompts, str) else prompts or []:
        if isinstance(source, str) and (path := path_of(source, run)) is not None:
            yield TrainingData(path, Prompt, _layout_of(source, run))


def _layout_of(source: str, run: Path) -> RowLayout:
    """The layout that a run's recipe gave for a data file."""
    try:
        recipe = read_yaml(run / "config.yaml")
        formats, columns = (_mapping(recipe.get(key)) for key in ("formats", "columns"))
        file = next((name for name in (*formats, *columns) if source.endswith(name)), source)
        return RowLayout.of(formats.get(file, ""), columns.get(file))
    except GnomonError:
        return OWN


def path_of(source: str, run: Path) -> Path | None:
    """The file of `<stage>/<part>` in a run, or of a path; `None` if it does not exist."""
    stage, _, part = source.partition("/")
    written = run / stage / f"{part}.jsonl"
    own = Path(source).expanduser()
    known = written if part and written.is_file() else own
    return known.resolve() if files_of(known) else None
