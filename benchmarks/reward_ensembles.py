"""Time and memory of training five heads on one trunk, beside one reward model and five separate ones.

    OMP_NUM_THREADS=1 python benchmarks/reward_ensembles.py PREFERENCES.jsonl

Each case runs in a process of its own, one after the other, in alternating order; the figures are CPU seconds of
the training loop alone (other processes do not count) and the peak resident memory of the process. The data are
preferences, such as the `feedback/preferences.jsonl` of a run of `recipes/film-reviews.yaml`; of them the first
prompts are used, once, by every case. Members of all cases see the same examples: there is no bootstrap here, by
which a separate model would see 63% of the prompts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROMPTS, ROUNDS, MEMBERS, LAYERS = 16, 2, 5, 20
CASES = ("one", "heads", "models")


def measure(case: str, data: Path, prompts: int, model_name: str) -> dict[str, float]:
    """Train one case in this process; returns CPU seconds of the loops and peak memory in GB."""
    import torch

    from gnomon.algorithms.reward_model import RewardModeling
    from gnomon.core.progress import StopSignal
    from gnomon.core.types import Preference
    from gnomon.data.encoding import encode_preferences
    from gnomon.data.records import read_records
    from gnomon.models.engine.device import find_compute
    from gnomon.models.loading import load_reward_model
    from gnomon.models.reward_ensemble import head_ensemble
    from gnomon.models.settings import PLAIN_HEAD, Combination, Trainable
    from gnomon.stages.common.trained import peak_memory_gb
    from gnomon.training.offline.bootstrap import MembersLoss, member_seed
    from gnomon.training.offline.loop import OfflineLoop
    from gnomon.training.runtime.model_bundle import TrainedModels
    from gnomon.training.settings import OfflineSettings

    records = read_records(Preference, data)
    chosen = list(dict.fromkeys(record.prompt.id for record in records))[:prompts]
    seconds = 0.0
    for member in range(MEMBERS if case == "models" else 1):
        seed = member_seed(0, member)
        torch.manual_seed(seed)
        trainable = Trainable(rank=16, layers=12)
        model = load_reward_model(model_name, find_compute("cpu"), trainable, seed=seed, num_layers=LAYERS)
        algorithm: object = RewardModeling()
        if case == "heads":
            seeds = [member_seed(0, number) for number in range(MEMBERS)]
            model = head_ensemble(model, PLAIN_HEAD, seeds, Combination())
            algorithm = MembersLoss(algorithm, None)
        examples, _ = encode_preferences([r for r in records if r.prompt.id in chosen], model.tokenizer, 10_000)
        with tempfile.TemporaryDirectory() as folder:
            loop = OfflineLoop(
                algorithm=algorithm,  # type: ignore[arg-type]
                models=TrainedModels(model),
                examples=examples,
                settings=OfflineSettings(batch_size=2, learning_rate=5e-4),
                folder=Path(folder),
                seed=seed,
                stop=StopSignal(),
                label=case,
            )
            started = time.process_time()
            loop.run()
            seconds += time.process_time() - started
    return {"cpu_seconds": seconds, "peak_memory_gb": peak_memory_gb()}


def main() -> None:
    """Run all cases and print a table, or as a child one case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--prompts", type=int, default=PROMPTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--case", choices=CASES)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(measure(arguments.case, arguments.data, arguments.prompts, arguments.model)))
        return
    results: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
    for number in range(arguments.rounds):
        for case in CASES if number % 2 == 0 else reversed(CASES):
            line = [sys.executable, __file__, str(arguments.data), "--case", case, "--model", arguments.model]
            line += ["--prompts", str(arguments.prompts)]
            done = subprocess.run(line, check=True, capture_output=True, encoding="utf-8")
            results[case].append(json.loads(done.stdout.splitlines()[-1]))
            print(case, results[case][-1], flush=True)
    best = {case: min(row["cpu_seconds"] for row in rows) for case, rows in results.items()}
    memory = {case: max(row["peak_memory_gb"] for row in rows) for case, rows in results.items()}
    for case in CASES:
        print(
            f"{case:7} CPU {best[case]:7.1f} s = {best[case] / best['one']:.2f} of one model; "
            f"peak {memory[case]:.2f} GB = {memory[case] / memory['one']:.2f}"
        )


if __name__ == "__main__":
    main()
