"""Measure what docs/correctness.md says of the enumerated world, and draw its pictures.

    python docs/pictures/make.py           measure (a few minutes on one core), then draw
    python docs/pictures/make.py --draw    draw from measured.json

The world, its exact gradients and the training runs are those of tests/algorithms.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from drawing import BLUE, GREY, HERE, ORANGE, figure, save
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "algorithms"))
worlds: Any = importlib.import_module("worlds")
proof: Any = importlib.import_module("test_enumerated_world")
others: Any = importlib.import_module("test_other_optima")
lengths: Any = importlib.import_module("test_length_drift")

BETA, ROUNDS, SEEDS, EVERY = 0.5, 120, 5, 2
BANDIT, BANDIT_BETA = worlds.World(letters=3, longest=1, prompts=1), 0.8
GREEN, RED = "#3c7d3c", "#a02020"
Found = dict[str, Any]


# Measuring.


class Watched:
    """An algorithm, and what `look` says of the policy before each of its steps."""

    def __init__(self, algorithm: Any, look: Callable[[Any], Any]):
        self.algorithm, self.look, self.seen = algorithm, look, list[Any]()

    def compute_advantages(self, experience: Any) -> Any:
        """The algorithm's."""
        return self.algorithm.compute_advantages(experience)

    def loss(self, models: Any, batch: Any) -> Any:
        """The algorithm's, after a look."""
        self.seen.append(self.look(models.policy))
        return self.algorithm.loss(models, batch)


def distances() -> Found:
    """Total variation to π* before every other round and after the last, five seeds of each online algorithm."""
    reference, rewards = worlds.TablePolicy(proof.SMALL, seed=2), proof.SMALL.rewards(seed=3)
    best = worlds.optimum(reference, rewards, BETA)
    found: Found = {}
    cases = {name: (algorithm, BETA) for name, (algorithm, _) in proof.REACHES.items()}
    cases |= {name: (algorithm, 0.0) for name, (algorithm, _) in others.LIMITS.items()}
    for name, (algorithm, beta) in cases.items():
        found[name] = []
        for seed in range(SEEDS):
            watched = Watched(algorithm, lambda policy: worlds.total_variation(policy, best))
            policy = proof.train(watched, seed, beta=beta, rounds=ROUNDS)
            curve = [*watched.seen, worlds.total_variation(policy, best)]
            found[name].append([round(v, 4) for v in curve[::EVERY]])
        print(f"{name:18}", "  ".join(f"{curve[-1]:.4f}" for curve in found[name]), flush=True)
    return found


def best_completions() -> Found:
    """What the two that go to the best completion leave to all others, five seeds."""
    return {
        name: [round(others.missed(algorithm, seed), 4) for seed in range(SEEDS)]
        for name, (algorithm, _) in others.LIMITS.items()
    }


