"""Examine rewards on held-out judgements, for `gnomon evaluate reward` and Python programs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gnomon.api.score import reward_named
from gnomon.core.config import validate
from gnomon.core.errors import ConfigError
from gnomon.core.types import RatedText
from gnomon.data.formats.registry import RowLayout
from gnomon.data.reading.sources import check_source
from gnomon.data.records import read_records
from gnomon.evaluation.examination.conditions import met_conditions, parse_conditions
from gnomon.evaluation.examination.examine import Candidate, examine
from gnomon.evaluation.examination.figures import figure_names, figures_of
from gnomon.evaluation.examination.read_cases import SourceFile, read_cases
from gnomon.evaluation.examination.results import RewardExamination
from gnomon.evaluation.examination.settings import ExaminationSettings
from gnomon.models.settings import Precision
from gnomon.rewards.python_reward import RewardFunction, spec_of
from gnomon.stages.common.reward_factory import ridge_reward
from gnomon.stages.references import RIDGE

Name = str | os.PathLike[str]
Names = Name | Sequence[Name]


def evaluate_reward(
    rewards: Name | RewardFunction | Sequence[Name | RewardFunction],
    data: Names,
    *,
    format: str = "",
    columns: Mapping[str, Any] | None = None,
    judge_holdout: Name | None = None,
    fail_if: Sequence[str] = (),
    precision: Precision = "float32",
    **settings: Any,
) -> RewardExamination:
    """Examine rewards on held-out pairs, rankings or ratings.

    Args:
        rewards: one or several: reward models by folder or name, `vader`, `ridge`, `file.py:function`, or
            functions of two texts, prompt and completion.
        data: one or several files of preferences, rankings, rated texts, or rows of RewardBench 1 or 2, RM-Bench
            or JudgeBench.
        format: name of the files' format, where it is not recognized or ambiguous.
        columns: mapping of the files' columns.
        judge_holdout: a file of rated texts, other ones than `data`, on which `ridge` is fitted.
        fail_if: conditions such as `accuracy<0.7`; `failed_conditions` of the result has those that are met.
        precision: precision of a model's matrix products.
        settings: any of `ExaminationSettings`: `category`, `perturbed`, `bins`, `resamples`, `seed`.

    Raises:
        GnomonError: a mistake of the user.
    """
    checked = validate(ExaminationSettings, settings, "evaluate_reward")
    layout = RowLayout.of(format, columns)
    files = [SourceFile(Path(name).expanduser(), os.fspath(name), layout) for name in _each(data)]
    if not files:
        raise ConfigError("no data; give files of pairs, rankings or ratings.")
    for file in files:
        check_source(file.path, "give a file of pairs, rankings or ratings.")
    given = rewards if isinstance(rewards, Sequence) and not isinstance(rewards, str) else [rewards]
    if not given:
        raise ConfigError("no reward; give a reward model, vader, or file.py:function.")
    candidates = [_candidate(one, precision, judge_holdout) for one in given]
    cases = read_cases(files, checked.category, checked.seed)
    conditions = parse_conditions(fail_if, figure_names(cases, checked.perturbed > 0))
    result = examine(cases, candidates, checked)
    met = met_conditions(conditions, figures_of(result))
    return result.model_copy(update={"failed_conditions": met})


def _each(names: Names) -> list[Name]:
    return [names] if isinstance(names, str | os.PathLike) else list(names)


def _candidate(reward: Name | RewardFunction, precision: Precision, judge_holdout: Name | None) -> Candidate:
    if reward == RIDGE:
        if judge_holdout is None:
            raise ConfigError(
                "the reward ridge needs judge_holdout, a file of rated texts to learn from; give it."
            )
        texts = Path(judge_holdout).expanduser()
        check_source(texts, "give a file of rated texts.")
        return RIDGE, lambda: ridge_reward(read_records(RatedText, texts))
    if isinstance(reward, str | os.PathLike):
        name, functions = os.fspath(reward), {}
    else:
        name = spec_of(reward)
        functions = {name: reward}
    return name, lambda: reward_named(name, precision, functions)
