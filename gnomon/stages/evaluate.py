"""The evaluation stage: sample from every model, score with every judge, compare."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import Interrupted, RunError
from gnomon.core.experience import Rollout
from gnomon.core.progress import console, progress
from gnomon.core.storage.files import read_json, write_jsonl
from gnomon.core.types import Completion, Demonstration, Prompt, RatedText
from gnomon.data.encoding import check_lengths
from gnomon.data.reading.record_kinds import kind_of_file
from gnomon.data.templates.tokenizer_compat import same_vocabulary
from gnomon.evaluation.policies import (
    PolicySamples,
    best_of_kl,
    best_of_n,
    checks,
    describe,
    judge_checks,
    kl_to_reference,
    perplexity,
    sample_all,
    win_rate,
)
from gnomon.models.external import open_policy
from gnomon.rewards.reward import Reward, watched_scores
from gnomon.rewards.text_reward import TextReward
from gnomon.stages.independence import judges_of
from gnomon.stages.reward_factory import make_reward
from gnomon.stages.settings import EvaluateStage
from gnomon.stages.workspace import Workspace

SHOWN = 8  # prompts in the side-by-side samples
WORST = 6  # lowest-scored samples of the candidate in the report
FloatArray = NDArray[np.float64]


def run_evaluate(stage: EvaluateStage, work: Workspace) -> dict[str, Any]:
    """Write every sample and return the stage's result."""
    started = time.monotonic()
    seed = work.recipe.seed
    prompts = work.records(Prompt, stage.prompts)
    texts = evenly_spaced(held_out_texts(stage, work, prompts), stage.texts_used)
    template = work.recipe.model.chat_template
    reference = open_policy(work.model(stage.reference), work.compute, chat_template=template)
    reference.round_weights()
    sampled: list[tuple[str, list[Rollout], FloatArray | None, float | None]] = []
    to_judge: list[list[Rollout]] = []
    for name in stage.evaluate:
        is_reference = name == stage.reference
        policy = reference
        if not is_reference:
            policy = open_policy(work.model(name), work.compute, chat_template=template)
            policy.round_weights()
        check_lengths(prompts, policy.tokenizer, stage.sampling.max_tokens, policy.network.config)
        with progress(f"{stage.name}: {name}", len(prompts) * stage.sampling.completions) as bar:
            rollouts = sample_all(policy, prompts, stage.sampling, seed, bar.at)
        # The sampler returns log-probabilities at temperature 1 for greedy decoding (temperature 0).
        temperature = stage.sampling.temperature or 1.0
        same_tokens = same_vocabulary(policy.tokenizer, reference.tokenizer)
        if not same_tokens:
            message = f"  {name} has another vocabulary than {stage.reference}; their KL is not measured"
            console.print(message, markup=False, highlight=False, soft_wrap=True)
        kl = kl_to_reference(rollouts, reference, temperature) if same_tokens and not is_reference else None
        to_judge.append(rollouts if same_tokens else [without_ids(rollout) for rollout in rollouts])
        sampled.append((name, rollouts, kl, perplexity(policy, texts) if texts else None))
        if work.stop:
            raise Interrupted("stopped before the comparison was done; run the same command again to go on.")
    tokenizer = reference.tokenizer
    del reference, policy
    scores = {judge: judge_scores(judge, stage, work, to_judge, tokenizer) for judge in stage.judges}
    all_samples = [
        PolicySamples(name, rollouts, {j: scores[j][index] for j in stage.judges}, kl, text_perplexity)
        for index, (name, rollouts, kl, text_perplexity) in enumerate(sampled)
    ]
    best_of_result: dict[str, Any] = {}
    if stage.best_of is not None:
        candidate = next(v for v in all_samples if v.name == (stage.candidate or stage.evaluate[-1]))
        best = best_of_n(candidate, stage.best_of.n, stage.best_of.judge)
        all_samples.append(best)
        kl_figures = best_of_kl(best, stage.best_of.n, stage.sampling)
        best_of_result["best_of"] = {"model": best.name, "candidate": candidate.name, **kl_figures}
        about = "" if kl_figures["kl_estimate"] is None else f", about {kl_figures['kl_estimate']:.3g}"
        message = f"  {best.name}: KL to {candidate.name} at most {kl_figures['kl_bound']:.3g} nats{about}"
        console.print(message, markup=False, highlight=False, soft_wrap=True)
    return {
        "kind": "evaluate",
        "seconds": time.monotonic() - started,
        **compare(all_samples, stage, work),
        **best_of_result,
    }


def without_ids(rollout: Rollout) -> Rollout:
    """The rollout without its token ids, for a judge with another vocabulary."""
    return replace(rollout, completion=replace(rollout.completion, token_ids=None))


def held_out_texts(stage: EvaluateStage, work: Workspace, prompts: Sequence[Prompt]) -> list[Demonstration]:
    """Held-out texts by people with their prompts; rated texts without a prompt get the stage's prompts in turn.

    Args:
        stage: the evaluation; its `texts` names the data.
        work: the run.
        prompts: the stage's prompts.
    """
    if stage.texts is None:
        return []
    if kind_of_file(work.data_path(stage.texts), (Demonstration, RatedText)) is Demonstration:
        return work.records(Demonstration, stage.texts)
    return [
        Demonstration(item.prompt or prompts[index % len(prompts)], Completion(item.id, item.text))
        for index, item in enumerate(work.records(RatedText, stage.texts))
    ]