def directions() -> Found:
    """Cosine and relative length of expected gradients beside the exact one."""
    small, wide = proof.Setting(proof.SMALL), proof.Setting(proof.WIDE)
    price = worlds.Pricing
    grpo, rloo = proof.GRPO, proof.RLOO()
    cases: dict[str, Tensor] = {
        "RLOO": small.gradient(rloo, k=3),
        "Dr. GRPO": small.gradient(proof.DrGRPO(), k=3),
        "1/deviation alone": small.gradient(grpo(aggregate="constant"), k=3),
        "1/length alone": small.gradient(grpo(scale=False), k=3),
        "GRPO": small.gradient(grpo(), k=3),
        "GRPO, k3 in the loss": small.gradient(grpo(), k=3, pricing=price("loss", "k3")),
        "GRPO, k3 in the loss, not exact": small.gradient(
            grpo(), k=3, pricing=price("loss", "k3", unbiased_gradient=False)
        ),
        "GSPO": small.gradient(proof.GSPO(), k=3),
        "DAPO": small.gradient(proof.DAPO(), k=3),
        "CISPO": small.gradient(proof.CISPO(), k=3),
        "OPO": small.gradient(proof.REACHES["opo"][0], k=3),
        "k1 in the loss": small.gradient(rloo, k=2, pricing=price("loss", "k1", unbiased_gradient=False)),
        "k2 in the loss": small.gradient(rloo, k=2, pricing=price("loss", "k2", unbiased_gradient=False)),
        "k3 in the loss": small.gradient(rloo, k=2, pricing=price("loss", "k3", unbiased_gradient=False)),
        "k1 in the loss, exact": small.gradient(rloo, k=2, pricing=price("loss", "k1")),
        "k2 in the loss, exact": small.gradient(rloo, k=2, pricing=price("loss", "k2")),
        "k3 in the loss, exact": small.gradient(rloo, k=2, pricing=price("loss", "k3")),
        "k2 in the reward": small.gradient(rloo, k=2, pricing=price("reward", "k2")),
        "k3 in the reward": small.gradient(rloo, k=2, pricing=price("reward", "k3")),
    }
    wider = {
        "PPO, λ = 1": wide.gradient(proof.PPO(gae_lambda=1.0, **proof.PLAIN)),
        "PPO, λ = 0.95": wide.gradient(proof.PPO(gae_lambda=0.95, **proof.PLAIN)),
        "PPO, λ = 0": wide.gradient(proof.PPO(gae_lambda=0.0, **proof.PLAIN)),
        "REINFORCE++": wide.gradient(proof.ReinforcePP(aggregate="constant")),
    }
    found = {}
    for setting, group in ((small, cases), (wide, wider)):
        true = setting.true_gradient()
        for name, gradient in group.items():
            length = float(gradient.norm() / true.norm())
            found[name] = [round(proof.cosine(gradient, true), 4), round(length, 4)]
            print(f"{name:24} cosine {found[name][0]:7.4f}   length {found[name][1]:.4f}")
    return found


def bandit() -> Found:
    """π_ref, π*, the other optimum of k3 in the loss, and where gradient ascent comes to rest with each."""
    reference, rewards = worlds.TablePolicy(BANDIT, seed=2), BANDIT.rewards(seed=3)
    base = reference.probabilities()[0]
    low, high = float(rewards.max()) + 1e-9, float(rewards.max()) + 50.0
    for _ in range(200):
        middle = (low + high) / 2
        total = float((BANDIT_BETA * base / (middle - rewards)).sum())
        low, high = (middle, high) if total > 1 else (low, middle)

    def ascend(exact: bool) -> list[float]:
        policy = worlds.TablePolicy(BANDIT, seed=2)
        models = worlds.TableModels(policy, worlds.TableCritic(BANDIT, torch.zeros(1, dtype=torch.float64)))
        pricing = worlds.Pricing("loss", "k3", exact)
        for _ in range(1500):
            step = worlds.expected_gradient(
                proof.RLOO(), models, reference, rewards, BANDIT_BETA, k=2, pricing=pricing
            )
            policy.table.data += step
        return [round(p, 4) for p in policy.probabilities()[0].tolist()]

    best = worlds.optimum(reference, rewards, BANDIT_BETA)[0]
    other = BANDIT_BETA * base / (low - rewards)
    rounded = {
        name: [round(p, 4) for p in of.tolist()]
        for name, of in {"reference": base, "optimum": best, "other": other, "rewards": rewards}.items()
    }
    return {**rounded, "ascent_exact": ascend(True), "ascent_as_written": ascend(False)}


def frontier() -> Found:
    """KL to the reference and expected reward: π* over β, best-of-n, and what training reaches."""
    world = proof.SMALL
    reference, rewards = worlds.TablePolicy(world, seed=2), world.rewards(seed=3)

    def place(policy: Any) -> list[float]:
        reward, net = (worlds.objective(policy, reference, rewards, b).item() for b in (0.0, 1.0))
        return [round(reward - net, 4), round(reward, 4)]

    def of(probabilities: Tensor) -> list[float]:
        return place(worlds.as_policy(world, probabilities))

    prices = [0.12 * 1.12**i for i in range(45)]
    found: Found = {"optimum": [of(worlds.optimum(reference, rewards, price)) for price in prices]}
    found["best_of_n"] = [of(best_of(reference, rewards, n)) for n in (1, 2, 4, 8, 16)]
    for name, algorithm in (("PPO", proof.PPO(value_weight=1.0)), ("RLOO", proof.RLOO())):
        found[name] = [place(proof.train(algorithm, 0, beta=price)) for price in (0.2, 0.35, 0.5, 0.8, 1.5, 3.0)]
    watched = Watched(others.ExpertIteration(), place)
    proof.train(watched, 0, beta=0.0)
    found["expert iteration"] = [watched.seen[r] for r in (2, 4, 8, 12, 18, 30, 60, 119)]
    return found


