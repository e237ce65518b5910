"""Policies side by side: what judges say, how far they went, and what it cost in language."""

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
from gnomon.core.types import Demonstration
from gnomon.data.batching import pack_by_tokens, token_groups
from gnomon.data.encoding import encode_demonstrations, token_limit
from gnomon.evaluation.best_of_n import best_rows, kl_bound, kl_estimate
from gnomon.evaluation.text_metrics import distinct_n, self_bleu
from gnomon.losses.kl import k1
from gnomon.losses.reduce import masked_sum
from gnomon.models.roles import Policy
from gnomon.rollouts.experience import build_experience
from gnomon.rollouts.sampler import NativeSampler
from gnomon.rollouts.sampling_params import Sampling
from gnomon.stats.intervals import Estimate, bootstrap

FloatArray = NDArray[np.float64]
LARGEST_NLL = 700.0  # nats; exp of more fits into no double, and weights that diverged have more
BUDGET = 2048  # tokens of a micro-batch
LONGEST = 100_000  # tokens of a text, where a model's context is not known


@dataclass(frozen=True)
class PolicySamples:
    """One policy and what it wrote.

    Attributes:
        rollouts: K for each prompt, prompt by prompt.
        scores: judge → score of each rollout, `[N]`.
        kl: k1 estimate of each rollout's KL to the reference, in nats, `[N]`; `None` for the reference itself.
        perplexity: on texts by people; `None` where there are none.
    """

    name: str
    rollouts: list[Rollout]
    scores: Mapping[str, FloatArray]
    kl: FloatArray | None
    perplexity: float | None

    @property
    def texts(self) -> list[str]:
        """What it wrote."""
        return [r.completion.text for r in self.rollouts]


def best_of_kl(best: PolicySamples, n: int, sampling: Sampling) -> dict[str, float | None]:
    """How far best-of-n moves a policy from itself, in nats: the bound for any judge, and an estimate.

    Args:
        best: from `best_of_n`.
        n: of how many each of its completions is the best.
        sampling: how they were drawn. The estimate needs the probabilities of whole texts as they were drawn, so
            there is none where the sampling is another distribution than the policy's, or a text was cut off.

    Returns:
        `kl_bound`, which is log n − (n − 1)/n, and `kl_estimate` (see `evaluation.best_of_n`), or `None`.
    """
    known = sampling.on_policy and all(rollout.finished for rollout in best.rollouts)
    logprobs = [min(math.fsum(rollout.logprobs), 0.0) for rollout in best.rollouts]
    return {"kl_bound": kl_bound(n), "kl_estimate": kl_estimate(n, logprobs) if known else None}


def best_of_n(samples: PolicySamples, n: int, judge: str) -> PolicySamples:
    """What the policy would write if the best of every n of its completions by `judge` were taken.

    The K completions of a prompt make K // n draws of it; no more is sampled. Its KL to the policy is at most
    `log n − (n − 1)/n` nats (Beirami et al. 2024), whatever the judge.
    """
    best = best_rows([r.prompt.id for r in samples.rollouts], samples.scores[judge].tolist(), n)
    scores = {name: values[best] for name, values in samples.scores.items()}
    return PolicySamples(
        f"{samples.name}, best of {n}", [samples.rollouts[row] for row in best], scores, None, None
    )


@torch.no_grad()
def perplexity(policy: Policy, texts: Sequence[Demonstration]) -> float | None:
    """`exp` of the mean negative log-likelihood of a completion token, the end included.

    Texts that the model's context does not hold are left out, and said; `None` where none is left.
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
    """K completions a prompt."""
    return NativeSampler(policy, report).sample(prompts, sampling, seed=seed)


@torch.no_grad()
def kl_to_reference(rollouts: Sequence[Rollout], reference: Policy, temperature: float) -> FloatArray:
    """The k1 estimate of each completion's KL, in nats, `[N]`."""
    found = np.empty(len(rollouts))
    costs = [len(r.prompt_ids) + len(r.token_ids) for r in rollouts]
    for rows in watched(list(pack_by_tokens(costs, BUDGET)), "KL to the reference"):
        part = build_experience([rollouts[r] for r in rows], torch.zeros(len(rows)))
        theirs = reference.logprobs(part.tokens, temperature=temperature).cpu()
        found[rows] = masked_sum(k1(part.logprobs, theirs), part.tokens.mask).numpy()
    return found