def evenly_spaced(texts: list[Demonstration], limit: int | None) -> list[Demonstration]:
    """At most `limit` of the texts, evenly spaced."""
    if limit is None or len(texts) <= limit:
        return texts
    return [texts[index * len(texts) // limit] for index in range(limit)]


def judge_scores(
    judge: str, stage: EvaluateStage, work: Workspace, samples: Sequence[Sequence[Rollout]], sampled_by: Any
) -> list[FloatArray]:
    """Score each model's samples with one judge.

    Args:
        judge: its name in the recipe.
        stage: the evaluation.
        work: the run.
        samples: rollouts of each model.
        sampled_by: the tokenizer of completions' token ids, where they have any.

    Returns:
        For each model the scores of its rollouts, `[N]`.
    """
    if judge == "ridge":
        from gnomon.rewards.tfidf_ridge import TfidfRidge  # scikit-learn takes a second to import

        assert stage.judge_holdout is not None  # the recipe was checked
        rated = work.records(RatedText, stage.judge_holdout)
        reward: Reward = TextReward(TfidfRidge.fit([item.text for item in rated], [item.mean for item in rated]))
    else:
        reward = make_reward(judge, work, sampled_by)
    return [_scores(reward, rollouts) for rollouts in samples]


def _scores(reward: Reward, rollouts: Sequence[Rollout]) -> FloatArray:
    """Score rollouts, `[N]`; every one must have a finite score."""
    with watched_scores(reward, f"scored by {reward.name}", len(rollouts)):
        scores = reward.score([r.prompt for r in rollouts], [r.completion for r in rollouts])
    values: FloatArray = scores.values.numpy().astype(np.float64)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise RunError(
            f"the judge '{reward.name}' has no score for completion {row + 1} ({scores.reason(row)}); "
            "fix the judge."
        )
    return values


def reward_model_evaluations(work: Workspace) -> dict[str, list[dict[str, Any]]]:
    """The rows of each reward model's evaluation against people, by stage."""
    results = {stage.name: work.stage_folder(stage.name) / "result.json" for stage in work.recipe.stages}
    evaluations = {name: read_json(path).get("evaluation") for name, path in results.items() if path.exists()}
    return {name: evaluation["rows"] for name, evaluation in evaluations.items() if evaluation}


def compare(all_samples: Sequence[PolicySamples], stage: EvaluateStage, work: Workspace) -> dict[str, Any]:
    """Build the tables, checks and samples of the stage's result, and write `samples.jsonl`.

    Args:
        all_samples: of each model, with scores.
        stage: the evaluation.
        work: the run.
    """
    seed = work.recipe.seed
    by_name = {v.name: v for v in all_samples}
    candidate = by_name[stage.candidate or stage.evaluate[-1]]
    table = [describe(v, seed) for v in all_samples]
    rows = {row["model"]: row for row in table}
    wins = [
        win_rate(candidate, other, judge, seed)
        for other in all_samples
        if other is not candidate
        for judge in stage.judges
    ]
    judges = judges_of(stage, work)
    independent = [row["name"] for row in judges if row["independent"]]
    compared = candidate.name != stage.reference
    check_rows = checks(rows[candidate.name], rows[stage.reference], wins, independent) if compared else []
    check_rows += judge_checks(reward_model_evaluations(work))
    print_scores(table)
    for check in check_rows:
        about = f"{check['name']} {check.get('judge', '')}".strip()
        mark = "ok  " if check["passed"] else "FAIL"
        console.print(f"  {mark} {about}: {check['value']:.3f} (threshold {check['threshold']:.4g})")
    folder = work.stage_folder(stage.name)
    write_jsonl(folder / "samples.jsonl", [_sample(v, i) for v in all_samples for i in range(len(v.rollouts))])
    return {
        "models": [v.name for v in all_samples],
        "reference": stage.reference,
        "candidate": candidate.name,
        "judges": judges,
        "prompts": len({r.prompt.id for r in candidate.rollouts}),
        "completions_per_prompt": stage.sampling.completions,
        "table": table,
        "win_rates": wins,
        "checks": check_rows,
        "samples": side_by_side(all_samples),
        "worst": worst(candidate, independent or stage.judges),
    }


def print_scores(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the models' mean scores, one line each."""
    for row in rows:
        scores = "  ".join(f"{judge} {score['mean']:+.3f}" for judge, score in row["scores"].items())
        console.print(f"  {row['model']}  {scores}", markup=False, highlight=False, soft_wrap=True)


def side_by_side(all_samples: Sequence[PolicySamples]) -> list[dict[str, Any]]:
    """The first completion of each model for the first prompts, whatever their scores."""
    prompts = list({r.prompt.id: r.prompt for r in all_samples[0].rollouts}.values())[:SHOWN]
    return [
        {
            "prompt": prompt.messages[-1].content,
            "completions": [_sample(v, [r.prompt.id for r in v.rollouts].index(prompt.id)) for v in all_samples],
        }
        for prompt in prompts
    ]


def worst(samples: PolicySamples, judges: Sequence[str]) -> list[dict[str, Any]]:
    """The samples with the lowest mean standardized score of the judges."""
    scaled = [(s - s.mean()) / (s.std() or 1.0) for s in (samples.scores[j] for j in judges)]
    order = np.argsort(np.mean(scaled, axis=0), kind="stable")
    return [_sample(samples, int(i)) for i in order[:WORST]]


def _sample(samples: PolicySamples, index: int) -> dict[str, Any]:
    rollout = samples.rollouts[index]
    return {
        "model": samples.name,
        "prompt": rollout.prompt.messages[-1].content,
        "text": rollout.completion.text,
        "finished": rollout.finished,
        "scores": {judge: float(scores[index]) for judge, scores in samples.scores.items()},
    }
