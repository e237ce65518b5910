"""Sample completions of a user's prompts, as rows and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gnomon.api.best_of_n import best_of, sample_completions
from gnomon.api.score import reward_named
from gnomon.core.config import validate
from gnomon.core.errors import ConfigError, DataError
from gnomon.core.experience import Rollout
from gnomon.core.progress import progress
from gnomon.core.types import Message, Prompt
from gnomon.data.reading.media.parts import check_read_by_models
from gnomon.data.reading.messages import context_row
from gnomon.data.reported_rows import read_reported
from gnomon.data.templates.rendering import prompt_label
from gnomon.models.engine.device import find_compute
from gnomon.models.external import open_policy
from gnomon.rollouts.sampling_params import Sampling


def completion_rows(
    model: str,
    prompt: str | None,
    file: Path | None,
    settings: Mapping[str, Any],
    seed: int,
    best: int | None = None,
    reward: str | None = None,
) -> list[dict[str, Any]]:
    """K rows for each prompt: the prompt, the completion, and whether it finished.

    Args:
        model: name or path of the model.
        prompt: a single prompt as text.
        file: a file of prompts instead.
        settings: fields of `Sampling`.
        seed: seed of the draws.
        best: number of draws per row; the best one is returned with its `score`.
        reward: scores the draws.

    Raises:
        ConfigError: not exactly one of `prompt` and `file` is given, or a setting is wrong.
        DataError: the file does not exist or cannot be read.
    """
    if (prompt is None) == (file is None):
        raise ConfigError("give a prompt with --prompt or a file with --prompts, one of the two.")
    sampling = validate(Sampling, settings, "sample")
    chosen = best_of(best, reward, sampling)
    if file is None:
        prompts = [Prompt("prompt", (Message("user", str(prompt)),))]
    elif not file.exists():
        raise DataError(f"no data at {file}; give a file of prompts.")
    else:
        prompts = read_reported(Prompt, file)
        for one in prompts:
            check_read_by_models(one.messages, prompt_label(one))
    judge = reward_named(chosen.judge) if chosen else None
    policy = open_policy(model, find_compute())
    with progress("sampling", len(prompts) * sampling.completions * (chosen.n if chosen else 1)) as bar:
        samples = sample_completions(
            policy, prompts, sampling, seed=seed, best=chosen, judge=judge, report=bar.at
        )
    return [_row(one.rollout, model) | ({"score": one.score} if chosen else {}) for one in samples]


def _row(rollout: Rollout, model: str) -> dict[str, Any]:
    prompt, completion = rollout.prompt, rollout.completion
    return {
        "prompt": {"id": prompt.id, "messages": prompt.messages, **context_row(prompt)},
        "completion": {"id": completion.id, "text": completion.text, "source": model},
        "finished": rollout.finished,
        "logprob": sum(rollout.logprobs),
    }


def as_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as text: each prompt once, followed by its completions."""
    parts: list[str] = []
    last = None
    for row in rows:
        prompt = row["prompt"]
        if prompt["id"] != last:
            last = prompt["id"]
            parts.append(f"# {prompt['messages'][-1].content}\n\n")
        cut = "" if row["finished"] else " […]"
        parts.append(f"{row['completion']['text']}{cut}\n\n")
    return "".join(parts)
