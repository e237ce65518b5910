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
LARGEST_NLL = 700.0  # nats; exp of more overflows a double, and diverged weights can reach it
BUDGET = 2048  # tokens of a micro-batch
LONGEST = 100_000  # tokens of a text, for a model with unknown context length


@dataclass(frozen=True)
class PolicySamples:
    """The samples of one policy, with their scores.

    Attributes:
        name: name of the policy.
        rollouts: K for each prompt, prompt by prompt.
        scores: judge → score of each rollout, `[N]`.
        kl: k1 estimate of each rollout's KL to the reference, in nats, `[N]`; `None` for the reference itself.
        perplexity: perplexity on texts by people; `None` without texts.
    """

    name: str
    rollouts: list[Rollout]
    scores: Mapping[str, FloatArray]
    kl: FloatArray | None
    perplexity: float | None

    @property
    def texts(self) -> list[str]:
        """The texts of the completions."""
        return [r.completion.text for r in self.rollouts]


def best_of_kl(best: PolicySamples, n: int, sampling: Sampling) -> dict[str, float | None]:
    """KL of best-of-n to the policy itself, in nats: the bound for any judge, and an estimate.

    Args:
        best: samples from `best_of_n`.
        n: draws per completion.
        sampling: settings of the draws. The estimate needs the probabilities of whole texts under the policy, so
            there is none if the sampling changes the distribution or a text was truncated.

    Returns:
        `kl_bound`, which is log n − (n − 1)/n, and `kl_estimate` (see `evaluation.best_of_n`), or `None`.
    """
    known = sampling.on_policy and all(rollout.finished for rollout in best.rollouts)
    logprobs = [min(math.fsum(rollout.logprobs), 0.0) for rollout in best.rollouts]
    return {"kl_bound": kl_bound(n), "kl_estimate": kl_estimate(n, logprobs) if known else None}


def best_of_n(samples: PolicySamples, n: int, judge: str) -> PolicySamples:
    """Best-of-n samples: the best of every n completions of a prompt by one judge.

    The K completions of a prompt make K // n draws; nothing is sampled again. The KL to the policy is at most
    `log n − (n − 1)/n` nats (Beirami et al. 2024) for any judge.

    Args:
        samples: samples of the policy.
        n: completions per draw.
        judge: name of the judge whose scores decide.
    """
    best = best_rows([r.prompt.id for r in samples.rollouts], samples.scores[judge].tolist(), n)
    scores = {name: values[best] for name, values in samples.scores.items()}
    return PolicySamples(
        f"{samples.name}, best of {n}", [samples.rollouts[row] for row in best], scores, None, None
    )


@torch.no_grad()
def perplexity(policy: Policy, texts: Sequence[Demonstration]) -> float | None:
    """`exp` of the mean negative log-likelihood of a completion token, the end included.

    Texts longer than the model's context are left out with a message; `None` if none is left.
    """
    limit = token_limit(LONGEST, policy.network.config)
    examples, refused = encode_demonstrations(texts, policy.tokenizer, limit)
    if refused:
        console.print(f"  perplexity without {len(refused)} of {len(texts)} texts, longer than {limit} tokens")
    if not examples:
        return None
    total, count = 0.0, 0
    for rows in watched(list(pack_by_tokens([e.cost for e in examples], BUDGET)), "perplexity"):
        tokens = token_groups([examples[r] for r in rows])
        total -= float(masked_sum(policy.logprobs(tokens).cpu(), tokens.mask).sum())
        count += int(tokens.mask.sum())
    return math.exp(min(total / count, LARGEST_NLL))


def sample_all(
    policy: Policy, prompts: Sequence[Any], sampling: Sampling, seed: int, report: Callable[[int], None]
) -> list[Rollout]:
    """Sample K completions per prompt.

    Args:
        policy: model to sample from.
        prompts: prompts of the evaluation.
        sampling: settings.
        seed: seed of the draws.
        report: called with the number of finished completions.
    """
    return NativeSampler(policy, report).sample(prompts, sampling, seed=seed)