def best_of(reference: Any, rewards: Tensor, n: int) -> Tensor:
    """The distribution of the best of n draws from the reference, `[prompts, completions]`: F(r)^n − F(r⁻)^n."""
    base = reference.probabilities()
    order = rewards.view(base.shape).argsort(dim=1)
    up_to = base.gather(1, order).cumsum(1).clamp(max=1.0)
    below = torch.cat([torch.zeros_like(up_to[:, :1]), up_to[:, :-1]], 1)
    return torch.zeros_like(base).scatter(1, order, up_to**n - below**n)


# Drawing.


def draw_distances(found: Found) -> None:
    """A small picture for each algorithm, five seeds in each."""
    from matplotlib.figure import Figure

    down = math.ceil(len(found) / 4)
    made = Figure(figsize=(8.4, 0.5 + 1.7 * down), layout="constrained")
    grid = made.subplots(down, 4, sharex=True, sharey=True).flatten()
    for axes in grid[len(found) :]:
        axes.set_axis_off()
    for axes in grid[len(found) - 4 : len(found)]:
        axes.tick_params(labelbottom=True)  # the lowest of its column, whatever is below it
    for axes, (name, curves) in zip(grid, found.items(), strict=False):
        reaches = name in proof.REACHES
        for curve in curves:
            axes.plot(
                range(0, ROUNDS + 1, EVERY), curve, color=BLUE if reaches else ORANGE, linewidth=0.9, alpha=0.7
            )
        if reaches:
            axes.axhline(proof.REACHES[name][1], color=GREY, linewidth=0.8, linestyle="--")
        axes.set_title(name, fontsize=10)
        axes.set_yscale("log")
        axes.set_ylim(1e-3, 1)
        axes.spines[["top", "right"]].set_visible(False)
    made.supxlabel("rounds of 128 samples")
    made.supylabel("total variation to π*")
    save(made, "distance_to_optimum", dpi=95)


def draw_bandit(found: Found) -> None:
    """Bars of probabilities, and marks where gradient ascent ended."""
    made, axes = figure()
    bars = [
        ("reference", "π_ref", GREY),
        ("optimum", "π* ∝ π_ref·exp(r/β)", BLUE),
        ("other", "β·π_ref/(λ − r)", ORANGE),
    ]
    for i, (key, label, colour) in enumerate(bars):
        places = [a + 0.27 * (i - 1) for a in range(len(found[key]))]
        axes.bar(places, found[key], width=0.25, color=colour, label=label)
    marks = [
        ("ascent_exact", 0.0, "o", "ascent, k3 in the loss, exact"),
        ("ascent_as_written", 0.27, "x", "ascent, k3 in the loss as commonly written"),
    ]
    for key, shift, mark, label in marks:
        places = [a + shift for a in range(len(found[key]))]
        axes.plot(places, found[key], mark, color="black", markersize=5, label=label)
    axes.set_xticks(range(len(found["rewards"])), [f"r = {r:+.2f}" for r in found["rewards"]])
    axes.set_ylabel("probability")
    axes.legend(frameon=False, fontsize=8)
    save(made, "k3_in_the_loss")


