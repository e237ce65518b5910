"""Compare policies: judges' scores, KL to the reference, perplexity and diversity."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gnomon.core.experience import Rollout
from gnomon.core.progress import console, watched
from gnomon.core.storage.result_model import Interval
from gnomon.core.types import Demonstration
from gnomon.data.batching import pack_by_tokens, token_groups
from gnomon.data.encoding import encode_demonstrations, token_limit
from gnomon.evaluation.best_of_n import best_rows, kl_bound, kl_estimate
from gnomon.evaluation.results import Check, ModelRow, Predictor, WinRate
from gnomon.evaluation.text_metrics import distinct_n, self_bleu
from gnomon.losses.kl import k1
from gnomon.losses.reduce import masked_sum
from gnomon.models.roles import Policy
from gnomon.rollouts.experience import build_experience
from gnomon.rollouts.sampler import NativeSampler
from gnomon.rollouts.sampling_params import Sampling
from gnomon.stats.intervals import Estimate, bootstrap

FloatArray = NDArray[np.float64]
MAX_NLL_NATS = 700.0  # exp of more overflows a double, and diverged weights can reach it
MICRO_BATCH_TOKENS = 2048
FALLBACK_MAX_TOKENS = 100_000  # of a text, for a model with unknown context length
MAX_PERPLEXITY_RATIO = 1.15  # the candidate's perplexity divided by the reference's must be below
MIN_DISTINCT_2_RATIO = 0.8  # the candidate's distinct-2 divided by the reference's must not be below


@dataclass(frozen=True)
class PolicySamples:
    """The samples of one policy, with their scores.

    Attributes:
        name: name of the policy.
        rollouts: K for each prompt, prompt by prompt.
        scores: judge → score of each rollout, `[N]`.
        kl: sum of log π − log π_ref over the sampled tokens of each rollout, in nats, `[N]`: the k1 estimate, of
            which a single value may be negative. `None` for the reference itself.
        perplexity: perplexity on texts by people; `None` without texts.
    """

    name: str
    rollouts: list[Rollout]
    scores: Mapping[str, FloatArray]
    kl: FloatArray | None
    perplexity: float | None

    @property
    def texts(self) -> list[str]:
        """Return the text of each completion."""
        return [r.completion.text for r in self.rollouts]


def best_of_kl(best: PolicySamples, n: int, sampling: Sampling) -> dict[str, float | None]:
    """Compute the KL of best-of-n to the policy itself, in nats: the bound for any judge, and an estimate.

    Args:
        best: samples from `best_of_n`.
        n: number of completions from which each winner is chosen.
        sampling: settings with which they were sampled. The estimate needs the probabilities of whole texts under
            the policy, so there is none if the sampling changes the distribution or a text was truncated.

    Returns:
        `kl_bound`, which is log n − (n − 1)/n, and `kl_estimate` (see `evaluation.best_of_n`), or `None`.
    """
    exact = sampling.on_policy and all(rollout.finished for rollout in best.rollouts)
    logprobs = [min(math.fsum(rollout.logprobs), 0.0) for rollout in best.rollouts]
    return {"kl_bound": kl_bound(n), "kl_estimate": kl_estimate(n, logprobs) if exact else None}


def best_of_n(samples: PolicySamples, n: int, judge: str) -> PolicySamples:
    """Select the best of every n completions of a prompt by one judge.

    The K completions of a prompt give K // n winners; nothing is sampled again. The KL to the policy is at most
    `log n − (n − 1)/n` nats (Beirami et al. 2024) for any judge.

    Args:
        samples: samples of the policy.
        n: number of completions from which each winner is chosen.
        judge: name of the judge whose scores decide.
    """
    best = best_rows([r.prompt.id for r in samples.rollouts], samples.scores[judge].tolist(), n)
    scores = {name: values[best] for name, values in samples.scores.items()}
    return PolicySamples(
        f"{samples.name}, best of {n}", [samples.rollouts[row] for row in best], scores, None, None
    )


@torch.no_grad()
def perplexity(policy: Policy, texts: Sequence[Demonstration]) -> float | None:
    """Compute `exp` of the mean negative log-likelihood of a completion token, the end included.

    Texts that exceed the model's context or that the chat template refuses are left out with a message.

    Returns:
        The perplexity; `None` if no text is left.
    """
    limit = token_limit(FALLBACK_MAX_TOKENS, policy.network.config)
    examples, rejected = encode_demonstrations(texts, policy.tokenizer, limit)
    if rejected:
        message = f"  perplexity without {len(rejected)} of {len(texts)} texts"
        first = f"the first is {rejected[0].where}: {rejected[0].reason}"
        console.print(f"{message}; {first}", markup=False, highlight=False, soft_wrap=True)
    if not examples:
        return None
    total, count = 0.0, 0
    for rows in watched(list(pack_by_tokens([e.cost for e in examples], MICRO_BATCH_TOKENS)), "perplexity"):
        tokens = token_groups([examples[r] for r in rows])
        total -= float(masked_sum(policy.logprobs(tokens).cpu(), tokens.mask).sum())
        count += int(tokens.mask.sum())
    return math.exp(min(total / count, MAX_NLL_NATS))


def sample_all(
    policy: Policy, prompts: Sequence[Any], sampling: Sampling, seed: int, report: Callable[[int], None]
) -> list[Rollout]:
    """Sample K completions per prompt.

    Args:
        policy: model to sample from.
        prompts: prompts of the evaluation.
        sampling: sampling settings; `completions` is K.
        seed: seed of the sampling.
        report: called with the number of finished completions.
    """
    return NativeSampler(policy, report).sample(prompts, sampling, seed=seed)


@torch.no_grad()
def kl_to_reference(rollouts: Sequence[Rollout], reference: Policy, temperature: float) -> FloatArray:
    """Estimate the KL to the reference from each completion, in nats.

    The k1 estimate: the sum of log π − log π_ref over the sampled tokens. A single value may be negative.

    Args:
        rollouts: samples with their log-probabilities under the sampling policy.
        reference: the reference policy.
        temperature: temperature of the sampling.

    Returns:
        One estimate for each completion, `[N]`.
    """
    kl = np.empty(len(rollouts))
    costs = [len(r.prompt_ids) + len(r.token_ids) for r in rollouts]
    for rows in watched(list(pack_by_tokens(costs, MICRO_BATCH_TOKENS)), "KL to the reference"):
        part = build_experience([rollouts[r] for r in rows], torch.zeros(len(rows)))
        reference_logprobs = reference.logprobs(part.tokens, temperature=temperature).cpu()
        kl[rows] = masked_sum(k1(part.old_logprobs, reference_logprobs), part.tokens.mask).numpy()
    return kl


def summarize_policy(samples: PolicySamples, seed: int) -> ModelRow:
    """Compute a policy's row of the evaluation table; `seed` is that of the bootstraps and of self-BLEU."""
    lengths = np.array([len(r.token_ids) for r in samples.rollouts], dtype=np.float64)
    kl = None if samples.kl is None else _mean(samples.kl, samples, seed)
    scores = {judge: _mean(values, samples, seed) for judge, values in samples.scores.items()}
    return ModelRow(
        model=samples.name,
        scores={judge: Interval(mean=one.value, low=one.low, high=one.high) for judge, one in scores.items()},
        kl=kl.value if kl else None,
        kl_low=kl.low if kl else None,
        kl_high=kl.high if kl else None,
        perplexity=samples.perplexity,
        distinct_1=distinct_n(samples.texts, 1),
        distinct_2=distinct_n(samples.texts, 2),
        self_bleu=self_bleu(samples.texts, seed=seed),
        length_mean=float(lengths.mean()),
        unfinished_share=1 - sum(r.finished for r in samples.rollouts) / len(samples.rollouts),
    )


