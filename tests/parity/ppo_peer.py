"""PPO as TRL 1.12 computes it, in a process of its own: later versions have none. Started by `test_trl_ppo.py`.

TRL scores, credits and updates; only what it would draw is put in its place. The weights move by plain gradient
descent, so that the second pass over the batch finds ratios beside 1. Its losses and gradients go to a file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from safetensors.torch import save_file
from tiny import tiny_network, tiny_scorer, word_tokenizer
from torch import Tensor
from transformers.trainer_utils import set_seed
from trl.experimental import ppo
from trl.experimental.ppo import ppo_trainer

PAD = 60  # an id that no prompt or completion uses: TRL tells an end by the first padding


def two_passes(given: dict[str, Any], folder: Path) -> dict[str, Tensor]:
    """Losses and gradients of two passes over one batch of all completions."""
    completions = [torch.tensor(c) for c in given["completions"]]
    prompts = [given["prompts"][g] for g in given["group"]]
    tokenizer = word_tokenizer()
    tokenizer.add_tokens([f"word {n}" for n in range(len(tokenizer), PAD)])
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.padding_side = "left"
    assert tokenizer.pad_token_id == PAD
    policy, critic = tiny_network(seed=0), tiny_scorer(seed=4)
    found: dict[str, Tensor] = {}

    def drawn(model: Any, queries: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
        """The given completions in place of samples, with the logits that TRL's own forward finds."""
        # The loader shuffles; a prompt says whose completion belongs to it by its own ids.
        rows = []
        for query in queries:
            ids = query[query != PAD].tolist()
            rows.append(left.pop(next(i for i, (prompt, _) in enumerate(left) if prompt == ids))[1])
        response = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
        both = torch.cat([queries, response], 1)
        logits = ppo_trainer.forward(model, both, PAD).logits[:, queries.shape[1] - 1 : -1]
        return both, logits / (given["temperature"] + 1e-7)

    left = list(zip(prompts, completions, strict=True))
    ppo_trainer.batch_generation = drawn
    disable_progress_bars()
    arguments = ppo.PPOConfig(
        output_dir=str(folder), report_to=[], use_cpu=True, bf16=False, save_strategy="no",
        per_device_train_batch_size=len(prompts), num_mini_batches=1, num_ppo_epochs=2,
        total_episodes=len(prompts), num_sample_generations=0, missing_eos_penalty=None,
        local_rollout_forward_batch_size=len(prompts), response_length=max(map(len, completions)),
        temperature=given["temperature"], **given["settings"],
    )  # fmt: skip
    named = {f"policy.{n}": p for n, p in policy.named_parameters()}
    named |= {f"critic.{n}": p for n, p in critic.named_parameters()}
    optimizer = torch.optim.SGD(list(named.values()), lr=given["step"])
    rows = Dataset.from_list([{"input_ids": prompt} for prompt in prompts])
    trainer = ppo.PPOTrainer(
        arguments, tokenizer, policy, tiny_network(seed=1), tiny_scorer(seed=2), rows, critic, eval_dataset=rows,
        optimizers=(optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)),
    )  # fmt: skip
    backward = trainer.accelerator.backward

    def noted(loss: Tensor) -> None:
        backward(loss)
        turn = sum(name.startswith("loss") for name in found)
        found[f"loss.{turn}"] = loss.detach().clone()
        for name, weight in named.items():
            grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            found[f"{turn}.{name}"] = grad.detach().clone()

    trainer.accelerator.backward = noted
    set_seed(0)
    trainer.train()
    return found


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for name, given in json.loads((folder / "cases.json").read_text()).items():
        save_file(two_passes(given, folder), folder / f"{name}.safetensors")
