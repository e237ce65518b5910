"""TRL's and transformers' side of a case, in a process of its own: python theirs.py CASE RESULT.

Their trainers run as they come, given the same token ids in the same order, the same precision and plain AdamW
steps.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import work
from work import Case

warnings.filterwarnings("ignore")
import torch  # noqa: E402
from datasets import Dataset, disable_progress_bars  # noqa: E402
from torch.utils.data import SequentialSampler  # noqa: E402
from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainerCallback,
)

PLAIN: dict[str, Any] = {
    "report_to": [],
    "use_cpu": True,
    "learning_rate": work.LEARNING_RATE,
    "save_strategy": "no",
    "lr_scheduler_type": "constant",
    "warmup_steps": 0,
    "logging_steps": 1,
    "disable_tqdm": True,
    "num_train_epochs": 1,
    "gradient_checkpointing": False,
}


def plain(case: Case) -> dict[str, Any]:
    """The trainers' settings; their own bfloat16 is autocast over float32 weights."""
    return {**PLAIN, "bf16": case.precision == "bfloat16"}


class Clock(TrainerCallback):
    """When each step began and ended, and its loss."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.losses: list[float] = []
        self.began = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.began = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(time.perf_counter() - self.began)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self.losses.append(float(logs["loss"]))


def tokenizer_of(case: Case) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(f"{case.model}/policy")
    tokenizer.pad_token_id, tokenizer.padding_side = 0, "left"
    return tokenizer


def language_model(case: Case) -> Any:
    network = AutoModelForCausalLM.from_pretrained(f"{case.model}/policy", dtype=torch.float32)
    network.config.eos_token_id = network.generation_config.eos_token_id = work.NEVER
    network.config.pad_token_id = network.generation_config.pad_token_id = 0
    return network


def scorer(case: Case) -> Any:
    network = AutoModelForSequenceClassification.from_pretrained(
        f"{case.model}/scorer", dtype=torch.float32, num_labels=1
    )
    network.config.pad_token_id = 0
    return network


def train_stored(case: Case, folder: Path) -> tuple[list[float], list[float]]:
    import trl

    kind, config, network = {
        "dpo": (trl.DPOTrainer, trl.DPOConfig, language_model),
        "sft": (trl.SFTTrainer, trl.SFTConfig, language_model),
        "reward_model": (trl.RewardTrainer, trl.RewardConfig, scorer),
        "kto": (trl.KTOTrainer, trl.KTOConfig, language_model),
    }[case.work]
    given = labelled(case) if case.work == "kto" else [as_theirs(case.work, row) for row in work.rows(case)]
    more = {"loss_type": "nll", "packing": False} if case.work == "sft" else {}
    clock = Clock()

    class Given(kind):  # type: ignore[misc,valid-type]
        """With the token ids as they are, in their order."""

        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

        def _get_train_sampler(self, *_: Any, **__: Any) -> Any:
            return SequentialSampler(self.train_dataset)

    arguments = config(
        output_dir=str(folder), per_device_train_batch_size=case.rows, max_length=None, **plain(case), **more
    )
    trainer = Given(
        network(case),
        args=arguments,
        train_dataset=Dataset.from_list(given),
        processing_class=tokenizer_of(case),
        callbacks=[clock],
    )
    trainer.train()
    return clock.seconds, clock.losses


def as_theirs(kind: str, row: work.Row) -> dict[str, list[int]]:
    prompt, chosen, rejected = map(list, (row.prompt, row.chosen, row.rejected))
    if kind == "sft":
        return {"input_ids": prompt + chosen, "labels": [-100] * len(prompt) + chosen}
    if kind == "reward_model":
        return {"chosen_ids": prompt + chosen, "rejected_ids": prompt + rejected}
    return {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected}


def labelled(case: Case) -> list[dict[str, Any]]:
    """KTO's rows, each with the completion of the row before in its step."""
    labeled = work.labelled(case)
    return [
        {
            "prompt_ids": list(row.prompt),
            "completion_ids": list(completion),
            "KL_completion_ids": list(labeled[work.before(case, n)][1]),
            "label": good,
        }
        for n, (row, completion, good) in enumerate(labeled)
    ]


def chats(case: Case, tokenizer: Any) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": tokenizer.decode(row.prompt)}] for row in work.rows(case)]


