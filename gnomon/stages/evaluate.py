"""The evaluation stage: sample from every model, score with every judge, compare."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from gnomon.core.config import Settings, validate
from gnomon.core.errors import ConfigError, Interrupted, RunError
from gnomon.core.experience import Rollout
from gnomon.core.progress import console, progress
from gnomon.core.ranges import Range
from gnomon.core.storage.files import read_json, write_jsonl
from gnomon.core.types import Completion, Demonstration, Prompt, RatedText
from gnomon.data.encoding import check_lengths
from gnomon.data.record_kinds import kind_of_file
from gnomon.data.reported_rows import readable_records
from gnomon.data.templates.tokenizer_compat import same_vocabulary
from gnomon.evaluation.results import ModelRow, Predictor, RewardModelEvaluation
from gnomon.models.external import open_policy
from gnomon.rewards.reward import Reward, watched_scores
from gnomon.rollouts.sampling_params import Sampling
from gnomon.stages.common.independence.judges import judges_of
from gnomon.stages.common.independence.trained_prompts import report_trained_prompts, trained_prompts
from gnomon.stages.common.results import BestOfResult, ComparisonResult, JudgeResult, Sample, ScoredText
from gnomon.stages.common.reward_factory import make_reward, ridge_reward
from gnomon.stages.contract import PARTS, Result, Stage, StagePlan
from gnomon.stages.references import DataInput, Inputs, ModelComparison, ModelInput, is_not_a_model
from gnomon.stages.workspace import StageRecipe, Workspace

if TYPE_CHECKING:
    from gnomon.evaluation.policies import PolicySamples

SHOWN = 8  # prompts in the side-by-side samples
WORST = 6  # lowest-scored samples of the candidate in the report
FloatArray = NDArray[np.float64]


class BestOfSettings(Settings):
    """Best-of-n at inference, shown beside the candidate.

    Attributes:
        n: completions of which the best is taken; completions that do not fill a group of n are unused.
        judge: the judge that chooses, one of `judges`.
    """

    n: Annotated[int, Range("the best of fewer than 2 is no choice", ge=2, le=10**6)]
    judge: str


class JudgeSettings(Settings):
    """A judge, and whether it took no part in the training of the models that it judges.

    Attributes:
        judge: as in `judges`.
        independent: counts for the verdict, unless the training folders show that it took part.
    """

    judge: str
    independent: bool = False


class EvaluateStage(Stage):
    """Compare models by judges that training used and judges that it never saw.

    Attributes:
        evaluate: `base`, stages and models of your own, in display order.
        judges: reward models (stages or your own), functions, `vader` (a lexicon) and `ridge` (fitted on
            `judge_holdout`); `{judge: NAME, independent: true}` declares that one took no part in the training.
        independent: the judges declared so.
        prompts: held-out prompts.
        texts: held-out texts by people, or demonstrations, for perplexity; `None` measures none.
        texts_used: at most so many of them, evenly spaced.
        judge_holdout: rated texts that no other stage uses, for `ridge`.
        reference: the model that the candidate is compared with; by default the first.
        candidate: the model that should be better; by default the last.
        best_of: also show the best of every n completions of the candidate, by one of the judges.
        sampling: sampling settings of all models.
    """

    key: ClassVar[str] = "evaluate"
    result_type: ClassVar[type[Result]] = ComparisonResult
    data_keys: ClassVar[tuple[str, ...]] = ("prompts", "texts", "judge_holdout")
    model_keys: ClassVar[tuple[str, ...]] = (
        *("evaluate", "judges", "independent", "reference", "candidate"),
        "best_of.judge",
    )
    evaluate: list[str] = Field(min_length=1)
    judges: list[str] = Field(min_length=1)
    independent: list[str] = Field(default_factory=list)
    prompts: str
    texts: str | None = None
    texts_used: Annotated[int, Range("it counts texts", ge=1, le=10**9)] | None = None
    judge_holdout: str | None = None
    reference: str = ""
    candidate: str | None = None
    best_of: BestOfSettings | None = None
    sampling: Sampling = Sampling(completions=16)

    @model_validator(mode="before")
    @classmethod
    def _judges_by_name(cls, content: Any) -> Any:
        """Turn judges that are mappings into names, and add those declared independent to `independent`."""
        judges = content.get("judges") if isinstance(content, dict) else None
        if not isinstance(judges, list) or not any(isinstance(one, dict) for one in judges):
            return content
        entries = [validate(JudgeSettings, one, "judges") if isinstance(one, dict) else one for one in judges]
        names = [one.judge if isinstance(one, JudgeSettings) else one for one in entries]
        claimed = [one.judge for one in entries if isinstance(one, JudgeSettings) and one.independent]
        return {**content, "judges": names, "independent": [*(content.get("independent") or []), *claimed]}

    @model_validator(mode="before")
    @classmethod
    def _first_is_reference(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("reference") is None:
            models = content.get("evaluate")
            first = models[0] if isinstance(models, list) and models else ""
            return {**content, "reference": first}
        return content

    def check(self, recipe: StageRecipe, where: str) -> None:
        """Check that models and judges are unique, compared models are listed, and judges have their data."""
        for name in self.evaluate:
            if self.evaluate.count(name) > 1:
                raise ConfigError(f"{where}: evaluate names '{name}' twice; remove one of them.")
        for key in ("reference", "candidate"):
            name = getattr(self, key)
            if name is not None and name not in self.evaluate:
                raise ConfigError(f"{where}: {key} '{name}' is not among those in evaluate; add it there.")
        for name in self.judges:
            if self.judges.count(name) > 1:
                raise ConfigError(f"{where}: judges names '{name}' twice; remove one of them.")
        for name in self.independent:
            if name not in self.judges:
                raise ConfigError(
                    f"{where}: independent names '{name}', which is not among the judges; add it there."
                )
        if self.best_of is not None:
            if self.best_of.judge not in self.judges:
                raise ConfigError(
                    f"{where}: best_of.judge '{self.best_of.judge}' is not among the judges; add it there."
                )
            if self.best_of.n > self.sampling.completions:
                raise ConfigError(
                    f"{where}: best_of.n is {self.best_of.n}, more than sampling.completions of "
                    f"{self.sampling.completions}; raise the latter."
                )
        if "ridge" in self.judges and self.judge_holdout is None:
            raise ConfigError(f"{where}: the judge ridge needs the key 'judge_holdout', texts to learn from.")

    def inputs(self) -> Inputs:
        """The compared models, the judges, and the data."""
        judges = [ModelInput("judges", name, ("reward",)) for name in self.judges if not is_not_a_model(name)]
        models = [ModelInput("evaluate", name) for name in self.evaluate]
        roles = (ModelInput("reference", self.reference), ModelInput("candidate", self._candidate))
        data: list[tuple[str | None, tuple[type, ...]]] = [
            (self.prompts, (Prompt,)),
            (self.texts, (Demonstration, RatedText)),
            (self.judge_holdout, (RatedText,)),
        ]
        named = tuple(DataInput(source, kinds) for source, kinds in data if source)
        return Inputs((*models, *judges, *roles), named, tuple(self.judges))

    def comparison(self) -> ModelComparison:
        """The models that are compared, and their judges."""
        models, judges, independent = tuple(self.evaluate), tuple(self.judges), tuple(self.independent)
        return ModelComparison(self.name, models, self.reference, self._candidate, judges, independent)

    @property
    def _candidate(self) -> str:
        return self.candidate or self.evaluate[-1]

    def describe(self) -> str:
        """What the stage does, in a word."""
        return "evaluate"

    def estimate(self, work: Workspace, baseline_bytes: float) -> list[StagePlan]:
        """Estimate how each model samples beside the reference, and each judge then scores all samples."""
        from gnomon.stages.common.plan import reward_models_in, stage_plan
        from gnomon.training.runtime.memory_profile import shape_of_round, weight_bytes
        from gnomon.training.runtime.sampling_memory import forward_tokens_per_second, profile_sampling

        template = work.recipe.model.chat_template
        prompts = self._prompts(work, report=False)
        texts = len(held_out_texts(self, work, prompts)) if self.texts_used is None else self.texts_used
        both = [open_policy(work.model(self.reference), work.compute, chat_template=template)]
        both += [open_policy(work.model(self.evaluate[-1]), work.compute, chat_template=template)]
        drawn = profile_sampling(both[-1], prompts, self.sampling, both)
        shape = shape_of_round([prompts], both[0].tokenizer, self.sampling)
        rows = len(prompts) * shape.together
        read = len(self.evaluate) * (rows + texts) * shape.completion
        rewards = [make_reward(name, work, both[0].tokenizer) for name in self.judges if name != "ridge"]
        judges = [judge for reward in rewards for judge in reward_models_in(reward)]
        read += len(judges) * len(self.evaluate) * rows * shape.completion
        pace = forward_tokens_per_second(both[0], shape)
        parts = dict.fromkeys(PARTS, 0.0) | {
            "process": baseline_bytes,
            "weights": float(weight_bytes(both)),
            "sampling": drawn.bytes,
        }
        seconds = len(self.evaluate) * drawn.seconds + read / pace
        about = f"evaluation of {len(self.evaluate)} models, {rows} completions each"
        pace = rows * shape.completion / drawn.seconds
        return [stage_plan(self.name, about, both[-1], parts, pace, seconds)]

    def run(self, work: Workspace) -> ComparisonResult:
        """Write every sample and return the result."""
        from gnomon.evaluation.policies import PolicySamples, kl_to_reference, perplexity, sample_all

        started = time.monotonic()
        seed = work.recipe.seed
        prompts = self._prompts(work)
        texts = evenly_spaced(held_out_texts(self, work, prompts), self.texts_used)
        template = work.recipe.model.chat_template
        reference = open_policy(work.model(self.reference), work.compute, chat_template=template)
        reference.round_weights()
        sampled: list[tuple[str, list[Rollout], FloatArray | None, float | None]] = []
        to_judge: list[list[Rollout]] = []
        for name in self.evaluate:
            is_reference = name == self.reference
            policy = reference
            if not is_reference:
                policy = open_policy(work.model(name), work.compute, chat_template=template)
                policy.round_weights()
            check_lengths(prompts, policy.tokenizer, self.sampling.max_tokens, policy.network.config)
            with progress(f"{self.name}: {name}", len(prompts) * self.sampling.completions) as bar:
                rollouts = sample_all(policy, prompts, self.sampling, seed, bar.at)
            # The sampler returns log-probabilities at temperature 1 for greedy decoding (temperature 0).
            temperature = self.sampling.temperature or 1.0
            same_tokens = same_vocabulary(policy.tokenizer, reference.tokenizer)
            if not same_tokens:
                message = f"  {name} has another vocabulary than {self.reference}; their KL is not measured"
                console.print(message, markup=False, highlight=False, soft_wrap=True)
            kl = kl_to_reference(rollouts, reference, temperature) if same_tokens and not is_reference else None
            to_judge.append(rollouts if same_tokens else [without_ids(rollout) for rollout in rollouts])
            sampled.append((name, rollouts, kl, perplexity(policy, texts) if texts else None))
            if work.stop:
                raise Interrupted("stopped before the comparison was done; run the same command again to go on.")
        tokenizer = reference.tokenizer
        del reference, policy
        scores = {judge: judge_scores(judge, self, work, to_judge, tokenizer) for judge in self.judges}
        all_samples = [
            PolicySamples(name, rollouts, {j: scores[j][index] for j in self.judges}, kl, text_perplexity)
            for index, (name, rollouts, kl, text_perplexity) in enumerate(sampled)
        ]
        best_of = {"best_of": self._add_best_of(all_samples, self.best_of)} if self.best_of else {}
        return ComparisonResult(
            kind="evaluate",
            seconds=time.monotonic() - started,
            **compare(all_samples, self, work),
            **best_of,
        )

    def _prompts(self, work: Workspace, *, report: bool = True) -> list[Prompt]:
        """The prompts that models can read."""
        prompts = {self.prompts: work.records(Prompt, self.prompts)}
        return readable_records(prompts, self.name, report=report)[0][self.prompts]

    def _add_best_of(self, all_samples: list[PolicySamples], best_of: BestOfSettings) -> BestOfResult:
        """Append the best of n of the candidate's samples; returns its KL to the candidate."""
        from gnomon.evaluation.policies import best_of_kl, best_of_n

        candidate = next(samples for samples in all_samples if samples.name == self._candidate)
        best = best_of_n(candidate, best_of.n, best_of.judge)
        all_samples.append(best)
        kl_figures = best_of_kl(best, best_of.n, self.sampling)
        about = "" if kl_figures["kl_estimate"] is None else f", about {kl_figures['kl_estimate']:.3g}"
        message = f"  {best.name}: KL to {candidate.name} at most {kl_figures['kl_bound']:.3g} nats{about}"
        console.print(message, markup=False, highlight=False, soft_wrap=True)
        return BestOfResult(model=best.name, candidate=candidate.name, **kl_figures)


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
    layout = work.recipe.layout_of(stage.texts)
    kind = kind_of_file(work.data_path(stage.texts), (Demonstration, RatedText), layout)
    if kind is Demonstration:
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
        assert stage.judge_holdout is not None  # the recipe was checked
        reward = ridge_reward(work.records(RatedText, stage.judge_holdout))
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


