"""The evaluation stage: sample from every model, ask every judge, compare."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.app.recipe import EvaluateStage
from gnomon.app.workspace import Workspace
from gnomon.core.batches import Rollout
from gnomon.core.errors import ConfigError, Interrupted
from gnomon.core.progress import console, progress
from gnomon.core.run_folder import write_jsonl
from gnomon.core.types import Completion, Demonstration, Prompt, RatedText
from gnomon.data.encoding import check_lengths
from gnomon.evaluation.policies import (
    Voice,
    checks,
    describe,
    kl_to_reference,
    perplexity,
    sample_all,
    win_rate,
)
from gnomon.models.loading import load_policy, load_reward_model
from gnomon.rewards.lexicon import Lexicon
from gnomon.rewards.reward import LearnedReward
from gnomon.rewards.tfidf_ridge import TfidfRidge

SHOWN = 8  # prompts whose samples stand side by side
WORST = 6  # of the candidate's samples
FloatArray = NDArray[np.float64]


def run_evaluate(stage: EvaluateStage, work: Workspace) -> dict[str, Any]:
    """Write every sample, and return the stage's result."""
    started = time.monotonic()
    seed = work.recipe.seed
    prompts = work.records(Prompt, stage.prompts)
    texts = [
        Demonstration(item.prompt or prompts[place % len(prompts)], Completion(item.id, item.text))
        for place, item in enumerate(work.records(RatedText, stage.texts))
    ]
    template = work.recipe.model.chat_template
    reference = load_policy(work.model(stage.reference), work.compute, chat_template=template)
    drafts: list[tuple[str, list[Rollout], FloatArray | None, float]] = []
    for name in stage.evaluate:
        itself = name == stage.reference
        policy = reference
        if not itself:
            policy = load_policy(work.model(name), work.compute, chat_template=template)
        check_lengths(prompts, policy.tokenizer, stage.sampling.max_tokens, policy.network.config)
        with progress(f"{stage.name}: {name}", len(prompts) * stage.sampling.completions) as bar:
            rollouts = sample_all(policy, prompts, stage.sampling, seed, bar.at)
        # What is drawn at temperature 0 comes with its log-probabilities at temperature 1.
        temperature = stage.sampling.temperature or 1.0
        kl = None if itself else kl_to_reference(rollouts, reference, temperature)
        drafts.append((name, rollouts, kl, perplexity(policy, texts)))
        if work.stop:
            raise Interrupted("stopped before the comparison was done; run the same command again to go on.")
    del reference, policy
    scores = {judge: ask(judge, stage, work, [d[1] for d in drafts]) for judge in stage.judges}
    voices = [
        Voice(name, rollouts, {j: scores[j][place] for j in stage.judges}, kl, text_perplexity)
        for place, (name, rollouts, kl, text_perplexity) in enumerate(drafts)
    ]
    return {"kind": "evaluate", "seconds": time.monotonic() - started, **compare(voices, stage, work)}


def ask(
    judge: str, stage: EvaluateStage, work: Workspace, written: Sequence[Sequence[Rollout]]
) -> list[FloatArray]:
    """One judge's scores of what each model wrote."""
    if judge == "vader":
        lexicon = Lexicon()
        return [lexicon.score_texts([r.completion.text for r in rollouts]) for rollouts in written]
    if judge == "ridge":
        if stage.reserved is None:
            raise ConfigError(
                f"stage '{stage.name}': the judge ridge needs the key 'reserved', texts to learn from."
            )
        rated = work.records(RatedText, stage.reserved)
        ridge = TfidfRidge.fit([item.text for item in rated], [item.mean for item in rated])
        return [ridge.score_texts([r.completion.text for r in rollouts]) for rollouts in written]
    recipe = work.recipe
    model = load_reward_model(
        work.model(judge), work.compute, seed=recipe.seed, chat_template=recipe.model.chat_template
    )
    reward = LearnedReward(model, judge)
    return [
        reward.score([r.prompt for r in rollouts], [r.completion for r in rollouts])
        .values.numpy()
        .astype(np.float64)
        for rollouts in written
    ]


def compare(voices: Sequence[Voice], stage: EvaluateStage, work: Workspace) -> dict[str, Any]:
    """The tables, the checks, and samples."""
    seed = work.recipe.seed
    by_name = {v.name: v for v in voices}
    candidate = by_name[stage.candidate or stage.evaluate[-1]]
    table = [describe(v, seed) for v in voices]
    rows = {row["model"]: row for row in table}
    wins = [
        win_rate(candidate, other, judge, seed)
        for other in voices
        if other is not candidate
        for judge in stage.judges
    ]
    independent = [j for j in stage.judges if j in ("vader", "ridge")]
    found = checks(rows[candidate.name], rows[stage.reference], wins, independent)
    for check in found:
        about = f"{check['name']} {check.get('judge', '')}".strip()
        mark = "ok  " if check["passed"] else "FAIL"
        console.print(f"  {mark} {about}: {check['value']:.3f} (threshold {check['threshold']})")
    folder = work.stage_folder(stage.name)
    write_jsonl(folder / "samples.jsonl", [_sample(v, i) for v in voices for i in range(len(v.rollouts))])
    return {
        "models": [v.name for v in voices],
        "reference": stage.reference,
        "candidate": candidate.name,
        "judges": [{"name": j, "independent": j in independent} for j in stage.judges],
        "prompts": len({r.prompt.id for r in candidate.rollouts}),
        "completions_per_prompt": stage.sampling.completions,
        "table": table,
        "win_rates": wins,
        "checks": found,
        "samples": side_by_side(voices, stage.sampling.completions),
        "worst": worst(candidate, independent or stage.judges),
    }


def side_by_side(voices: Sequence[Voice], completions: int) -> list[dict[str, Any]]:
    """The first completion of each model for some prompts: chosen before anyone saw a score."""
    places = range(0, len(voices[0].rollouts), completions)
    return [
        {
            "prompt": voices[0].rollouts[i].prompt.messages[-1].content,
            "completions": [_sample(v, i) for v in voices],
        }
        for i in list(places)[:SHOWN]
    ]


def worst(voice: Voice, judges: Sequence[str]) -> list[dict[str, Any]]:
    """The samples that the independent judges like least, by their mean standardised score."""
    scaled = [(s - s.mean()) / (s.std() or 1.0) for s in (voice.scores[j] for j in judges)]
    order = np.argsort(np.mean(scaled, axis=0), kind="stable")
    return [_sample(voice, int(i)) for i in order[:WORST]]


def _sample(voice: Voice, place: int) -> dict[str, Any]:
    rollout = voice.rollouts[place]
    return {
        "model": voice.name,
        "prompt": rollout.prompt.messages[-1].content,
        "text": rollout.completion.text,
        "finished": rollout.finished,
        "scores": {judge: float(scores[place]) for judge, scores in voice.scores.items()},
    }
