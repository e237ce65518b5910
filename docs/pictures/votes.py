"""Draw what votes buy, from the figures of `benchmarks/votes_bought.py`; print the tables of docs/feedback.md.

    python docs/pictures/votes.py

Intervals are 95% by Student over seeds; differences are of runs with one seed.
"""

from __future__ import annotations

import json
from typing import Any

from drawing import BLUE, GREY, HERE, ORANGE, save
from seeds import interval

STORED = HERE / "feedback" / "votes.json"
GREEN = "#3c7d3c"
COLOURS = {1: BLUE, 3: GREEN, 5: ORANGE}
Found = dict[str, Any]
Way = tuple[int, bool]  # votes an item, and whether pairs are chosen actively
WAYS: tuple[Way, ...] = ((1, False), (3, False), (5, False), (1, True), (3, True), (5, True))
CONTRASTS: dict[str, tuple[Way, Way]] = {
    "3 votes − 1": ((3, False), (1, False)),
    "5 votes − 1": ((5, False), (1, False)),
    "active − random, 1 vote": ((1, True), (1, False)),
    "active − random, 3 votes": ((3, True), (3, False)),
    "active − random, 5 votes": ((5, True), (5, False)),
}


def accuracies(found: Found) -> dict[Way, dict[int, dict[int, float]]]:
    """By way and votes bought, the accuracy of each seed."""
    made: dict[Way, dict[int, dict[int, float]]] = {way: {} for way in WAYS}
    for run in found["runs"]:
        for row in run["course"]:
            made[run["each"], run["active"]].setdefault(row["votes"], {})[run["seed"]] = row["accuracy"]
    return made


def table(found: Found) -> str:
    """Accuracy by votes bought, one column a way."""
    names = [f"{each} {'vote' if each == 1 else 'votes'}, {'active' if on else 'random'}" for each, on in WAYS]
    lines = ["| votes bought | " + " | ".join(names) + " |", "|" + "---|" * (1 + len(WAYS))]
    made = accuracies(found)
    for votes in made[WAYS[0]]:
        cells = [_said(list(made[way][votes].values())) for way in WAYS]
        lines.append(f"| {votes:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def contrasts(found: Found) -> str:
    """Differences at the same votes and seed, in points of a hundred."""
    made = accuracies(found)
    lines = ["| votes bought | " + " | ".join(CONTRASTS) + " |", "|" + "---|" * (1 + len(CONTRASTS))]
    for votes in made[WAYS[0]]:
        cells = []
        for one, other in CONTRASTS.values():
            ours, theirs = made[one][votes], made[other][votes]
            mean, half = interval([100 * (ours[seed] - theirs[seed]) for seed in ours])
            strong = "**" if abs(mean) > half else ""
            cells.append(f"{strong}{mean:+.1f} ± {half:.1f}{strong}".replace("-", "−"))
        lines.append(f"| {votes:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def even(found: Found) -> str:
    """Of single votes on pairs that active pairing chose, and on those it left to chance: how many are ties."""
    runs = [run for run in found["runs"] if run["each"] == 1 and run["active"]]
    counts = {
        kind: [
            (run["split"][why] * run["asked"][why], run["asked"][why])
            for run in runs
            for why in whys
            if why in run["asked"]
        ]
        for kind, whys in (("chosen", ("cover",)), ("chance", ("random",)))
    }
    shares = {kind: sum(ties for ties, _ in rows) / sum(n for _, n in rows) for kind, rows in counts.items()}
    return f"{shares['chosen']:.1%} of the chosen pairs and {shares['chance']:.1%} of the random ones"


def sets(found: Found) -> str:
    """The four rating sets, as they come back from the store."""
    heads = [
        "set",
        "texts",
        "ratings",
        "a text",
        "Krippendorff's α",
        "one person, r",
        "one person, pairs",
        "ties",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in found["sets"]:
        each = f"{row['least']}–{row['most']}" if row["least"] < row["most"] else str(row["most"])
        cells = [row["set"], f"{row['texts']:,}", f"{row['ratings']:,}", each]
        cells += [f"{v:.3f} ({low:.3f}–{high:.3f})" for v, low, high in (row["alpha"], row["correlation"])]
        value, low, high = row["order"]
        cells += [f"{value:.1%} ({low:.1%}–{high:.1%})", f"{row['ties']:.0%}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _said(values: list[float]) -> str:
    mean, half = interval(values)
    return f"{100 * mean:.1f} ± {100 * half:.1f}"


def draw(found: Found) -> None:
    """Accuracy against votes: votes an item beside each other, and active beside random pairing."""
    from matplotlib.figure import Figure

    made = accuracies(found)
    drawn = Figure(figsize=(8.4, 3.4), layout="constrained")
    left, right = drawn.subplots(1, 2, sharey=True)
    for axes, ways in ((left, WAYS[:3]), (right, ((1, False), (1, True)))):
        for shift, way in enumerate(ways):
            votes = list(made[way])
            ends = [interval([100 * v for v in made[way][n].values()]) for n in votes]
            axes.errorbar(
                [n * 1.04 ** (shift - (len(ways) - 1) / 2) for n in votes],
                [mean for mean, _ in ends],
                yerr=[half for _, half in ends],
                fmt="--s" if way[1] else "-o",
                color=ORANGE if way[1] else COLOURS[way[0]],
                markersize=4,
                linewidth=1,
                capsize=3,
                label=("active" if way[1] else "random") if axes is right else f"{way[0]} an item",
            )
        axes.axhline(100 * found["one_person"]["value"], color=GREY, linewidth=0.8, linestyle=":")
        axes.axhline(100 * found["all_ratings"]["accuracy"], color=GREY, linewidth=0.8, linestyle="--")
        axes.set_xscale("log", base=2)
        axes.set_xticks(votes, [f"{n:,}" for n in votes])
        axes.minorticks_off()
        axes.set_xlabel("votes bought", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    first = votes[0]
    left.text(first, 100 * found["one_person"]["value"] + 0.2, "one person", fontsize=7, color=GREY)
    left.text(first, 100 * found["all_ratings"]["accuracy"] + 0.2, "every rating", fontsize=7, color=GREY)
    left.set_ylabel("held-out pairs in people's order, %", fontsize=8)
    left.set_title("pairs by chance: votes an item", fontsize=9)
    right.set_title("one vote an item: who chooses the pairs", fontsize=9)
    save(drawn, "feedback/votes")


def main() -> None:
    """Print, then draw."""
    found = json.loads(STORED.read_text(encoding="utf-8"))
    print(table(found), contrasts(found), sets(found), sep="\n\n")
    draw(found)


if __name__ == "__main__":
    main()