def draw_length_drift() -> None:
    """The stop logit's expected gradient when all advantages are equal."""
    made, axes = figure()
    chances = [0.01 * i for i in range(1, 100)]
    axes.plot(
        chances,
        [p / (1 - p) * -math.log(p) - p for p in chances],
        color=ORANGE,
        label="1/L: p/(1 − p)·(−ln p) − p",
    )
    axes.axhline(0, color=BLUE, label="constant divisor: 0")
    some = [0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    for by_length, colour in ((True, ORANGE), (False, BLUE)):
        points = [stop_gradient(p, by_length) for p in some]
        label = "enumerated" if by_length else None
        axes.plot(some, points, "o", color=colour, markersize=4, label=label)
    axes.set_xlabel("probability p of stopping at each token")
    axes.set_ylabel("expected gradient of the stop logit")
    axes.legend(frameon=False, fontsize=8)
    save(made, "length_drift")


def stop_gradient(p: float, by_length: bool, longest: int = 2000) -> float:
    """By automatic differentiation over every length up to `longest`."""
    logit = torch.tensor(math.log(p / (1 - p)), dtype=torch.float64, requires_grad=True)
    stop, go = torch.nn.functional.logsigmoid(logit), torch.nn.functional.logsigmoid(-logit)
    lengths = torch.arange(1, longest + 1, dtype=torch.float64)
    chance = p * (1 - p) ** (lengths - 1)
    each = (stop + (lengths - 1) * go) / (lengths if by_length else 1.0)
    return float(torch.autograd.grad((chance * each).sum(), logit)[0])


def draw_best_of_n() -> None:
    """Exact KL of best-of-n in worlds of growing size, below its bound."""
    made, axes = figure()
    counts = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]
    axes.plot(counts, [math.log(n) - (n - 1) / n for n in counts], color="black", label="log n − (n − 1)/n")
    for (letters, longest), colour in (((2, 2), ORANGE), ((3, 3), GREEN), ((4, 4), BLUE)):
        world = worlds.World(letters=letters, longest=longest, prompts=1)
        reference, rewards = worlds.TablePolicy(world, seed=2), world.rewards(seed=3)
        base = reference.probabilities()
        exact = []
        for n in counts:
            chosen = best_of(reference, rewards, n)
            exact.append(float((torch.special.xlogy(chosen, chosen / base)).sum()))
        label = f"exact, {len(world.completions)} completions"
        axes.plot(counts, exact, "o-", color=colour, markersize=3, linewidth=1, label=label)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("n")
    axes.set_ylabel("KL to the reference, nats")
    axes.legend(frameon=False, fontsize=8)
    save(made, "best_of_n")


def draw_frontier(found: Found) -> None:
    """Reward over KL."""
    made, axes = figure()
    axes.plot(*zip(*found["optimum"], strict=True), color="black", linewidth=1.2, label="π*, all β")
    marks = {"PPO": ("o", BLUE), "RLOO": ("s", GREEN), "expert iteration": ("^", ORANGE), "best_of_n": ("x", RED)}
    names = {"best_of_n": "best of 1, 2, 4, 8, 16 (exact)", "expert iteration": "expert iteration, on its way"}
    for key, (mark, colour) in marks.items():
        axes.plot(*zip(*found[key], strict=True), mark, color=colour, markersize=5, label=names.get(key, key))
    axes.set_xlabel("KL(π‖π_ref), nats a completion")
    axes.set_ylabel("expected reward")
    axes.legend(frameon=False, fontsize=8)
    save(made, "frontier")


def main() -> None:
    """Measure unless told to draw only, then draw."""
    torch.set_num_threads(1)
    numbers = HERE / "measured.json"
    if "--draw" not in sys.argv:
        found = {"directions": directions(), "bandit": bandit(), "frontier": frontier(), "distances": distances()}
        found |= {"best completions": best_completions(), "drift": lengths.drift()}
        numbers.write_text(json.dumps(found, ensure_ascii=False) + "\n", encoding="utf-8")
    found = json.loads(numbers.read_text(encoding="utf-8"))
    draw_distances(found["distances"])
    draw_bandit(found["bandit"])
    draw_length_drift()
    draw_best_of_n()
    draw_frontier(found["frontier"])


if __name__ == "__main__":
    main()
