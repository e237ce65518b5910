"""The varied stage's row for each algorithm of a comparison, derived from the recipe's own stage."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnomon.algorithms.registry import find_algorithm
from gnomon.core.config import merge_deep, set_path, validate
from gnomon.core.errors import ConfigError
from gnomon.core.extensions import short_name
from gnomon.core.types import Demonstration, Label, Preference, Ranking
from gnomon.pipeline.row_paths import with_paths
from gnomon.stages.contract import Stage
from gnomon.stages.references import is_part, maker
from gnomon.stages.train_settings import CRITIC_KEYS, loop_of
from gnomon.training.checks import needs_reference
from gnomon.training.settings import NON_SEMANTIC_SETTINGS, OnlineSettings

PARTS = {
    Preference: "preferences",
    Label: "labels",
    Ranking: "rankings",
    Demonstration: "demonstrations",
}  # of a feedback stage
COMPARED = {Preference: 2, Ranking: 2}  # fewest completions of a prompt in a stored record, where not 1
TOKEN_REWARD = "token_reward"  # the shared stage that trains the token reward
UNBOUNDED = {"steps": 1_000_000, "epochs": 100_000}  # when a budget ends the loop
OF_ANY_LOOP = ("name", "model", "trainable", "sft_mix")
OF_ONLINE = (
    "prompts",
    "reward",
    "sampling",
    "training",
    "critic",
    "critic_trainable_layers",
    "head",
    "token_reward",
    "stored",
)


@dataclass(frozen=True)
class AlgorithmBudget:
    """The training budget of each algorithm; without either limit, each runs its own number of steps."""

    seconds: float | None = None
    tokens: int | None = None

    def settings(self) -> dict[str, float | int]:
        """The budget as keys of a stage's `training`."""
        keys = {"budget_seconds": self.seconds, "budget_tokens": self.tokens}
        return {key: value for key, value in keys.items() if value is not None}


def variant_row(
    name: str,
    template: Mapping[str, Any],
    before: Sequence[Stage],
    own: Sequence[tuple[list[str], Any]],
    budget: AlgorithmBudget,
) -> dict[str, Any]:
    """Make the varied stage's row for one algorithm.

    The template's own algorithm keeps all of the template. Another one of the same loop keeps all but `settings`;
    one of the other loop keeps the model, and of `training` only settings that change no result. Missing keys
    come from the shared stages. Overrides take precedence.

    Args:
        name: name of the algorithm, or its `path/to/file.py:Class`.
        template: the stage's row in the recipe.
        before: the shared stages.
        own: overrides for this algorithm.
        budget: budget of the training.
    """
    same_loop = loop_of(name) is loop_of(str(template["algorithm"]))
    if find_algorithm(name) is find_algorithm(str(template["algorithm"])):
        row = copy.deepcopy(dict(template))
    else:
        keys = (
            (*OF_ANY_LOOP, *(OF_ONLINE if loop_of(name) is OnlineSettings else ("training",)))
            if same_loop
            else ()
        )
        row = {key: copy.deepcopy(template[key]) for key in template if key in (keys or OF_ANY_LOOP)}
        row["algorithm"] = name
        if not same_loop:
            training = template.get("training") or {}
            known = set(NON_SEMANTIC_SETTINGS) & loop_of(name).model_fields.keys()
            row["training"] = {key: training[key] for key in training if key in known}
        if same_loop and _consumed(name) is _consumed(str(template["algorithm"])) and "data" in template:
            row["data"] = copy.deepcopy(template["data"])
    if budget.settings():
        bound = "steps" if loop_of(name) is OnlineSettings else "epochs"
        row["training"] = {**(row.get("training") or {}), bound: UNBOUNDED[bound], **budget.settings()}
    return completed(overridden(row, own), before)