@torch.no_grad()
def kl_to_reference(rollouts: Sequence[Rollout], reference: Policy, temperature: float) -> FloatArray:
    """The k1 estimate of each completion's KL to the reference, in nats, `[N]`.

    Args:
        rollouts: samples with their log-probabilities under the sampling policy.
        reference: the reference policy.
        temperature: temperature of the sampling.
    """
    kl = np.empty(len(rollouts))
    costs = [len(r.prompt_ids) + len(r.token_ids) for r in rollouts]
    for rows in watched(list(pack_by_tokens(costs, BUDGET)), "KL to the reference"):
        part = build_experience([rollouts[r] for r in rows], torch.zeros(len(rows)))
        reference_logprobs = reference.logprobs(part.tokens, temperature=temperature).cpu()
        kl[rows] = masked_sum(k1(part.logprobs, reference_logprobs), part.tokens.mask).numpy()
    return kl


def describe(samples: PolicySamples, seed: int) -> ModelRow:
    """One model's row of the evaluation table."""
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
    """Share of comparisons of completions of a prompt that the candidate wins; ties count half.

    Every completion of one is compared with every completion of the other for the same prompt: the K draws of a
    prompt are exchangeable, so this estimate has the lowest variance. The interval is a bootstrap over prompts.

    Args:
        candidate: samples of the candidate.
        other: samples of the model that it is compared with.
        judge: name of the judge whose scores decide.
        seed: seed of the bootstrap.
    """
    candidate_scores, other_scores = (_by_prompt(v.scores[judge], v) for v in (candidate, other))
    signs = [np.sign(a[:, None] - b[None, :]) for a, b in zip(candidate_scores, other_scores, strict=True)]
    rates = np.array([((s > 0) + 0.5 * (s == 0)).mean() for s in signs])
    estimate = bootstrap(lambda at, _: float(rates[at].mean()), len(rates), seed)
    everything = np.concatenate([s.ravel() for s in signs])
    return WinRate(
        model=candidate.name,
        against=other.name,
        judge=judge,
        wins=int((everything > 0).sum()),
        ties=int((everything == 0).sum()),
        losses=int((everything < 0).sum()),
        rate=estimate.value,
        low=estimate.low,
        high=estimate.high,
    )


def checks(
    candidate: ModelRow, reference: ModelRow, wins: Sequence[WinRate], independent: Sequence[str]
) -> list[Check]:
    """The checks that the candidate must pass to be called better; unmeasured figures are not checked.

    Args:
        candidate: the candidate's row of the table.
        reference: the reference's row.
        wins: rows of win rates.
        independent: names of the independent judges.
    """
    results: list[Check] = []
    for row in wins:
        if (row.model, row.against) == (candidate.model, reference.model) and row.judge in independent:
            clear = row.low is not None and row.low > 0.5
            results.append(
                Check(name="win_rate", judge=row.judge, value=row.rate, low=row.low, threshold=0.5, passed=clear)
            )
    rise = _ratio(candidate.perplexity, reference.perplexity)
    if rise is not None:
        results.append(Check(name="perplexity", value=rise, threshold=1.15, passed=rise < 1.15))
    # Texts of one word have no word pairs: no diversity for the candidate, undefined for the reference.
    variety = _ratio(candidate.distinct_2 or 0.0, reference.distinct_2)
    if variety is not None:
        results.append(Check(name="distinct_2", value=variety, threshold=0.8, passed=variety >= 0.8))
    return results


def judge_checks(evaluations: Mapping[str, Sequence[Predictor]]) -> list[Check]:
    """Check that each reward model agrees with people better than the classical baselines on the same texts.

    Args:
        evaluations: rows of each reward model's evaluation, by stage.
    """
    results: list[Check] = []
    for stage, rows in evaluations.items():
        of_kind = {
            kind: [row.pearson for row in rows if row.kind == kind and row.pearson is not None]
            for kind in ("model", "baseline")
        }
        if of_kind["model"] and of_kind["baseline"]:
            r, bar = of_kind["model"][0], max(of_kind["baseline"])
            results.append(Check(name="reward_model", judge=stage, value=r, threshold=bar, passed=r > bar))
    return results


def _ratio(value: float | None, to: float | None) -> float | None:
    """The ratio of two figures; `None` if either is unknown or the second is 0."""
    return None if value is None or not to else value / to


def _by_prompt(values: FloatArray, samples: PolicySamples) -> list[FloatArray]:
    names = [r.prompt.id for r in samples.rollouts]
    return [values[[i for i, n in enumerate(names) if n == name]] for name in dict.fromkeys(names)]


def _mean(values: FloatArray, samples: PolicySamples, seed: int) -> Estimate:
    """Mean over completions, with a bootstrap interval over prompts."""
    means = np.array([part.mean() for part in _by_prompt(values, samples)])
    return bootstrap(lambda at, _: float(means[at].mean()), len(means), seed)