def describe(samples: PolicySamples, seed: int) -> dict[str, Any]:
    """One row of the table."""
    lengths = np.array([len(r.token_ids) for r in samples.rollouts], dtype=np.float64)
    kl = None if samples.kl is None else _mean(samples.kl, samples, seed)
    return {
        "model": samples.name,
        "scores": {
            judge: _named("mean", _mean(scores, samples, seed)) for judge, scores in samples.scores.items()
        },
        "kl": kl.value if kl else None,
        "kl_low": kl.low if kl else None,
        "kl_high": kl.high if kl else None,
        "perplexity": samples.perplexity,
        "distinct_1": distinct_n(samples.texts, 1),
        "distinct_2": distinct_n(samples.texts, 2),
        "self_bleu": self_bleu(samples.texts, seed=seed),
        "length_mean": float(lengths.mean()),
        "unfinished_share": 1 - sum(r.finished for r in samples.rollouts) / len(samples.rollouts),
    }


def win_rate(candidate: PolicySamples, other: PolicySamples, judge: str, seed: int) -> dict[str, Any]:
    """How often the candidate's completion of a prompt beats the other's; ties count half.

    Every completion of one is compared with every completion of the other for the same prompt: the K draws of a
    prompt are exchangeable, so this is the estimate with the least variance. The interval is a bootstrap over
    prompts.
    """
    mine, theirs = (_by_prompt(v.scores[judge], v) for v in (candidate, other))
    signs = [np.sign(a[:, None] - b[None, :]) for a, b in zip(mine, theirs, strict=True)]
    rates = np.array([((s > 0) + 0.5 * (s == 0)).mean() for s in signs])
    estimate = bootstrap(lambda at, _: float(rates[at].mean()), len(rates), seed)
    everything = np.concatenate([s.ravel() for s in signs])
    return {
        "model": candidate.name,
        "against": other.name,
        "judge": judge,
        "wins": int((everything > 0).sum()),
        "ties": int((everything == 0).sum()),
        "losses": int((everything < 0).sum()),
        **_named("rate", estimate),
    }


def checks(
    candidate: Mapping[str, Any],
    reference: Mapping[str, Any],
    wins: Sequence[Mapping[str, Any]],
    independent: Sequence[str],
) -> list[dict[str, Any]]:
    """What has to hold before the candidate may be called better; what was not measured is not demanded."""
    found: list[dict[str, Any]] = []
    for row in wins:
        if (
            row["model"] == candidate["model"]
            and row["against"] == reference["model"]
            and row["judge"] in independent
        ):
            clear = row["low"] is not None and row["low"] > 0.5
            facts = {"judge": row["judge"], "value": row["rate"], "low": row["low"]}
            found.append({"name": "win_rate", **facts, "threshold": 0.5, "passed": clear})
    rise = _ratio(candidate["perplexity"], reference["perplexity"])
    if rise is not None:
        found.append({"name": "perplexity", "value": rise, "threshold": 1.15, "passed": rise < 1.15})
    # Texts of one word have no pairs of words. Of a candidate that is no variety; of a reference, no measure.
    own, theirs = candidate["distinct_2"], reference["distinct_2"]
    own = 0.0 if own is not None and math.isnan(own) else own
    variety = _ratio(own, None if theirs is None or math.isnan(theirs) else theirs)
    if variety is not None:
        found.append({"name": "distinct_2", "value": variety, "threshold": 0.8, "passed": variety >= 0.8})
    return found


def judge_checks(examinations: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Whether each reward model agrees with people better than the classical baselines on the same texts do.

    Args:
        examinations: rows of an examination by the stage that trained the model, each with `kind` and `pearson`.
    """
    found: list[dict[str, Any]] = []
    for stage, rows in examinations.items():
        of_kind = {
            kind: [row["pearson"] for row in rows if row["kind"] == kind and row["pearson"] is not None]
            for kind in ("model", "baseline")
        }
        if of_kind["model"] and of_kind["baseline"]:
            r, bar = of_kind["model"][0], max(of_kind["baseline"])
            facts = {"judge": stage, "value": r, "threshold": bar}
            found.append({"name": "reward_model", **facts, "passed": r > bar})
    return found


def _ratio(value: float | None, to: float | None) -> float | None:
    """`None` where either is not known or there is nothing to compare with."""
    return None if value is None or not to else value / to


def _by_prompt(values: FloatArray, samples: PolicySamples) -> list[FloatArray]:
    names = [r.prompt.id for r in samples.rollouts]
    return [values[[i for i, n in enumerate(names) if n == name]] for name in dict.fromkeys(names)]


def _mean(values: FloatArray, samples: PolicySamples, seed: int) -> Estimate:
    """Mean over completions, with a bootstrap interval over prompts."""
    means = np.array([part.mean() for part in _by_prompt(values, samples)])
    return bootstrap(lambda at, _: float(means[at].mean()), len(means), seed)


def _named(name: str, estimate: Estimate) -> dict[str, float | None]:
    return {name: estimate.value, "low": estimate.low, "high": estimate.high}