def reward_model_evaluations(work: Workspace) -> dict[str, list[Predictor]]:
    """The rows of each reward model's evaluation against people, by stage."""
    results = {stage.name: work.stage_folder(stage.name) / "result.json" for stage in work.recipe.stages}
    evaluations = {name: read_json(path).get("evaluation") for name, path in results.items() if path.exists()}
    read = {name: RewardModelEvaluation.model_validate(one) for name, one in evaluations.items() if one}
    return {name: evaluation.rows for name, evaluation in read.items()}


def compare(all_samples: Sequence[PolicySamples], stage: EvaluateStage, work: Workspace) -> dict[str, Any]:
    """Build the tables, checks and samples of the stage's result by field, and write `samples.jsonl`.

    Args:
        all_samples: of each model, with scores.
        stage: the evaluation.
        work: the run.
    """
    from gnomon.evaluation.policies import checks, judge_checks, summarize_policy, win_rate

    seed = work.recipe.seed
    by_name = {v.name: v for v in all_samples}
    candidate = by_name[stage.comparison().candidate]
    table = [summarize_policy(v, seed) for v in all_samples]
    rows = {row.model: row for row in table}
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
        about = f"{check.name} {check.judge}".strip()
        mark = "ok  " if check.passed else "FAIL"
        console.print(f"  {mark} {about}: {check.value:.3f} (threshold {check.threshold:.4g})")
    folder = work.stage_folder(stage.name)
    write_jsonl(
        folder / "samples.jsonl", [_sample(v, i).content() for v in all_samples for i in range(len(v.rollouts))]
    )
    prompts = list({r.prompt.id: r.prompt for r in candidate.rollouts}.values())
    trained = trained_prompts(prompts, candidate.name, work)
    report_trained_prompts(prompts, trained)
    return {
        "models": [v.name for v in all_samples],
        "reference": stage.reference,
        "candidate": candidate.name,
        "judges": [JudgeResult.model_validate(row) for row in judges],
        "prompts": len(prompts),
        "trained_prompts": len(trained),
        "completions_per_prompt": stage.sampling.completions,
        "table": table,
        "win_rates": wins,
        "checks": check_rows,
        "samples": side_by_side(all_samples),
        "worst": worst(candidate, independent or stage.judges),
    }