def win_rate(candidate: PolicySamples, other: PolicySamples, judge: str, seed: int) -> WinRate:
    """Compute the candidate's win rate over all pairs of completions for the same prompt; ties count half.

    The interval is a bootstrap over prompts.

    Args:
        candidate: samples of the candidate.
        other: samples of the model that it is compared with.
        judge: name of the judge whose scores decide.
        seed: seed of the bootstrap.

    Returns:
        `rate` is the mean of the prompts' win rates, so that every prompt has the same weight. `wins`, `ties` and
        `losses` count pairs of all prompts together. They give another rate where prompts differ in their number
        of pairs.
    """
    candidate_scores, other_scores = (_by_prompt(v.scores[judge], v) for v in (candidate, other))
    signs = [np.sign(a[:, None] - b[None, :]) for a, b in zip(candidate_scores, other_scores, strict=True)]
    rates = np.array([((s > 0) + 0.5 * (s == 0)).mean() for s in signs])
    estimate = bootstrap(lambda at, _: float(rates[at].mean()), len(rates), seed)
    all_signs = np.concatenate([s.ravel() for s in signs])
    return WinRate(
        model=candidate.name,
        against=other.name,
        judge=judge,
        wins=int((all_signs > 0).sum()),
        ties=int((all_signs == 0).sum()),
        losses=int((all_signs < 0).sum()),
        rate=estimate.value,
        low=estimate.low,
        high=estimate.high,
    )


