"""Score the completions in a user's file, row by row, or those of requests."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnomon.api.recipes import Name
from gnomon.core.errors import RunError
from gnomon.core.progress import console
from gnomon.core.storage.files import to_json
from gnomon.core.types import Completion, Demonstration, Label, Preference, Prompt
from gnomon.data.reading.readers import read_rows
from gnomon.data.reading.sources import check_source
from gnomon.data.record_kinds import kind_of_file
from gnomon.data.record_rows import record_row
from gnomon.data.records import record_media
from gnomon.data.reported_rows import first_row, read_reported
from gnomon.evaluation.examination.scored import saved_calibration
from gnomon.evaluation.rewardbench_lines import is_version_2, lines_of, read_version_2
from gnomon.models.settings import Precision
from gnomon.rewards.python_reward import RewardFunction
from gnomon.rewards.reward import PlainReward, Reward, Scores, numbers_of, watched_scores
from gnomon.stages.common.reward_factory import named_reward
from gnomon.stats.intervals import wilson_interval

if TYPE_CHECKING:
    from gnomon.models.encoders.scorer import EncoderScorer
    from gnomon.models.reward_ensemble import RewardPanel
    from gnomon.models.roles import RewardModel

Row = dict[str, Any]
NO_FUNCTIONS: Mapping[str, RewardFunction] = {}
LISTED_FAILURES = 3  # failures that are printed one by one


def score_file(judge: str, path: Path, precision: Precision = "float32") -> list[Row]:
    """Add scores to the rows of a file: `score`, or `chosen_score` and `rejected_score` for preferences.

    Args:
        judge: a reward model, `vader`, or `path/to/file.py:function`.
        path: path of the file.
        precision: precision of a model's matrix products.

    Returns:
        The rows; one on which the judge failed has the score `None`.

    Raises:
        RunError: the judge failed on every row.
    """
    check_source(path, "give a file of demonstrations or preferences.")
    if is_version_2(first_row(path)):
        return _score_lists(reward_named(judge, precision), path)
    kind = kind_of_file(path, (Preference, Label, Demonstration))
    if kind is Preference:
        return _score_preferences(reward_named(judge, precision), read_reported(Preference, path))
    single: type[Demonstration | Label] = Label if kind is Label else Demonstration
    return _score_completions(reward_named(judge, precision), read_reported(single, path))


def reward_named(
    judge: str, precision: Precision = "float32", functions: Mapping[str, RewardFunction] = NO_FUNCTIONS
) -> Reward:
    """Load the reward of a name: a reward model, `vader`, or `path/to/file.py:function`.

    A model computes in float32 by default, so that a text has the same score on every processor.

    Args:
        judge: the name.
        precision: precision of a model's matrix products.
        functions: of the calling program, by name.
    """

    def load() -> RewardModel | EncoderScorer | RewardPanel:
        from gnomon.models.encoders.scorer import open_scorer
        from gnomon.models.engine.device import find_compute

        return open_scorer(judge, find_compute("auto", precision))

    return named_reward(judge, functions, load, None)


def _score_completions(reward: Reward, records: Sequence[Demonstration | Label]) -> list[Row]:
    watched = WithUncertainty(reward)
    scores = scores_of(watched.source, [r.prompt for r in records], [r.completion for r in records])
    return [
        {**_plain(record), "score": score, **watched.keys(row)}
        for row, (record, score) in enumerate(zip(records, scores, strict=True))
    ]


def _score_preferences(reward: Reward, records: Sequence[Preference]) -> list[Row]:
    prompts = [r.prompt for r in records]
    both = [*(r.chosen for r in records), *(r.rejected for r in records)]
    watched, count = WithUncertainty(reward), len(records)
    scores = scores_of(watched.source, [*prompts, *prompts], both)
    return [
        {
            **_plain(record),
            "chosen_score": scores[row],
            "rejected_score": scores[count + row],
            **watched.keys(row, "chosen_"),
            **watched.keys(count + row, "rejected_"),
            **calibrated_probability(reward, scores[row], scores[count + row]),
        }
        for row, record in enumerate(records)
    ]


class WithUncertainty:
    """A reward that also notes the uncertainty of each row, if it is an ensemble.

    Attributes:
        reward: the reward.
        source: what is to score: this object, or a reward that needs no torch and has no uncertainty itself.
        name: its name.
        uncertainties: of the rows that were scored; empty for any other reward.
    """

    def __init__(self, reward: Reward):
        self.reward = reward
        self.name = reward.name
        self.parts = [(None, reward)]  # whose progress is shown
        self.uncertainties: list[float] = []
        self.source: Reward = reward if isinstance(reward, PlainReward) else self

    def score(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """The reward's scores."""
        scores = self.reward.score(prompts, completions)
        self.uncertainties = next((one.tolist() for one in scores.uncertainties.values()), [])
        return scores

    def keys(self, row: int, prefix: str = "") -> Row:
        """The key `uncertainty` of a row, `None` without a score; nothing for a reward that is no ensemble."""
        if not self.uncertainties:
            return {}
        value = self.uncertainties[row]
        return {f"{prefix}uncertainty": round(value, 6) if math.isfinite(value) else None}


