"""Draw the reference curves of docs/algorithms and their frontier from runs of the recipes.

    python docs/pictures/recipes.py RUN ...    take the figures of finished runs into recipes.json, then draw
    python docs/pictures/recipes.py            draw from recipes.json

A run of `recipes/algorithms/NAME.yaml` gives the figures of NAME, of its reward model if it aligns no policy;
one of `recipes/film-reviews.yaml` those of ppo, sft and reward_model. A page shows the line of `line(found)`.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from drawing import BLUE, DPI, GREY, HERE, ORANGE, save

STORED = HERE / "recipes.json"
STAGE = "aligned"  # what the recipes call the policy that they align
SHOWN = (
    "score_mean",
    "kl",
    "accuracy",
    "reward_margin",
    "length_mean",
    "loss",
)  # the first two that it logged
WORDS = {
    "score_mean": "reward model's score",
    "kl": "KL to SFT, nats a completion",
    "accuracy": "share of pairs in the right order",
    "reward_margin": "reward margin of the better completion, nats",
    "length_mean": "tokens of a completion",
    "loss": "loss",
}
OTHER_WORDS = {"process_reward": {"accuracy": "share of labels that are right"}}
Found = dict[str, Any]


def rows_of(path: Path) -> list[dict[str, Any]]:
    """A file of metrics."""
    return [json.loads(row) for row in path.read_text(encoding="utf-8").splitlines()]


def curves(stage: Path) -> Found:
    """The first two metrics of interest that the stage recorded; of several phases those of the longest."""
    parts = [p for p in (stage / "metrics.jsonl",) if p.exists()] or list(stage.glob("*/metrics.jsonl"))
    rows = max((rows_of(part) for part in parts), key=len)
    names = [name for name in SHOWN if name in rows[0]][:2]
    return {name: [round(row[name], 3) for row in rows] for name in names}


def beside_sft(result: Found) -> Found:
    """What the evaluation says of the aligned policy, in units of the SFT model where that makes sense."""
    table = {row["model"]: row for row in result["table"]}
    after, before = table[STAGE], table["sft"]
    wins = {
        row["judge"]: [round(row[key], 3) for key in ("rate", "low", "high")]
        for row in result["win_rates"]
        if (row["model"], row["against"]) == (STAGE, "sft")
    }
    return {
        "wins": {judge: wins[judge] for judge in ("vader", "ridge")},
        "kl": [round(after[key], 2) for key in ("kl", "kl_low", "kl_high")],
        "perplexity": round(after["perplexity"] / before["perplexity"], 3),
        "distinct_2": round(after["distinct_2"] / before["distinct_2"], 3),
        "ridge": [round(table[model]["scores"]["ridge"]["mean"], 3) for model in ("sft", STAGE)],
        "length": round(after["length_mean"], 1),
    }


def best_of_n(samples: list[dict[str, Any]]) -> Found:
    """The ridge's mean score of the best of n by the reward model, of SFT's K samples a prompt.

    Exact over the choice of n of K without replacement: the i-th best is the best of n in C(K − i, n − 1) of
    C(K, n) choices. The 95% intervals are over prompts.
    """
    by_prompt: dict[str, list[tuple[float, float]]] = {}
    for row in samples:
        if row["model"] == "sft":
            scores = row["scores"]
            by_prompt.setdefault(row["prompt"], []).append((scores["judge"], scores["ridge"]))
    size = min(map(len, by_prompt.values()))
    ranked = np.array([[ridge for _, ridge in sorted(rows, reverse=True)[:size]] for rows in by_prompt.values()])
    counts = [n for n in (1, 2, 4, 8, 12) if n <= size]
    chance = np.array(
        [[math.comb(size - 1 - i, n - 1) / math.comb(size, n) for i in range(size)] for n in counts]
    )
    means = ranked @ chance.T  # [prompts, counts]
    drawn = np.random.default_rng(0).integers(len(means), size=(2000, len(means)))
    low, high = np.quantile(means[drawn].mean(1), (0.025, 0.975), axis=0)
    return {
        "n": counts,
        "kl": [round(math.log(n) - (n - 1) / n, 3) for n in counts],
        "ridge": means.mean(0).round(3).tolist(),
        "low": low.round(3).tolist(),
        "high": high.round(3).tolist(),
    }


def judged(run: Path) -> Found:
    """The figures of a run's reward model."""
    result = json.loads((run / "judge" / "result.json").read_text(encoding="utf-8"))
    return {"curves": curves(run / "judge"), "judged": result["evaluation"]["rows"][0]}


def take(run: Path, found: Found) -> None:
    """Add a finished run's figures."""
    recipe = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    stages = {row["name"]: row for row in recipe["stages"]}
    if STAGE not in stages:
        found[stages["judge"]["algorithm"]] = judged(run)
        return
    name = stages[STAGE].get("algorithm", "hybrid")
    result = json.loads((run / "report" / "result.json").read_text(encoding="utf-8"))
    found[name] = {"curves": curves(run / STAGE), **beside_sft(result)}
    if name == "ppo":
        found["sft"] = {
            "curves": curves(run / "sft"),
            "best_of_n": best_of_n(rows_of(run / "report" / "samples.jsonl")),
        }
        found["reward_model"] = judged(run)


