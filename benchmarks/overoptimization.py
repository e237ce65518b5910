"""Over-optimization in miniature: a proxy of a gold reward model, and what best-of-n makes of its errors.

    python benchmarks/overoptimization.py --policy RUN/sft/model --gold RUN/judge/model --prompts PROMPTS.jsonl
    python docs/pictures/overoptimization.py     print the tables, draw the picture

A policy samples completions; half of each prompt's are compared in pairs by the gold model, whose choices (a draw
from its own probability, a share of them reversed) train proxies: heads on a frozen trunk of some layers. On the
other half, the expected gold score of the best of n by each proxy is exact over all choices of n. Gao et al.
(2022) fit `d·(α − β·d)` to it, d the square root of `log n − (n − 1)/n`. Ensembles of five heads, each on a
bootstrap of the pairs, stand beside one head, over five seeds (Coste et al. 2023). What is done already lies in
`--work`.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import gnomon
from gnomon.core.storage.files import write_atomically
from gnomon.core.types import Completion, Prompt
from gnomon.data.batching import pack_by_tokens, token_groups
from gnomon.data.encoding import encode_completions
from gnomon.data.records import read_records
from gnomon.losses.ensembles import minimum_score, penalized_score
from gnomon.losses.preference import bradley_terry
from gnomon.models.engine.device import find_compute
from gnomon.models.loading import load_reward_model
from gnomon.models.roles import RewardModel
from gnomon.models.scalar_head import last_states
from gnomon.models.settings import FROZEN
from gnomon.rewards.reward import LearnedReward

STORED = Path(__file__).resolve().parents[1] / "docs" / "pictures" / "overoptimization.json"
LAYERS = (6, 12, 24)
AMOUNTS = (50, 200, 800)  # pairs
NOISE = (0.0, 0.25)
SEEDS = 5
MEMBERS = 5
HIDDEN = 32
STEPS, RATE, DECAY = 200, 0.01, 0.01
LARGEST = 32  # n
Floats = NDArray[np.float64]


def sampled(policy: str, prompts: Sequence[Prompt], count: int, work: Path) -> list[list[str]]:
    """`count` texts for each prompt."""
    file = work / "completions.json"
    if not file.exists():
        model = gnomon.load_policy(policy)
        rollouts = gnomon.sample(model, prompts, completions=count, max_tokens=40, temperature=1.0, seed=0)
        texts = [rollout.completion.text for rollout in rollouts]
        write_atomically(file, json.dumps([texts[row : row + count] for row in range(0, len(texts), count)]))
    rows: list[list[str]] = json.loads(file.read_text(encoding="utf-8"))
    return rows


def gold_scores(gold: str, prompts: Sequence[Prompt], texts: Sequence[Sequence[str]], work: Path) -> Floats:
    """Scores of the gold model in logits, `[prompts, completions]`."""
    file = work / "gold.npy"
    if not file.exists():
        judge = gnomon.load_reward_model(gold)
        assert isinstance(judge, RewardModel)
        reward = LearnedReward(judge, "gold")
        rows = [
            (prompt, Completion("", text)) for prompt, row in zip(prompts, texts, strict=True) for text in row
        ]
        values = reward.score([prompt for prompt, _ in rows], [one for _, one in rows]).values.double()
        if reward.model.steps is not None:
            values = values.logit()
        assert values.isfinite().all()
        np.save(file, values.numpy().reshape(len(prompts), -1))
    return np.asarray(np.load(file))


@torch.no_grad()
def trunk_states(
    policy: str, layers: int, prompts: Sequence[Prompt], texts: Sequence[Sequence[str]], work: Path
) -> Tensor:
    """Standardized states at the last token, `[prompts, completions, d]`."""
    file = work / f"states-{layers}.npy"
    if not file.exists():
        model = load_reward_model(policy, find_compute("auto", "float32"), FROZEN, seed=0, num_layers=layers)
        assert isinstance(model, RewardModel)
        questions = [prompt for prompt, row in zip(prompts, texts, strict=True) for _ in row]
        answers = [Completion("", text) for row in texts for text in row]
        examples: list[Any] = list(encode_completions(questions, answers, model.tokenizer))
        ends: list[Any] = [None] * len(examples)
        for rows in pack_by_tokens([one.cost for one in examples], 4096):
            groups = token_groups([examples[row] for row in rows])
            last = last_states(model._states(groups, "end").float(), groups.lengths)
            for row, state in zip(rows, last, strict=True):
                ends[row] = state.numpy()
        np.save(file, np.stack(ends).reshape(len(prompts), -1, len(ends[0])))
    states = torch.from_numpy(np.load(file))
    return (states - states.mean((0, 1))) / states.std((0, 1)).clamp(min=1e-6)


class Head(nn.Module):
    """One hidden layer of tanh units."""

    def __init__(self, width: int, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        self.hidden, self.out = nn.Linear(width, HIDDEN), nn.Linear(HIDDEN, 1, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        """`[…, d] -> […]`."""
        scores: Tensor = self.out(torch.tanh(self.hidden(states))).squeeze(-1)
        return scores


def fit_head(states: Tensor, pairs: Tensor, weight: Tensor, seed: int) -> Head:
    """Train a head on pairs of rows (better, worse), `[M, 2]`, with weights `[M]`."""
    head = Head(states.shape[-1], seed)
    optimizer = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=DECAY)
    better, worse = states[pairs[:, 0]], states[pairs[:, 1]]
    sure = torch.ones(len(pairs))
    for _ in range(STEPS):
        optimizer.zero_grad()
        ((weight * bradley_terry(head(better), head(worse), sure)).sum() / weight.sum()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return head.eval()


def gold_pairs(gold: Floats, amount: int, noise: float, rng: np.random.Generator) -> Tensor:
    """Pairs of completions of one prompt as flat rows, the one that gold chose first, `[M, 2]`."""
    prompts, count = gold.shape
    rows = []
    for _ in range(amount):
        prompt = int(rng.integers(prompts))
        first, second = rng.choice(count, 2, replace=False)
        chosen = rng.random() < 1 / (1 + math.exp(gold[prompt, second] - gold[prompt, first]))
        if chosen == (rng.random() < noise):
            first, second = second, first
        rows.append((prompt * count + first, prompt * count + second))
    return torch.tensor(rows)


def best_of(proxy: Floats, value: Floats, ns: Sequence[int]) -> Floats:
    """Expected value of the best of n by the proxy, exact over choices without replacement, `[prompts, ns]`."""
    count = proxy.shape[1]
    ranked = np.take_along_axis(value, np.argsort(-proxy, axis=1, kind="stable"), axis=1)
    chance = np.array([[math.comb(count - 1 - i, n - 1) / math.comb(count, n) for i in range(count)] for n in ns])
    expected: Floats = ranked @ chance.T
    return expected


def averaged(heads: Sequence[Head]) -> Head:
    """A head with the mean of the weights (WARM, Ramé et al. 2024); all started from one initialization."""
    mean = Head(heads[0].hidden.in_features, 0)
    weights = [head.state_dict() for head in heads]
    mean.load_state_dict({name: torch.stack([one[name] for one in weights]).mean(0) for name in weights[0]})
    return mean


@torch.no_grad()
def proxies(heads: dict[str, list[Head]], states: Tensor) -> dict[str, Floats]:
    """Scores `[prompts, completions]` of one head and of the ensembles."""
    members = torch.stack([head(states).flatten() for head in heads["own"]])
    same = torch.stack([head(states).flatten() for head in heads["shared"]])
    ways = {
        "one": members[0],
        "mean": members.mean(0),
        "minimum": minimum_score(members),
        "mean − std": penalized_score(members, 1.0),
        "WARM": averaged(heads["shared"])(states).flatten(),
        "mean of WARM's": same.mean(0),
    }
    return {name: scores.reshape(states.shape[:2]).double().numpy() for name, scores in ways.items()}


def measure(states: Tensor, gold: Floats, amount: int, noise: float, seed: int) -> dict[str, Any]:
    """Train on one half of the completions, and optimize on the other."""
    rng = np.random.default_rng(1000 * seed + amount)
    half = gold.shape[1] // 2
    flat = states[:, :half].reshape(-1, states.shape[-1])
    pairs = gold_pairs(gold[:, :half], amount, noise, rng)
    drawn = [torch.from_numpy(rng.poisson(1.0, len(pairs))).float() for _ in range(MEMBERS - 1)]
    weights = [torch.ones(len(pairs)), *drawn]
    heads = {
        "own": [fit_head(flat, pairs, weight, 100 * seed + member) for member, weight in enumerate(weights)],
        "shared": [fit_head(flat, pairs, weight, 100 * seed) for weight in weights],
    }
    ns = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= min(LARGEST, half)]
    test, value = states[:, half:], gold[:, half:]
    measured: dict[str, Any] = {"n": ns}
    for name, scores in proxies(heads, test).items():
        proxy = best_of(scores, scores, ns).mean(0)
        measured[name] = {"gold": best_of(scores, value, ns).tolist(), "proxy": proxy.tolist()}
    return measured


def main() -> None:
    """Sample, score, train, optimize; store all curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", required=True)
    parser.add_argument("--gold", required=True)
    parser.add_argument("--prompts", required=True, type=Path)
    parser.add_argument("--completions", type=int, default=64, help="for each prompt")
    parser.add_argument("--work", type=Path, default=Path("runs/overoptimization"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    prompts = read_records(Prompt, options.prompts)
    texts = sampled(options.policy, prompts, options.completions, options.work)
    gold = gold_scores(options.gold, prompts, texts, options.work)
    gold = (gold - gold.mean()) / gold.std()
    runs = []
    for layers in LAYERS:
        states = trunk_states(options.policy, layers, prompts, texts, options.work)
        for amount in AMOUNTS:
            for noise in NOISE:
                for seed in range(SEEDS):
                    measured = measure(states, gold, amount, noise, seed)
                    runs.append({"layers": layers, "pairs": amount, "noise": noise, "seed": seed, **measured})
                print(f"{layers} layers, {amount} pairs, {noise:.0%} reversed", flush=True)
    tested = gold[:, gold.shape[1] // 2 :]
    facts = {
        "prompts": len(prompts),
        "completions": gold.shape[1],
        "best": best_of(tested, tested, runs[0]["n"]).mean(0).tolist(),
        "runs": runs,
    }
    write_atomically(STORED, json.dumps(facts, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