def grouped(case: Case, folder: Path) -> tuple[list[float], list[float]]:
    """GRPO and RLOO."""
    import trl

    kind, config = {"grpo": (trl.GRPOTrainer, trl.GRPOConfig), "rloo": (trl.RLOOTrainer, trl.RLOOConfig)}[
        case.work
    ]
    tokenizer = tokenizer_of(case)
    tokenizer.eos_token_id = work.NEVER

    class Timed(kind):  # type: ignore[misc,valid-type]
        """A step is the drawing of its samples and the update."""

        def training_step(self, *arguments: Any, **named: Any) -> Any:
            seconds.append(-time.perf_counter())
            return super().training_step(*arguments, **named)

    seconds: list[float] = []
    trainer = Timed(
        language_model(case),
        reward_funcs=lambda completions, **_: [work.letters(c[0]["content"]) for c in completions],
        args=config(
            output_dir=str(folder),
            per_device_train_batch_size=case.rows * case.completions,
            num_generations=case.completions,
            max_completion_length=case.limit,
            beta=0.05,
            temperature=1.0,
            **plain(case),
        ),
        train_dataset=Dataset.from_list([{"prompt": chat} for chat in chats(case, tokenizer)]),
        processing_class=tokenizer,
        callbacks=[EndOfStep(seconds)],
    )
    trainer.train()
    return seconds, []


class EndOfStep(TrainerCallback):
    """Completes the times that a step began with."""

    def __init__(self, seconds: list[float]):
        self.seconds = seconds

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds[-1] += time.perf_counter()


def ppo(case: Case, folder: Path) -> tuple[list[float], list[float]]:
    """TRL 1.12's; four epochs over each batch, as is its default."""
    from trl.experimental import ppo as peer

    tokenizer = tokenizer_of(case)
    tokenizer.eos_token_id = work.NEVER
    rows = [
        {"input_ids": tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)}
        for chat in chats(case, tokenizer)
        for _ in range(case.completions)
    ]
    # In two parts: sixteen rows at once need more than 24 GB.
    batch, seconds = case.rows * case.completions, list[float]()
    trainer = peer.PPOTrainer(
        peer.PPOConfig(
            output_dir=str(folder),
            per_device_train_batch_size=batch // 2,
            gradient_accumulation_steps=2,
            num_mini_batches=1,
            num_ppo_epochs=4,
            total_episodes=batch * case.steps,
            num_sample_generations=0,
            response_length=case.limit,
            temperature=1.0,
            local_rollout_forward_batch_size=batch // 2,
            kl_coef=0.05,
            **{k: v for k, v in plain(case).items() if k != "num_train_epochs"},
        ),
        tokenizer,
        language_model(case),
        language_model(case),
        scorer(case),
        Dataset.from_list(rows),
        scorer(case),
        eval_dataset=Dataset.from_list(rows[:1]),
        callbacks=[EndOfStep(seconds), Again(seconds)],
    )
    trainer.train()
    return seconds[: case.steps], []


class Again(TrainerCallback):
    """A round begins where the one before ended: TRL's PPO says only when one ends."""

    def __init__(self, seconds: list[float]):
        self.seconds = seconds

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.seconds.append(-time.perf_counter())

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(-time.perf_counter())


def sample(case: Case) -> tuple[list[float], list[float]]:
    tokenizer, seconds = tokenizer_of(case), list[float]()
    network = language_model(case).to(getattr(torch, case.precision)).eval()
    prompts = chats(case, tokenizer)
    for step in range(case.steps):
        given = tokenizer.apply_chat_template(
            prompts[step :: case.steps],
            add_generation_prompt=True,
            padding=True,
            return_tensors="pt",
            return_dict=True,
        )
        started = time.perf_counter()
        with torch.inference_mode():
            network.generate(
                **given, do_sample=True, top_k=0, num_return_sequences=case.completions, max_new_tokens=case.limit
            )
        seconds.append(time.perf_counter() - started)
    return seconds, []


def main(case: Case, result: Path) -> None:
    disable_progress_bars()
    with tempfile.TemporaryDirectory() as name:
        if case.work == "sample":
            seconds, losses = sample(case)
        else:
            ways = {"grpo": grouped, "rloo": grouped, "ppo": ppo}
            seconds, losses = ways.get(case.work, train_stored)(case, Path(name))
    work.report(result, seconds=seconds, tokens=work.tokens_of(case), losses=losses)


if __name__ == "__main__":
    main(Case.read(Path(sys.argv[1])), Path(sys.argv[2]))