def line(found: Found) -> str:
    """What a page says of its recipe's run; nothing where only the curves speak."""
    if "judged" in found:
        r, low, high, pairs = (
            found["judged"][key] for key in ("pearson", "pearson_low", "pearson_high", "pair_accuracy")
        )
        return (
            f"On held-out texts r = {r:.2f} ({low:.2f}–{high:.2f}) with people's mean rating, and {pairs:.0%} of "
            "pairs in their order."
        )
    if "wins" not in found:
        return ""
    said = ", ".join(
        f"{judge} {rate:.0%} ({low:.0%}–{high:.0%})" for judge, (rate, low, high) in found["wins"].items()
    )
    nats, low, high = found["kl"]
    return (
        f"Wins against SFT: {said}. KL to SFT {nats:.1f} nats ({low:.1f}–{high:.1f}), perplexity of human texts "
        f"×{found['perplexity']:.2f}, distinct-2 ×{found['distinct_2']:.2f}, {found['length']:.0f} tokens."
    )


def draw_curves(name: str, found: Found) -> None:
    """Two small plots side by side."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(7.0, 2.2), layout="constrained")
    panels = made.subplots(1, len(found["curves"]), squeeze=False)[0]
    for axes, (metric, values) in zip(panels, found["curves"].items(), strict=True):
        axes.plot(range(1, len(values) + 1), values, color=BLUE, linewidth=1.3)
        axes.set_title({**WORDS, **OTHER_WORDS.get(name, {})}[metric], fontsize=9)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    made.supxlabel("step", fontsize=8)
    save(made, f"recipes/{name}")


def write_names(axes: Any, names: list[tuple[float, float, str]]) -> None:
    """By each point its name, moved as little as it takes to stand free, with a thread to it."""
    axes.figure.canvas.draw()
    scale = axes.figure.dpi / 72
    spots = [tuple(axes.transData.transform((x, y)) / scale) for x, y, _ in names]  # in points of 1/72 inch
    taken = [(px - 3, py - 3, px + 3, py + 3) for px, py in spots]
    moves = sorted(
        ((dx, dy) for dx in range(-90, 60, 6) for dy in range(-90, 91, 3)), key=lambda m: math.hypot(*m)
    )
    for (x, y, name), (px, py) in sorted(zip(names, spots, strict=True), key=lambda found: -found[0][1]):
        width, height = 4.4 * len(name) + 2, 9
        for dx, dy in moves:
            left, low = px + 6 + dx, py - height / 2 + dy
            box = (left, low, left + width, low + height)
            if all(box[2] <= o[0] or o[2] <= box[0] or box[3] <= o[1] or o[3] <= box[1] for o in taken):
                taken.append(box)
                thread = {"arrowstyle": "-", "lw": 0.4, "color": GREY} if math.hypot(dx, dy) > 7 else None
                axes.annotate(
                    name, (x, y), xytext=(6 + dx, dy), textcoords="offset points", va="center", fontsize=7.5,
                    arrowprops=thread,
                )  # fmt: skip
                break


def draw_frontier(found: Found) -> None:
    """What each recipe's nats bought, by a judge that none of them trained on."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(7.0, 5.2), dpi=DPI)
    FigureCanvasAgg(made)
    axes = made.subplots()
    names: list[tuple[float, float, str]] = []
    placed = {name: row for name, row in found.items() if "kl" in row}
    for name, row in placed.items():
        nats, low, high = row["kl"]
        online = "score_mean" in row["curves"]
        axes.errorbar(
            nats,
            row["ridge"][1],
            xerr=[[nats - low], [high - nats]],
            fmt="o" if online else "s",
            color=BLUE if online else ORANGE,
            markersize=4,
            elinewidth=0.6,
        )
        names.append((nats, row["ridge"][1], name))
    best = found["sft"]["best_of_n"]
    axes.plot(best["kl"], best["ridge"], "x--", color=GREY, linewidth=0.8, markersize=4)
    axes.fill_between(best["kl"], best["low"], best["high"], color=GREY, alpha=0.12, linewidth=0)
    for n, nats, score in zip(best["n"], best["kl"], best["ridge"], strict=True):
        axes.annotate(
            f"best of {n}", (nats, score), textcoords="offset points", xytext=(5, -9), fontsize=7, color=GREY
        )
    axes.set_xlabel("KL to SFT, nats a completion (95% interval over prompts)")
    axes.set_ylabel("mean score of the ridge, held-out prompts")
    axes.spines[["top", "right"]].set_visible(False)
    write_names(axes, names)
    save(made, "recipes/frontier", bbox_inches="tight")


def main() -> None:
    """Collect, then draw."""
    found: Found = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
    for run in sys.argv[1:]:
        take(Path(run), found)
    found = dict(sorted(found.items()))
    STORED.write_text(json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    for name, row in found.items():
        draw_curves(name, row)
        print(f"{name:18}{line(row)}")
    draw_frontier(found)


if __name__ == "__main__":
    main()
