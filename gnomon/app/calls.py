"""What the command line does, as typed calls for Python programs: `import gnomon`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gnomon.app.one_stage import Setting, evaluation_recipe, training_recipe
from gnomon.app.outside import open_policy, open_reward_model
from gnomon.app.pipeline import run_recipe
from gnomon.app.recipe import Recipe
from gnomon.app.recipe import load_recipe as read_recipe
from gnomon.core.batches import Rollout
from gnomon.core.errors import ConfigError
from gnomon.core.run_folder import read_json, write_jsonl
from gnomon.core.types import Completion, Message, Prompt
from gnomon.models.policy import Policy, RewardModel
from gnomon.models.precision import Device, Precision, find_compute
from gnomon.rewards.reward import LearnedReward
from gnomon.rewards.user_function import RewardFunction, spec_of
from gnomon.rollouts.sampler import NativeSampler, Sampling

Name = str | os.PathLike[str]
Rows = Name | Sequence[Any]  # a file, or what would be in it


def load_policy(name: Name, *, device: Device = "auto", precision: Precision = "auto") -> Policy:
    """A language model: a catalogue name such as `smollm2-135m`, a folder, a GGUF file or a hub name.

    Raises:
        ModelError: there is no such model, or it is no language model.
    """
    return open_policy(os.fspath(name), find_compute(device, precision))


def load_reward_model(name: Name, *, device: Device = "auto", precision: Precision = "auto") -> RewardModel:
    """A trained reward model: a stage's folder, or any other that `save_pretrained` wrote.

    Raises:
        ModelError: there is no such model, or it is no reward model.
    """
    return open_reward_model(os.fspath(name), find_compute(device, precision))


def load_recipe(path: Name, *overrides: str) -> Recipe:
    """A recipe in YAML, checked; overrides as on the command line: `"aligned.training.steps=40"`.

    Raises:
        ConfigError: the recipe or an override is wrong.
    """
    return read_recipe(Path(path), overrides)


def run(recipe: Recipe | Name, *overrides: str) -> Path:
    """Run a recipe, or go on with it, and write its report; returns the report's path.

    Raises:
        GnomonError: something the user can mend.
    """
    if isinstance(recipe, Recipe):
        if overrides:
            raise ConfigError("overrides need a recipe's path; give them to load_recipe.")
        return run_recipe(recipe)
    return run_recipe(load_recipe(recipe, *overrides))


@dataclass(frozen=True)
class Trained:
    """What a training left behind.

    Attributes:
        folder: the trained model, a plain `save_pretrained` folder.
        result: what the stage reports of itself: steps, seconds, final metrics.
        report: the run's report.
    """

    folder: Path
    result: Mapping[str, Any]
    report: Path

    @cached_property
    def policy(self) -> Policy:
        """The trained language model, loaded when it is first asked for."""
        return load_policy(self.folder)

    @cached_property
    def reward_model(self) -> RewardModel:
        """The trained reward model, loaded when it is first asked for."""
        return load_reward_model(self.folder)


def train(
    algorithm: str,
    *,
    model: Name,
    data: Rows | None = None,
    prompts: Rows | None = None,
    reward: Name | RewardFunction | None = None,
    out: Name | None = None,
    **settings: Any,
) -> Trained:
    """Train a model with one algorithm, or go on with a training that was stopped.

    Args:
        algorithm: `sft`, `reward_model`, `ppo` or another file of `gnomon/algorithms/`.
        model: what training starts from.
        data: what an offline algorithm learns from: a file, or rows as they would stand in one.
        prompts: what an online algorithm samples for: a file, texts or rows.
        reward: what an online algorithm maximises: a reward model's name, `vader`, `file.py:function`, or a
            function of two texts, prompt and completion.
        out: the run folder; `runs/<algorithm>` where nothing is said.
        settings: any setting of the loop, the algorithm, the sampling or the adapter, by its name.

    Raises:
        GnomonError: something the user can mend.
    """
    folder = Path(out if out is not None else f"runs/{algorithm}")
    scored = spec_of(reward) if callable(reward) else None if reward is None else os.fspath(reward)
    stage = {
        "data": _file(data, folder / "data.jsonl"),
        "prompts": _file(prompts, folder / "prompts.jsonl"),
        "reward": scored,
    }
    paths: list[Setting] = [([key], value) for key, value in settings.items()]
    recipe = training_recipe(algorithm, model=os.fspath(model), run=str(folder), stage=stage, settings=paths)
    _write(data, folder / "data.jsonl")
    _write(prompts, folder / "prompts.jsonl")
    functions = {str(scored): reward} if callable(reward) else {}
    report = run_recipe(recipe, functions)
    done = folder / algorithm
    return Trained(done / "model", read_json(done / "result.json"), report)


def evaluate(
    models: Sequence[Name],
    *,
    prompts: Rows,
    judges: Sequence[str] = ("vader",),
    texts: Rows | None = None,
    reference: Name | None = None,
    out: Name = "runs/evaluation",
    **settings: Any,
) -> Mapping[str, Any]:
    """Models side by side before judges; returns tables, win rates and samples, and writes a report.

    Args:
        models: in the order in which they are shown; the last is the candidate.
        prompts: held-out prompts.
        judges: reward models by name, `vader`, `file.py:function`.
        texts: texts by people, for perplexity.
        reference: what the candidate is compared with; the first where nothing is said.
        out: the run folder.
        settings: of the sampling (`completions`, `max_tokens`) or the recipe (`seed`, `device`), by their names.
    """
    folder = Path(out)
    stage = {
        "judges": list(judges),
        "prompts": _file(prompts, folder / "prompts.jsonl"),
        "texts": _file(texts, folder / "texts.jsonl"),
        "reference": None if reference is None else os.fspath(reference),
    }
    paths: list[Setting] = [([key], value) for key, value in settings.items()]
    names = [os.fspath(name) for name in models]
    recipe = evaluation_recipe(names, run=str(folder), stage=stage, settings=paths)
    _write(prompts, folder / "prompts.jsonl")
    _write(texts, folder / "texts.jsonl")
    run_recipe(recipe)
    found: Mapping[str, Any] = read_json(folder / "evaluation" / "result.json")
    return found


def sample(policy: Policy, prompts: Sequence[str | Prompt], *, seed: int = 0, **sampling: Any) -> list[Rollout]:
    """Completions of prompts, prompt by prompt; the text of one is `rollout.completion.text`.

    Args:
        policy: from `load_policy`, or `.policy` of a training.
        prompts: texts, or `Prompt`s with whole conversations.
        seed: the same seed, prompts and settings give the same completions.
        sampling: `completions` (for each prompt), `temperature`, `max_tokens`, `top_p`, `top_k`.
    """
    from gnomon.core.config import validate

    asked = [p if isinstance(p, Prompt) else prompt_of(p, n) for n, p in enumerate(prompts)]
    return NativeSampler(policy).sample(asked, validate(Sampling, sampling, "sample"), seed=seed)


def score(model: RewardModel, prompts: Sequence[str | Prompt], completions: Sequence[str]) -> list[float]:
    """A reward model's scores: `completions[n]` answers `prompts[n]`; in logits of being preferred."""
    if len(prompts) != len(completions):
        raise ConfigError(f"{len(prompts)} prompts and {len(completions)} completions; give as many of each.")
    asked = [p if isinstance(p, Prompt) else prompt_of(p, n) for n, p in enumerate(prompts)]
    written = [Completion(str(n), text) for n, text in enumerate(completions)]
    found: list[float] = LearnedReward(model, "reward").score(asked, written).values.tolist()
    return found


def prompt_of(text: str, number: int) -> Prompt:
    """One user's turn as a prompt; `number` makes it a group of its own."""
    return Prompt(f"prompt-{number}", (Message("user", text),))


def _file(rows: Rows | None, path: Path) -> str | None:
    """The file of rows: the one named, or the one that `_write` makes of them in the run folder."""
    if rows is None or isinstance(rows, str | os.PathLike):
        return None if rows is None else os.fspath(rows)
    return str(path)


def _write(rows: Rows | None, path: Path) -> None:
    """Rows of the calling program as a file, once nothing is wrong with what is to be done with them."""
    if rows is not None and not isinstance(rows, str | os.PathLike):
        write_jsonl(path, [{"prompt": row} if isinstance(row, str) else row for row in rows])