def calibrated_probability(reward: Reward, chosen: float | None, rejected: float | None) -> Row:
    """The key `predicted_probability` that people prefer the first, if the reward model is calibrated.

    Args:
        reward: of the scores.
        chosen: score of the first; `None` without one.
        rejected: score of the second.
    """
    own = saved_calibration(reward)
    if own is None or chosen is None or rejected is None:
        return {}
    return {"predicted_probability": round(float(own.probability(chosen - rejected)), 6)}


def _score_lists(reward: Reward, path: Path) -> list[Row]:
    """Rows of RewardBench 2, which have several right and several wrong answers."""
    records = read_version_2(path)
    prompts = [prompt for _, prompt, right, wrong in records for _ in (*right, *wrong)]
    answers = [one for _, _, right, wrong in records for one in (*right, *wrong)]
    scores = iter(scores_of(reward, prompts, answers))
    return [
        {
            **{key: row.get(key) for key in ("id", "subset", "prompt")},
            "chosen_scores": [next(scores) for _ in right],
            "rejected_scores": [next(scores) for _ in wrong],
        }
        for row, _, right, wrong in records
    ]


def bench_lines(path: Path, rows: Sequence[Row]) -> list[str]:
    """RewardBench's scores as lines, for a file of preferences that names its subsets."""
    if not rows or not {"chosen_score", "chosen_scores"} & rows[0].keys() or "subset" not in first_row(path):
        return []
    return list(lines_of(rows, [row.get("subset") for _, row in read_rows(path)]))


def scores_of(reward: Reward, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float | None]:
    """Score completions; failures of the judge are printed and give `None`.

    Args:
        reward: the judge.
        prompts: prompt of each completion.
        completions: completions to score.

    Raises:
        RunError: the judge failed on every completion.
    """
    with watched_scores(reward, "scored", len(completions)):
        numbers, failures = numbers_of(reward, prompts, completions)
    scores = [round(value, 6) if math.isfinite(value) else None for value in numbers]
    missing = [row for row, score in enumerate(scores) if score is None]
    reasons = dict(failures)
    for row in missing[:LISTED_FAILURES] if len(missing) < len(scores) else ():
        reason = reasons.get(row, "its score is not a finite number")
        location = prompts[row].where or f"completion '{completions[row].id}'"
        console.print(f"{location} has no score: {reason}", markup=False, soft_wrap=True)
    if len(missing) > LISTED_FAILURES and len(missing) < len(scores):
        console.print(f"{len(missing)} of {len(scores)} completions have no score")
    if len(missing) == len(scores):
        reason = failures[0][1] if failures else "no score is a finite number"
        raise RunError(f"the judge '{reward.name}' failed on every completion: {reason}.")
    return scores


def _plain(record: Any) -> Row:
    """A record as JSON, without token ids, which texts from a file do not have."""
    row: Row = record_row(record) if record_media(record) else to_json(record)
    for completion in (value for value in row.values() if isinstance(value, dict)):
        completion.pop("token_ids", None)
    return row


def accuracy_of(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The share of preferences that the scores order as people do, with Wilson's 95% interval, as a sentence.

    `None` if the rows are not preferences. Equal scores count half; ties and unscored pairs are skipped.
    """
    signs: list[float] = []
    for row in rows:
        chosen, rejected = row.get("chosen_score"), row.get("rejected_score")
        if chosen is not None and rejected is not None and row["probability"] != 0.5:
            margin = (chosen - rejected) * (1 if row["probability"] > 0.5 else -1)
            signs.append(1.0 if margin > 0 else 0.5 if margin == 0 else 0.0)
    interval = wilson_interval(sum(signs), len(signs))
    if interval is None:
        return None
    low, high = interval
    share = sum(signs) / len(signs)
    return f"pairs right: {share:.1%} of {len(signs)} (95% interval {low:.1%} to {high:.1%})"


def as_lines(rows: Sequence[Row]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def export_decision(model: Name, out: Name) -> str:
    """Save a reward model as a decision model, which transformers' `pipeline` loads without Gnomon.

    Args:
        model: a reward model with a head of `AutoModelForSequenceClassification`, or `model#head`.
        out: the folder to write, which must not exist.

    Returns:
        The task to give to `pipeline`: `decision`, or `reward-decision` where transformers reserves the former.

    Raises:
        ModelError: transformers alone cannot compute the model's scores, or the folder exists.
    """
    from gnomon.models.encoders.scorer import open_scorer
    from gnomon.models.engine.device import find_compute
    from gnomon.serving.decision_folder import export_decision as write_folder

    name = os.fspath(model)
    return write_folder(open_scorer(name, find_compute("cpu", "float32")), Path(out), name)


def serve(
    model: Name,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token_file: Name | None = None,
    precision: Precision = "float32",
) -> None:
    """Serve scores and decisions of a reward over HTTP until Ctrl-C.

    Args:
        model: a reward model, `model#head`, `vader`, or `path/to/file.py:function`.
        host: address to listen on; another than a loopback address needs a token.
        port: port to listen on; 0 takes a free one.
        token_file: file with the token that requests must send.
        precision: precision of a model's matrix products.

    Raises:
        ConfigError: the port is taken, or `host` needs a token.
    """
    from gnomon.serving.server import serve_reward

    name = os.fspath(model)
    file = None if token_file is None else Path(token_file)
    serve_reward(lambda: reward_named(name, precision), name, host=host, port=port, token_file=file)
