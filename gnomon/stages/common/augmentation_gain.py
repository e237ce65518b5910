"""The gain of an augmentation: reward models with and without it, tested on the same held-out pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gnomon.core.storage.files import read_json, write_json, write_jsonl
from gnomon.core.types import Completion, Preference, Prompt
from gnomon.data.augmentation.contract import Augmentation, AugmentationTools, Augmented
from gnomon.data.reading.downloads import cache_folder
from gnomon.data.record_rows import record_row
from gnomon.feedback.generation.generators import (
    GeneratedText,
    GenerationCache,
    GenerationRequest,
    cached_texts,
)
from gnomon.rewards.reward import LearnedReward, watched_scores
from gnomon.stages.common.load import load_trained
from gnomon.stages.common.train_loops import train_offline
from gnomon.stages.train_settings import TrainSettings
from gnomon.stages.workspace import Workspace
from gnomon.stats.clustered import ClusterBootstrap, PairedDifference
from gnomon.training.runtime.checkpoints import remove_checkpoints

RESAMPLES = 2000
LONGEST_ANSWER = 1024  # tokens of a rewritten text


@dataclass
class AugmentationGain:
    """Trains reward models on sets of preferences and tests them on held-out pairs, each once in a run.

    Attributes:
        stage: name of the stage.
        training: makes the settings of a training on a file of preferences.
        work: the run.
        judged: preferences of the prompts to train on.
        held_out: preferences of the others.
        keys: `HOST=VARIABLE` of generators.
    """

    stage: str
    training: Callable[[Path], TrainSettings]
    work: Workspace
    judged: Sequence[Preference]
    held_out: Sequence[Preference]
    keys: Sequence[str] = ()
    _right: dict[str, list[float]] = field(default_factory=dict)
    _scores: dict[Any, float] = field(default_factory=dict)

    def learn(self, name: str, preferences: Sequence[Preference]) -> None:
        """Train a reward model and test it, unless an earlier start of the run did.

        Args:
            name: of its folder.
            preferences: to train on.
        """
        folder = self.work.stage_folder(self.stage) / name
        path = folder / "measured.json"
        if not path.exists():
            measured = self._train(folder, preferences, first=not self._right)
            if self.work.processes.main:
                write_json(path, measured)
                remove_checkpoints(folder / "checkpoints")
            self.work.processes.barrier()
        measured = read_json(path)
        self._right[name] = [math.nan if one is None else float(one) for one in measured["right"]]
        if not self._scores:
            both = self._sides([*self.judged, *self.held_out])
            scores = [math.nan if one is None else float(one) for one in measured["scores"]]
            self._scores = {_key(prompt, one): score for (prompt, one), score in zip(both, scores, strict=True)}

    def augment(self, kind: Augmentation, preferences: Sequence[Preference]) -> Augmented:
        """Apply an augmentation, with the reward model that learned from the judged preferences alone."""
        return kind.augment(preferences, AugmentationTools(self._score, self._write), self.work.recipe.seed)

    def accuracy(self, name: str) -> float | None:
        """Share of held-out pairs in people's order, ties half; `None` without any score."""
        right = np.array(self._right[name])
        return float(np.nanmean(right)) if np.isfinite(right).any() else None

    def gain(self, name: str, other: str) -> PairedDifference:
        """Estimate the difference of two accuracies on pairs that both scored, with an interval over prompts."""
        number: dict[Any, int] = {}
        prompts = [number.setdefault(one.prompt.context, len(number)) for one in self.held_out]
        seed = self.work.recipe.seed
        return ClusterBootstrap(prompts, prompts, seed, RESAMPLES).difference(
            self._right[name], self._right[other]
        )

    def _train(self, folder: Path, preferences: Sequence[Preference], *, first: bool) -> dict[str, Any]:
        import torch

        path = (folder / "rows.jsonl").absolute()
        if self.work.processes.main:
            write_jsonl(path, map(record_row, preferences))
        self.work.processes.barrier()
        settings = self.training(path)
        torch.manual_seed(self.work.recipe.seed)
        model = load_trained(settings, self.work)
        train_offline(settings, self.work, model, folder)
        reward = LearnedReward(model, self.stage)  # type: ignore[arg-type]  # the algorithm trains a reward model
        rows = [*self.judged, *self.held_out] if first else list(self.held_out)
        sides = self._sides(rows)
        with watched_scores(reward, f"{folder.name}: held-out pairs", len(sides)):
            scored = reward.score([prompt for prompt, _ in sides], [one for _, one in sides])
        scores = scored.values.tolist()
        tested = scores[-2 * len(self.held_out) :]
        right = [_right(*tested[row : row + 2]) for row in range(0, len(tested), 2)]
        finite = [score if math.isfinite(score) else None for score in scores]
        return {"right": right, **({"scores": finite} if first else {})}

    def _sides(self, rows: Sequence[Preference]) -> list[tuple[Prompt, Completion]]:
        return [(one.prompt, side) for one in rows for side in (one.chosen, one.rejected)]

    def _score(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        """The scores of judged completions by the reward model without augmentation."""
        return [self._scores.get(_key(*pair), math.nan) for pair in zip(prompts, completions, strict=True)]

    def _write(self, name: str, prompts: Sequence[Prompt]) -> list[str | None]:
        """The answers of a generator, from the cache where it gave them before."""
        from gnomon.feedback.generation.backends import open_generator, read_keys

        local = "://" not in name
        generator = open_generator(self.work.model(name) if local else name, read_keys(self.keys))
        cache = GenerationCache(cache_folder() / "answers")
        requests = [
            GenerationRequest(prompt, 0.7, 1.0, LONGEST_ANSWER, self.work.recipe.seed) for prompt in prompts
        ]
        try:
            texts = list(cached_texts(generator, requests, cache))
        finally:
            generator.close()
        return [one.text if isinstance(one, GeneratedText) and one.finished else None for one in texts]


def _key(prompt: Prompt, completion: Completion) -> Any:
    return prompt.context, completion.turns or completion.text


def _right(chosen: float, rejected: float) -> float | None:
    """1 if the chosen side has the higher score, ½ for equal ones; `None` without both scores."""
    gap = chosen - rejected
    return None if not math.isfinite(gap) else float(gap > 0) + 0.5 * float(gap == 0)
