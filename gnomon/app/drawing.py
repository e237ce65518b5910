"""Completions of a user's prompts, as rows and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gnomon.app.outside import open_policy
from gnomon.app.scoring import reward_named, scores_of
from gnomon.core.batches import Rollout
from gnomon.core.config import validate
from gnomon.core.errors import ConfigError, DataError
from gnomon.core.progress import progress
from gnomon.core.types import Message, Prompt
from gnomon.data.records import read_records
from gnomon.evaluation.best_of_n import best_rows
from gnomon.models.precision import find_compute
from gnomon.rollouts.sampler import NativeSampler
from gnomon.rollouts.sampling import Sampling


@dataclass(frozen=True)
class BestOf:
    """Draw n completions for each that is wanted, and keep the best by a judge."""

    n: int
    by: str


def best_of(n: int | None, by: str | None) -> BestOf | None:
    """What `--best-of` and `--by` ask for together; `None` where neither is given."""
    if n is None and by is None:
        return None
    if n is None or by is None:
        raise ConfigError("--best-of and --by go together; give how many to draw, and the judge of the best.")
    if n < 2:
        raise ConfigError(f"--best-of is {n}, but the best is taken of 2 or more; give more, or leave it out.")
    return BestOf(n, by)


def draw_completions(
    model: str,
    prompt: str | None,
    file: Path | None,
    settings: Mapping[str, Any],
    seed: int,
    best: BestOf | None = None,
) -> list[dict[str, Any]]:
    """K rows for each prompt: the prompt, the completion, and whether it ended by itself.

    With `best`, each row is the best of its n, with its `score`.
    """
    if (prompt is None) == (file is None):
        raise ConfigError("give a prompt with --prompt or a file with --prompts, one of the two.")
    sampling = validate(Sampling, settings, "sample")
    if best:
        if sampling.temperature == 0:
            raise ConfigError("at temperature 0 all completions are one; give --best-of a higher --temperature.")
        sampling = sampling.model_copy(update={"completions": sampling.completions * best.n})
    if file is None:
        prompts = [Prompt("prompt", (Message("user", str(prompt)),))]
    elif not file.exists():
        raise DataError(f"no data at {file}; give a file of prompts.")
    else:
        prompts = read_records(Prompt, file)
    judge = reward_named(best.by) if best else None
    policy = open_policy(model, find_compute())
    with progress("sampling", len(prompts) * sampling.completions) as bar:
        rollouts = NativeSampler(policy, bar.at).sample(prompts, sampling, seed=seed)
    if best is None or judge is None:
        return [_row(r, model) for r in rollouts]
    # Judges read texts here: a reward model may have another vocabulary than the policy.
    texts = [replace(r.completion, token_ids=None) for r in rollouts]
    scores = scores_of(judge, [r.prompt for r in rollouts], texts)
    kept = best_rows([r.prompt.id for r in rollouts], scores, best.n)
    return [{**_row(rollouts[row], model), "score": scores[row]} for row in kept]


def _row(rollout: Rollout, model: str) -> dict[str, Any]:
    prompt, completion = rollout.prompt, rollout.completion
    return {
        "prompt": {"id": prompt.id, "messages": prompt.messages},
        "completion": {"id": completion.id, "text": completion.text, "source": model},
        "finished": rollout.finished,
        "logprob": sum(rollout.logprobs),
    }


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
