"""Both loops in one process of several; writes what came out. Started by `test_processes.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from loops import offline, online, weights_of
from safetensors.torch import save_file
from tiny import word_tokenizer

from gnomon.training.processes import Processes

torch.set_num_threads(1)


def main(folder: Path) -> None:
    processes = Processes()
    models = offline(folder / "sft", batch_tokens=8)
    loop = online(folder / "ppo", word_tokenizer(), batch_tokens=12, steps=3)
    loop.run("ppo")
    found = {f"sft.{i}": w for i, w in enumerate(weights_of(models))}
    found |= {f"ppo.{i}": w for i, w in enumerate(weights_of(loop.models))}
    save_file(found, folder / f"weights-{processes.rank}.safetensors")
    processes.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
