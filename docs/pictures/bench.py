"""Draw what `make bench` measured, from benchmarks/results.json, and print the tables of docs/performance.md.

python docs/pictures/bench.py
"""

from __future__ import annotations

import json
from statistics import median
from typing import Any

from drawing import BLUE, GREY, HERE, ORANGE, figure, save
from matplotlib.figure import Figure

RESULTS = HERE.parents[1] / "benchmarks" / "results.json"
NAMES = {
    "dpo": "DPO",
    "reward_model": "reward model",
    "sft": "SFT",
    "kto": "KTO",
    "grpo": "GRPO",
    "rloo": "RLOO",
    "ppo": "PPO",
    "sample": "sampling",
}
DATA = {"long_prompts": (BLUE, "prompts of 128–256 tokens"), "short_prompts": (ORANGE, "prompts of 32 tokens")}
GOALS = {  # on long prompts: at least so many times as fast, at most such a share of the memory
    "dpo": (5, 0.4),
    "reward_model": (3, 0.5),
    "sft": (3, 0.5),
    "grpo": (5, 0.4),
    "ppo": (6, 0.4),
    "sample": (2.5, 0.7),
}
Found = dict[str, Any]


def draw_bars(found: Found, key: str, name: str, said: str) -> None:
    """A bar for each work and kind of data; the line is TRL."""
    works = [work for work in NAMES if any(work in found.get(data, {}) for data in DATA)]
    made, axes = figure(7.2, 3.4)
    width = 0.38
    for number, (data, (colour, label)) in enumerate(DATA.items()):
        there = [
            (place, found[data][work][key]) for place, work in enumerate(works) if work in found.get(data, {})
        ]
        places = [place + (number - 0.5) * width for place, _ in there]
        bars = axes.bar(places, [value for _, value in there], width * 0.94, color=colour, label=label)
        axes.bar_label(bars, fmt="%.2g" if key == "memory_ratio" else "%.1f", fontsize=8, padding=1)
    axes.axhline(1, color=GREY, linewidth=0.8)
    axes.set_xticks(range(len(works)), [NAMES[work] for work in works])
    axes.set_ylabel(said)
    axes.legend(frameon=False, fontsize=8)
    save(made, name)


def draw_growth(growth: Found) -> None:
    """Above seconds of a step, below peak memory; Gnomon and TRL as one size grows."""
    made = Figure(figsize=(10.5, 4.6), layout="constrained")
    panels = made.subplots(2, len(growth), squeeze=False)
    for column, curve in zip(panels.T, growth.values(), strict=True):
        for axes, key in zip(column, ("seconds", "peak_gb"), strict=True):
            for side, colour, label in (("ours", BLUE, "Gnomon"), ("theirs", ORANGE, "TRL")):
                axes.plot(
                    curve["values"], [row[key] for row in curve[side]], "o-", color=colour, label=label, ms=3
                )
            axes.set_xscale("log", base=2)
            axes.set_xticks(curve["values"], [f"{value:,}" for value in curve["values"]], fontsize=8)
            axes.minorticks_off()
            axes.set_ylim(bottom=0)
            axes.spines[["top", "right"]].set_visible(False)
        column[0].set_title(NAMES[curve["work"]], fontsize=10)
        column[1].set_xlabel(curve["about"], fontsize=9)
    panels[0, 0].set_ylabel("seconds a step")
    panels[1, 0].set_ylabel("peak memory, GB")
    panels[0, 0].legend(frameon=False, fontsize=8)
    save(made, "bench_growth")


def table(found: Found, data: str) -> str:
    """A row for each work: tokens a second and peak memory of both sides, their ratios, the share of the rate."""
    lines = [
        "| work | tokens/s | peer | times as fast | peak GB | peer | share | of the matrix rate |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for work, name in NAMES.items():
        if work not in found[data]:
            continue
        row = found[data][work]
        paces = [median(row["tokens_per_second"][side]) for side in ("ours", "theirs")]
        peaks = [median(row["peak_gb"][side]) for side in ("ours", "theirs")]
        figures = [f"{pace:.0f}" for pace in paces] + [f"{row['speed_ratio']:.1f}"]
        figures += [f"{peak:.1f}" for peak in peaks] + [f"{row['memory_ratio']:.2f}"]
        figures.append(f"{row['share_of_matrix_rate']:.0%}")
        lines.append(f"| {' | '.join([name, *figures])} |")
    return "\n".join(lines)


def goals(found: Found) -> str:
    """A row for each work that had a goal on long prompts: what came, and whether it was met."""
    lines = ["| work | times as fast, goal | | share of memory, goal | |", "|---|---|---|---|---|"]
    for work, (speed, memory) in GOALS.items():
        if work in found["long_prompts"]:
            row = found["long_prompts"][work]
            fast, small = row["speed_ratio"], row["memory_ratio"]
            said = [NAMES[work], f"{fast:.1f} of {speed}", "met" if fast >= speed else "not met"]
            said += [f"{small:.2f} of {memory}", "met" if small <= memory else "not met"]
            lines.append(f"| {' | '.join(said)} |")
    return "\n".join(lines)


def main() -> None:
    """All of it."""
    found: Found = json.loads(RESULTS.read_text(encoding="utf-8"))
    if "growth" in found:
        draw_growth(found["growth"])
    for name, mine in (("", found), ("_float32", found["float32"])):
        draw_bars(mine, "speed_ratio", f"bench_speed{name}", "times as fast as the peer")
        draw_bars(mine, "memory_ratio", f"bench_memory{name}", "peak memory, share of the peer's")
        for data in DATA:
            print(f"{data}{name}\n\n{table(mine, data)}\n")
        print(f"goals{name}\n\n{goals(mine)}\n")


if __name__ == "__main__":
    main()
