"""Train PPO and DPO on the film reviews at several prices of a nat and several seeds; draw what each nat buys.

    python docs/pictures/prices.py train runs/film-reviews runs/prices    18 runs; goes on where it was stopped
    python docs/pictures/prices.py judge runs/film-reviews runs/prices    all of them before the judges
    python docs/pictures/prices.py take runs/prices                       figures into prices.json, then draw
    python docs/pictures/prices.py                                        draw from prices.json

All runs begin at the SFT model of one finished run of recipes/film-reviews.yaml, and PPO's are scored by its
reward model; a seed decides what is sampled, in which order data come, and how adapters begin. `train … 1/2`
trains every other run, beside another process that trains the rest (`2/2`).
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from drawing import BLUE, GREY, HERE, ORANGE, figure, save
from seeds import interval

from gnomon.comparison.variants import moved

ROOT = HERE.parents[1]
STORED = HERE / "prices.json"
SEEDS = (1, 2, 3)
PPO, DPO = (0.1, 1.6, 0.4), (0.05, 0.8, 0.2)
ROUNDS, SHARE = 8, 0.5  # PPO's rounds; DPO's share of an epoch
SHARED = {"feedback", "sft", "judge"}
Found = dict[str, Any]


def stages(recipe: str) -> dict[str, Found]:
    """A recipe's stages by name."""
    content = yaml.safe_load((ROOT / recipe).read_text(encoding="utf-8"))
    return {row["name"]: row for row in content["stages"]}


def planned() -> list[tuple[str, float, int, Found]]:
    """Algorithm, price, seed, and the stage that is trained: the outer prices first, the middle ones last."""
    ppo = stages("recipes/film-reviews.yaml")["aligned"]
    dpo = stages("recipes/algorithms/dpo.yaml")["aligned"]
    found = []
    for dear, beta in zip(PPO, DPO, strict=True):
        for seed in SEEDS:
            row = copy.deepcopy(ppo)
            row["training"] |= {"kl": {"coef": dear, "target": None}, "steps": ROUNDS}
            found.append(("ppo", dear, seed, row))
            row = copy.deepcopy(dpo)
            row["settings"] = {**row.get("settings", {}), "beta": beta}
            row["training"] |= {"epochs": SHARE}
            found.append(("dpo", beta, seed, row))
    return found


def trained(out: Path) -> list[tuple[str, float, int]]:
    """Algorithm, price and seed of what is trained already, the lowest price first."""
    there = [(name, price, seed) for name, price, seed, _ in planned()]
    done = (one for one in there if (place(out, *one) / "aligned" / "result.json").exists())
    return sorted(done, key=lambda one: (one[0] != "ppo", *one[1:]))


def place(out: Path, name: str, price: float, seed: int) -> Path:
    """The folder of a run."""
    return out / f"{name}-{price}-{seed}"


def run(folder: Path, seed: int, rows: list[Found]) -> None:
    """Run stages in a folder, if they are not finished there."""
    model = yaml.safe_load((ROOT / "recipes/film-reviews.yaml").read_text(encoding="utf-8"))["model"]
    recipe = folder.parent / f"{folder.name}.yaml"
    recipe.parent.mkdir(parents=True, exist_ok=True)
    content = {"run": folder.as_posix(), "seed": seed, "model": model, "stages": rows}
    recipe.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "gnomon", "run", str(recipe)], check=True)


def train(base: Path, out: Path, part: str = "1/1") -> None:
    """Train every run of this process's part."""
    mine, parts = (int(number) for number in part.split("/"))
    for number, (name, price, seed, row) in enumerate(planned()):
        if number % parts == mine - 1:
            run(place(out, name, price, seed), seed, [moved(row, SHARED, base)])


def judge(base: Path, out: Path) -> None:
    """All policies that are trained before the judges, in one evaluation."""
    row = copy.deepcopy(stages("recipes/film-reviews.yaml")["report"])
    models = [str(place(out, *one) / "aligned") for one in trained(out)]
    row = moved(row, SHARED, base) | {"evaluate": [str(base / "sft"), *models], "candidate": models[0]}
    row["judges"] = ["vader", "ridge"]
    run(out / "judged", 0, [{key: value for key, value in row.items() if not key.startswith("texts")}])


def take(out: Path) -> Found:
    """Of each run: KL to SFT, and the gain over SFT by each judge."""
    result = json.loads((out / "judged" / "report" / "result.json").read_text(encoding="utf-8"))
    before, *others = result["table"]
    rows = {Path(row["model"]).parent.name: row for row in others}
    found: Found = {}
    for name, price, seed in trained(out):
        row = rows[place(out, name, price, seed).name]
        gains = {
            judge: round(row["scores"][judge]["mean"] - before["scores"][judge]["mean"], 4)
            for judge in ("vader", "ridge")
        }
        reached = {"seed": seed, "kl": round(row["kl"], 4), **gains}
        found.setdefault(name, {}).setdefault(str(price), []).append(reached)
    return found


def table(found: Found) -> str:
    """As docs/correctness.md shows it."""
    lines = ["| | price | KL, nats | gain by the ridge | by VADER |", "|" + "---|" * 5]
    for name, prices in found.items():
        for price, rows in prices.items():
            cells = [interval([row[key] for row in rows]) for key in ("kl", "ridge", "vader")]
            shown = " | ".join(f"{mean:.2f} ± {half:.2f}" for mean, half in cells)
            lines.append(f"| `{name}` | {price} | {shown} |")
    return "\n".join(lines)


def draw(found: Found) -> None:
    """Gain over KL: a mark for each run, and means with 95% intervals over seeds."""
    made, axes = figure(6.4, 3.8)
    for name, colour in (("ppo", BLUE), ("dpo", ORANGE)):
        middles = []
        for price, rows in found[name].items():
            (nats, wide), (gain, high) = (interval([row[key] for row in rows]) for key in ("kl", "ridge"))
            axes.plot(
                [r["kl"] for r in rows], [r["ridge"] for r in rows], "o", color=colour, markersize=3, alpha=0.5
            )
            axes.errorbar(nats, gain, xerr=wide, yerr=high, fmt="s", color=colour, capsize=3, elinewidth=0.8)
            axes.annotate(
                price, (nats, gain), xytext=(5, 5), textcoords="offset points", fontsize=8, color=colour
            )
            middles.append((nats, gain))
        axes.plot(*zip(*sorted(middles), strict=True), color=colour, linewidth=1, label=name.upper())
    axes.axhline(0, color=GREY, linewidth=0.6)
    axes.set_xlabel("KL to SFT, nats")
    axes.set_ylabel("gain over SFT by the ridge")
    axes.legend(frameon=False)
    save(made, "prices")


def main() -> None:
    """Do what was asked for."""
    what, *rest = sys.argv[1:] or ["draw"]
    if what == "train":
        base, out, *part = rest
        train(Path(base).resolve(), Path(out).resolve(), *part)
        return
    if what == "judge":
        judge(*(Path(name).resolve() for name in rest))
        return
    if what == "take":
        STORED.write_text(json.dumps(take(Path(rest[0])), separators=(",", ":")) + "\n", encoding="utf-8")
    found = json.loads(STORED.read_text(encoding="utf-8"))
    print(table(found))
    draw(found)


if __name__ == "__main__":
    main()