def print_scores(rows: Sequence[ModelRow]) -> None:
    """Print the models' mean scores, one line each."""
    for row in rows:
        scores = "  ".join(f"{judge} {score.mean:+.3f}" for judge, score in row.scores.items())
        console.print(f"  {row.model}  {scores}", markup=False, highlight=False, soft_wrap=True)


def side_by_side(all_samples: Sequence[PolicySamples]) -> list[Sample]:
    """The first completion of each model for the first prompts, whatever their scores."""
    prompts = list({r.prompt.id: r.prompt for r in all_samples[0].rollouts}.values())[:SHOWN]
    return [
        Sample(
            prompt=prompt.messages[-1].content,
            completions=[_sample(v, [r.prompt.id for r in v.rollouts].index(prompt.id)) for v in all_samples],
        )
        for prompt in prompts
    ]


def worst(samples: PolicySamples, judges: Sequence[str]) -> list[ScoredText]:
    """The samples with the lowest mean standardized score of the judges."""
    scaled = [(s - s.mean()) / (s.std() or 1.0) for s in (samples.scores[j] for j in judges)]
    order = np.argsort(np.mean(scaled, axis=0), kind="stable")
    return [_sample(samples, int(i)) for i in order[:WORST]]


def _sample(samples: PolicySamples, index: int) -> ScoredText:
    rollout = samples.rollouts[index]
    return ScoredText(
        model=samples.name,
        prompt=rollout.prompt.messages[-1].content,
        text=rollout.completion.text,
        finished=rollout.finished,
        scores={judge: float(scores[index]) for judge, scores in samples.scores.items()},
    )