def checks(
    candidate: ModelRow, reference: ModelRow, wins: Sequence[WinRate], independent: Sequence[str]
) -> list[Check]:
    """Run the checks that the candidate must pass to be called better; unmeasured figures are not checked.

    Args:
        candidate: the candidate's row of the table.
        reference: the reference's row.
        wins: win rates by model pair and judge.
        independent: names of the independent judges.
    """
    results: list[Check] = []
    for row in wins:
        if (row.model, row.against) == (candidate.model, reference.model) and row.judge in independent:
            passed = row.low is not None and row.low > 0.5
            results.append(
                Check(name="win_rate", judge=row.judge, value=row.rate, low=row.low, threshold=0.5, passed=passed)
            )
    perplexity_ratio = _ratio(candidate.perplexity, reference.perplexity)
    if perplexity_ratio is not None:
        passed, threshold = perplexity_ratio < MAX_PERPLEXITY_RATIO, MAX_PERPLEXITY_RATIO
        results.append(Check(name="perplexity", value=perplexity_ratio, threshold=threshold, passed=passed))
    # Texts of one word have no word pairs: no diversity for the candidate, undefined for the reference.
    distinct_2_ratio = _ratio(candidate.distinct_2 or 0.0, reference.distinct_2)
    if distinct_2_ratio is not None:
        passed, threshold = distinct_2_ratio >= MIN_DISTINCT_2_RATIO, MIN_DISTINCT_2_RATIO
        results.append(Check(name="distinct_2", value=distinct_2_ratio, threshold=threshold, passed=passed))
    return results


def judge_checks(evaluations: Mapping[str, Sequence[Predictor]]) -> list[Check]:
    """Check that each reward model agrees with people better than the classical baselines on the same texts.

    Args:
        evaluations: stage → rows of its reward model's evaluation.
    """
    results: list[Check] = []
    for stage, rows in evaluations.items():
        correlations = {
            kind: [row.pearson for row in rows if row.kind == kind and row.pearson is not None]
            for kind in ("model", "baseline")
        }
        if correlations["model"] and correlations["baseline"]:
            r, threshold = correlations["model"][0], max(correlations["baseline"])
            results.append(
                Check(name="reward_model", judge=stage, value=r, threshold=threshold, passed=r > threshold)
            )
    return results


def _ratio(value: float | None, reference: float | None) -> float | None:
    """Return the ratio of two figures; `None` if either is unknown or the second is 0."""
    return None if value is None or not reference else value / reference


def _by_prompt(values: FloatArray, samples: PolicySamples) -> list[FloatArray]:
    """Split the rollouts' values `[N]` by prompt, in the order of the prompts: `[K]` each."""
    ids = [r.prompt.id for r in samples.rollouts]
    return [values[[row for row, other in enumerate(ids) if other == one]] for one in dict.fromkeys(ids)]


def _mean(values: FloatArray, samples: PolicySamples, seed: int) -> Estimate:
    """Return the mean over prompts of the prompts' means, with a bootstrap interval over prompts."""
    means = np.array([part.mean() for part in _by_prompt(values, samples)])
    return bootstrap(lambda at, _: float(means[at].mean()), len(means), seed)
