"""Both loops in one process of several; writes what came out. Started by `test_processes.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from loops import offline, online, weights_of
from safetensors.torch import save_file
from tiny import word_tokenizer

from gnomon.algorithms.grpo import GRPO
from gnomon.algorithms.kto import KTO
from gnomon.training.runtime.distributed import Processes
from gnomon.training.settings import KLSettings

torch.set_num_threads(1)


def main(folder: Path) -> None:
    processes = Processes()
    models = offline(folder / "sft", micro_batch_tokens=8)
    masked = offline(folder / "dropout", micro_batch_tokens=8, adapter_dropout=0.3)
    loop = online(folder / "ppo", word_tokenizer(), micro_batch_tokens=12, steps=3)
    loop.run()
    labelled = offline(folder / "kto", algorithm=KTO(), micro_batch_tokens=8)
    groups = online(
        folder / "grpo",
        word_tokenizer(),
        algorithm=GRPO(),
        sampling={"completions": 4},
        kl=KLSettings(**GRPO.loop_defaults["kl"]),
        minibatches=1,
        micro_batch_tokens=12,
        steps=3,
    )
    groups.run()
    ends = {"sft": models, "dropout": masked, "ppo": loop.models, "kto": labelled, "grpo": groups.models}
    weights = {f"{name}.{i}": w for name, end in ends.items() for i, w in enumerate(weights_of(end))}
    save_file(weights, folder / f"weights-{processes.rank}.safetensors")
    processes.barrier()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
