"""How many votes an item is worth: single ratings bought as votes, and what a reward model learns of them.

    python benchmarks/votes_bought.py            all of it: half an hour of two quiet cores
    python benchmarks/votes_bought.py --sets     the table of the four rating sets alone
    python docs/pictures/votes.py                print the tables, draw the picture

What is done already is found in the folder `--work` and not done again. The figures go to
docs/pictures/feedback/votes.json. A hundred votes through SQLite take seconds, so all runs go through its plain
twin, and the beginnings of the first seeds (`--store`) through both, which must agree to the last bit.
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from replay.heads import FloatArray, HeldOut, Pairs, choose_strength, fit
from replay.market import Plan, replay
from replay.sets import rating_sets
from replay.shops import PlainShop, Shop, StoreShop
from replay.states import DEPTH, MODEL, PROMPT, states_of

from gnomon.core.storage.files import write_atomically
from gnomon.core.types import RatedText
from gnomon.data.film_reviews import load_film_reviews
from gnomon.data.splits import split_items
from gnomon.feedback.export.preferences_from_ratings import win_probabilities
from gnomon.stats.human_ceiling import human_ceiling, random_pairs

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "docs" / "pictures" / "feedback" / "votes.json"
PARTS = {"held_out": 2000, "pool": 4000}
AMOUNTS = (240, 480, 960, 1920, 3840)  # multiples of 60, so that rounds are whole items of 1, 3 and 5 votes
EACH = (1, 3, 5)
BLOCKS, BLOCK = 40, 100  # of pool texts of which all pairs are known, for what the states can give at most


@functools.cache
def prepared(work: Path) -> tuple[list[RatedText], FloatArray, list[RatedText], HeldOut]:
    """The pool with its states, standardised, and the texts that are held out."""
    parts = split_items(load_film_reviews()[0], PARTS, 0.0, 0)
    states = states_of([*parts["held_out"], *parts["pool"]], work).astype(np.float64)
    held, pool = np.split(states, [PARTS["held_out"]])
    mean, deviation = pool.mean(axis=0), pool.std(axis=0)
    held_out = HeldOut.of(parts["held_out"], (held - mean) / deviation)
    return parts["pool"], (pool - mean) / deviation, parts["held_out"], held_out


def spend(plan: Plan, work: Path, through_store: bool) -> None:
    """Replay one plan, and keep what came of it in a file of its own."""
    file = work / f"{'store' if through_store else 'run'}-{plan.name}.json"
    if file.exists():
        return
    torch.set_num_threads(1)
    pool, states, _, held_out = prepared(work)
    with tempfile.TemporaryDirectory() as folder:
        shop: Shop
        if through_store:
            shop = StoreShop(Path(folder) / "votes.db", PROMPT, pool, plan.each)
        else:
            shop = PlainShop(PROMPT, pool, plan.each)
        result = replay(shop, pool, states, held_out, plan)
    write(file, result)
    print(file.stem, " ".join(f"{row['accuracy']:.4f}" for row in result["course"]), flush=True)


def most(work: Path) -> dict[str, Any]:
    """What people reach on the held-out texts, and a head that knows every rating of the pool."""
    file = work / "most.json"
    if file.exists():
        known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return known
    pool, states, held, held_out = prepared(work)
    rng = np.random.default_rng(0)
    gaps, shares = [], []
    for rows in np.split(rng.permutation(len(pool)), BLOCKS):
        first, second = random_pairs(BLOCK, 5 * BLOCK, rng)
        shares.append(win_probabilities([pool[row] for row in rows])[first, second])
        gaps.append(states[rows[first]] - states[rows[second]])
    pairs = Pairs(np.concatenate(gaps), np.concatenate(shares))
    person = human_ceiling(held, 20_000, seed=0).pair_agreement
    result = {
        "all_ratings": {
            "accuracy": held_out.accuracy(fit(pairs, choose_strength(pairs, 0))),
            "ratings": sum(len(item.ratings) for item in pool),
            "pairs": len(pairs),
        },
        "one_person": {"value": person.value, "low": person.low, "high": person.high},
    }
    write(file, result)
    return result


def write(file: Path, result: dict[str, Any]) -> None:
    """As JSON, all of it or nothing."""
    write_atomically(file, json.dumps(result, separators=(",", ":")) + "\n")


def plans(seeds: range, amounts: tuple[int, ...]) -> Iterator[Plan]:
    """All ways to spend, seed by seed."""
    for seed in seeds:
        for each in EACH:
            yield from (Plan(each, active, seed, amounts) for active in (False, True))


def collected(work: Path) -> list[dict[str, Any]]:
    """The results of all replays; those that also went through the store must have come to the same there."""
    runs = {}
    for file in sorted(work.glob("run-*.json")):
        runs[file.stem.removeprefix("run-")] = json.loads(file.read_text(encoding="utf-8"))
    for file in sorted(work.glob("store-*.json")):
        course = json.loads(file.read_text(encoding="utf-8"))["course"]
        run = runs[file.stem.removeprefix("store-")]
        assert course == run["course"][: len(course)], f"{file.stem} came to something else"
        run["through_store"] = course[-1]["votes"]
    return list(runs.values())


def main() -> None:
    """Replay, collect, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--store", type=int, default=1, help="seeds that go through SQLite too")
    parser.add_argument("--store-amounts", type=int, default=1, help="how many of the amounts go that far")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--sets", action="store_true", help="the rating sets alone")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "votes-bought")
    given = parser.parse_args()
    STORED.parent.mkdir(exist_ok=True)
    stored = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
    if given.sets or "sets" not in stored:
        stored["sets"] = rating_sets()
    if not given.sets:
        prepared(given.work)  # before workers would each compute the states
        todo = [(plan, False) for plan in plans(range(given.seeds), AMOUNTS)]
        todo += [(plan, True) for plan in plans(range(given.store), AMOUNTS[: given.store_amounts])]
        with ProcessPoolExecutor(given.workers) as workers:
            for done in [workers.submit(spend, plan, given.work, store) for plan, store in todo]:
                done.result()
        texts = {"model": MODEL, "num_layers": DEPTH, **PARTS}
        stored |= {**texts, **most(given.work), "runs": collected(given.work)}
    write(STORED, stored)


if __name__ == "__main__":
    main()
