"""Tables and picture of `benchmarks/overoptimization.py`, from docs/pictures/overoptimization.json.

python docs/pictures/overoptimization.py
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from drawing import BLUE, GREY, HERE, ORANGE, save
from matplotlib.figure import Figure

STORED = HERE / "overoptimization.json"
WAYS = ("mean", "minimum", "mean − std", "WARM", "mean of WARM's")
AT = 4  # index of n = 16; at the largest n each prompt has a single choice
Found = dict[str, Any]


def runs_of(found: Found, **settings: Any) -> list[Found]:
    """The runs with these settings, one for each seed."""
    return [run for run in found["runs"] if all(run[key] == value for key, value in settings.items())]


def curve(runs: list[Found], way: str, what: str = "gold") -> Any:
    """Mean over seeds and prompts for each n."""
    values = np.array([run[way][what] for run in runs])
    return values.mean(tuple(range(values.ndim - 1)))


def fitted(ns: list[int], gain: Any) -> tuple[float, float, float]:
    """α, β and R² of `d·(α − β·d)`."""
    d = np.sqrt([math.log(n) - (n - 1) / n for n in ns])
    design = np.stack([d, -(d**2)], axis=1)
    solution = np.linalg.lstsq(design, gain, rcond=None)[0]
    rest = gain - design @ solution
    return float(solution[0]), float(solution[1]), float(1 - rest @ rest / ((gain - gain.mean()) ** 2).sum())


def difference(runs: list[Found], way: str) -> tuple[float, float, float]:
    """Gold of an ensemble minus gold of one head at n = 16, with a 95% interval over seeds and prompts."""
    gaps = np.array([np.array(run[way]["gold"])[:, AT] - np.array(run["one"]["gold"])[:, AT] for run in runs])
    rng = np.random.default_rng(0)
    seeds, prompts = gaps.shape
    drawn = [
        gaps[np.ix_(rng.integers(seeds, size=seeds), rng.integers(prompts, size=prompts))].mean()
        for _ in range(2000)
    ]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(gaps.mean()), float(low), float(high)


def hacked(runs: list[Found], way: str) -> float:
    """Share of prompts whose gold score falls by more than 0.25 deviations from n = 4 to 16."""
    falls = np.array([np.array(run[way]["gold"])[:, 2] - np.array(run[way]["gold"])[:, AT] for run in runs])
    return float((falls > 0.25).mean())


def tables(found: Found) -> str:
    """The tables of docs/rewards.md."""
    ns = found["runs"][0]["n"]
    sizes = sorted({(run["layers"], run["pairs"], run["noise"]) for run in found["runs"]})
    lines = [
        f"| layers | pairs | reversed | gold at n = 4 | at n = {ns[-1]} | proxy at n = {ns[-1]} | α | β | R² |"
    ]
    lines += ["|---:|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for layers, pairs, noise in sizes:
        runs = runs_of(found, layers=layers, pairs=pairs, noise=noise)
        gold, proxy = curve(runs, "one"), np.mean([run["one"]["proxy"] for run in runs], axis=0)
        alpha, beta, r2 = fitted(ns, gold - gold[0])
        lines.append(
            f"| {layers} | {pairs} | {noise:.0%} | {gold[2]:.2f} | {gold[-1]:.2f} | {proxy[-1] - proxy[0]:.2f} "
            f"| {alpha:.2f} | {beta:.2f} | {r2:.3f} |"
        )
    lines += ["", f"| pairs | reversed | {' | '.join(WAYS)} |", "|---:|---:|" + "---:|" * len(WAYS)]
    largest = max(run["layers"] for run in found["runs"])
    for _, pairs, noise in [size for size in sizes if size[0] == largest]:
        runs = runs_of(found, layers=largest, pairs=pairs, noise=noise)
        cells = [
            f"{value:+.2f} ({low:+.2f} to {high:+.2f})"
            for value, low, high in (difference(runs, w) for w in WAYS)
        ]
        lines.append(f"| {pairs} | {noise:.0%} | {' | '.join(cells)} |")
    lines += ["", f"| pairs | reversed | one | {' | '.join(WAYS)} |", "|---:|---:|" + "---:|" * (len(WAYS) + 1)]
    for _, pairs, noise in [size for size in sizes if size[0] == largest]:
        runs = runs_of(found, layers=largest, pairs=pairs, noise=noise)
        cells = [f"{hacked(runs, way):.1%}" for way in ("one", *WAYS)]
        lines.append(f"| {pairs} | {noise:.0%} | {' | '.join(cells)} |")
    return "\n".join(lines).replace("-", "-")


def draw(found: Found) -> None:
    """Gold and proxy over the distance from the policy."""
    ns = found["runs"][0]["n"]
    d = np.sqrt([math.log(n) - (n - 1) / n for n in ns])
    made = Figure(figsize=(7.4, 3.0), layout="constrained")
    layers = max(run["layers"] for run in found["runs"])
    for axes, noise in zip(made.subplots(1, 2, sharey=True), (0.0, 0.25), strict=True):
        axes.plot(d, found["best"], color=GREY, linewidth=1, linestyle=":", label="best of n by gold")
        for pairs, color in ((50, ORANGE), (800, BLUE)):
            runs = runs_of(found, layers=layers, pairs=pairs, noise=noise)
            axes.plot(d, curve(runs, "one"), color=color, label=f"{pairs} pairs")
            axes.plot(
                d, curve(runs, "mean − std"), color=color, linestyle="--", label=f"{pairs} pairs, mean − std of 5"
            )
        axes.set_title(f"{noise:.0%} of the labels reversed", fontsize=9)
        axes.set_xlabel("√KL, nats", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    made.axes[0].set_ylabel("gold score, deviations", fontsize=8)
    made.axes[0].legend(fontsize=7, frameon=False)
    save(made, "overoptimization")


if __name__ == "__main__":
    content = json.loads(STORED.read_text(encoding="utf-8"))
    print(tables(content))
    draw(content)