def completed(row: dict[str, Any], before: Sequence[Stage]) -> dict[str, Any]:
    """Complete a row with the keys that its algorithm needs, and drop those it cannot use."""
    name = str(row["algorithm"])
    kind = find_algorithm(name)
    algorithm = validate(kind, row.get("settings") or {}, f"{name}.settings")
    needs = algorithm.needs
    if loop_of(name) is not OnlineSettings:
        return row if "data" in row else {**row, "data": data_for(name, before)}
    for key in ("prompts", "reward"):
        if key not in row:
            row[key] = prompts_for(name, before) if key == "prompts" else reward_for(name, before)
    if "token_reward" in needs:
        row.setdefault("token_reward", TOKEN_REWARD)
    unused = {"token_reward"} - needs | (set() if "critic" in needs else CRITIC_KEYS)
    row = {key: value for key, value in row.items() if key not in unused}
    training = row.get("training") or {}
    if isinstance(training, dict) and isinstance(training.get("kl"), dict) and not algorithm.supports_kl_loss:
        row["training"] = {**training, "kl": {k: v for k, v in training["kl"].items() if k != "placement"}}
    sampling = row.get("sampling") or {}
    if isinstance(sampling, dict) and sampling.get("completions", kind.min_group_size) < kind.min_group_size:
        row["sampling"] = {key: value for key, value in sampling.items() if key != "completions"}
    return row


def data_for(name: str, before: Sequence[Stage]) -> Any:
    """Data for an offline algorithm: that of an earlier stage with the same record type, or a feedback part."""
    kind = _consumed(name)
    for stage in reversed(before):
        training = stage.as_training()
        if training and not training.online and _consumed(training.algorithm) is kind:
            return training.data
    return _part(f"{name} is trained on", PARTS[kind], before, f"{short_name(name)}.data")


def prompts_for(name: str, before: Sequence[Stage]) -> str:
    """Prompts for an online algorithm: those of the feedback stage."""
    return _part(f"{name} samples for", "prompts", before, f"{short_name(name)}.prompts")


def reward_for(name: str, before: Sequence[Stage]) -> str:
    """Reward for an online algorithm: the last shared reward model."""
    for stage in reversed(before):
        if stage.model_kind() == "reward":
            return stage.name
    raise ConfigError(
        f"{name} needs a reward, and no shared stage trains a reward model; "
        f"add {short_name(name)}.reward=… to the command."
    )


def needs_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The needs of an algorithm, from its contract and the settings of its row."""
    name = str(row["algorithm"])
    kind = find_algorithm(name)
    algorithm = validate(kind, row.get("settings") or {}, f"{name}.settings")
    needs = algorithm.needs
    online = loop_of(name) is OnlineSettings
    if online:
        own = merge_deep(kind.loop_defaults, row.get("training") or {})
        loop = validate(OnlineSettings, own, f"{name}.training")
        needs |= {"reference"} if needs_reference(algorithm, loop) else set()
    return {
        "algorithm": name,
        "consumes": "samples" if online else PARTS[kind.consumes],
        "online": online,
        "reward": online,
        **{what: what in needs for what in ("reference", "critic", "token_reward")},
        "completions": max(kind.min_group_size, 1 if online else COMPARED.get(kind.consumes, 1)),
    }


def rewards(row: Mapping[str, Any]) -> list[str]:
    """The rewards in a row: a single one, or the parts of a sum."""
    reward = row.get("reward")
    parts = [reward] if isinstance(reward, str) else [part.get("of") for part in reward or []]
    return [part for part in parts if part]


def moved(row: Mapping[str, Any], names: set[str], shared: Path) -> dict[str, Any]:
    """Replace names of shared stages and their data parts in a row by paths.

    Args:
        row: row of the varied stage or the evaluation.
        names: names of the shared stages.
        shared: run folder of the shared stages.
    """

    def data(source: str) -> str:
        stage, _, part = source.partition("/")
        return (shared / stage / f"{part}.jsonl").as_posix() if is_part(source, names) else source

    def model(name: str) -> str:
        return (shared / name).as_posix() if maker(name, names) in names else name

    return with_paths(row, data, model)


def overridden(row: dict[str, Any], own: Sequence[tuple[list[str], Any]]) -> dict[str, Any]:
    """Apply an algorithm's own overrides to a row."""
    for keys, value in own:
        if len(keys) < 2 or keys[1] in ("name", "algorithm"):
            raise ConfigError(
                f"override '{'.'.join(keys)}' names no setting; write {keys[0]}.training.learning_rate=1e-4."
            )
        set_path(row, keys[1:], value)
    return row


def _consumed(name: str) -> Any:
    return find_algorithm(name).consumes


def _part(need: str, part: str, before: Sequence[Stage], key: str) -> str:
    """A part of the last stage that writes it; without one the user must give `key`."""
    for stage in reversed(before):
        if part in stage.parts():
            return f"{stage.name}/{part}"
    raise ConfigError(f"{need} {part}, and no shared stage makes them; add {key}=FILE to the command.")
