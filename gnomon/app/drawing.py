"""Completions of a user's prompts, as rows and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gnomon.app.outside import open_policy
from gnomon.core.config import validate
from gnomon.core.errors import ConfigError, DataError
from gnomon.core.progress import progress
from gnomon.core.types import Message, Prompt
from gnomon.data.records import read_records
from gnomon.models.precision import find_compute
from gnomon.rollouts.sampler import NativeSampler, Sampling


def draw_completions(
    model: str, prompt: str | None, file: Path | None, settings: Mapping[str, Any], seed: int
) -> list[dict[str, Any]]:
    """K rows for each prompt: the prompt, the completion, and whether it ended by itself."""
    if (prompt is None) == (file is None):
        raise ConfigError("give a prompt with --prompt or a file with --prompts, one of the two.")
    sampling = validate(Sampling, settings, "sample")
    if file is None:
        prompts = [Prompt("prompt", (Message("user", str(prompt)),))]
    elif not file.exists():
        raise DataError(f"no data at {file}; give a file of prompts.")
    else:
        prompts = read_records(Prompt, file)
    policy = open_policy(model, find_compute())
    with progress("sampling", len(prompts) * sampling.completions) as bar:
        rollouts = NativeSampler(policy, bar.at).sample(prompts, sampling, seed=seed)
    return [
        {
            "prompt": {"id": r.prompt.id, "messages": r.prompt.messages},
            "completion": {"id": r.completion.id, "text": r.completion.text, "source": model},
            "finished": r.finished,
            "logprob": sum(r.logprobs),
        }
        for r in rollouts
    ]


def shown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Each prompt once, with what it was answered."""
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
