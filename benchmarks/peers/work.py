"""What both sides are given: models on disk, token ids, sizes. Everything follows from the case alone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]
OFFLINE = ("dpo", "sft", "reward_model", "kto")
NEVER = 3  # an id that the models hardly ever draw: where it ends a text, all completions reach the length limit
LEARNING_RATE = 1e-5
LENGTHS = {  # prompt and completion tokens, from and to
    "long_prompts": ((128, 256), (16, 64)),
    "short_prompts": ((32, 32), (128, 128)),
}


@dataclass(frozen=True)
class Case:
    """One piece of work.

    Attributes:
        work: one of `OFFLINE`, `grpo`, `rloo`, `ppo` or `sample`.
        data: a key of `LENGTHS`.
        model: a folder with `policy`, `scorer` and their tokenizer.
        rows: pairs or demonstrations of an optimizer step; prompts of an online one.
        completions: of each prompt, online.
        steps: optimizer steps, or rounds.
        prompt: tokens of a prompt, from and to, in the place of those of `data`.
        precision: of matrix products, `float32` or `bfloat16`; weights being trained stay in float32.
        count_flops: count the operations of each step; its times then mean nothing.
    """

    work: str
    data: str
    model: str
    rows: int = 8
    completions: int = 8
    steps: int = 3
    prompt: tuple[int, int] | None = None
    precision: Precision = "float32"
    count_flops: bool = False

    @classmethod
    def read(cls, path: Path) -> Case:
        fields = json.loads(path.read_text())
        return cls(**{**fields, "prompt": tuple(fields["prompt"]) if fields["prompt"] else None})

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @property
    def lengths(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Tokens of a prompt and of a completion, from and to."""
        prompt, completion = LENGTHS[self.data]
        return self.prompt or prompt, completion

    @property
    def limit(self) -> int:
        """Completion tokens, online."""
        return 48 if self.data == "long_prompts" else 128


@dataclass(frozen=True)
class Row:
    """A prompt and two completions of it."""

    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]


def rows(case: Case) -> list[Row]:
    """Random ids of the case's lengths, no two prompts alike: as many as all steps see."""
    generator = torch.Generator().manual_seed(7)
    (low, high), (short, long) = case.lengths
    vocabulary = json.loads((Path(case.model) / "policy" / "config.json").read_text())["vocab_size"]

    def draw(least: int, most: int) -> tuple[int, ...]:
        count = int(torch.randint(least, most + 1, (), generator=generator))
        return tuple(torch.randint(1000, min(40_000, vocabulary), (count,), generator=generator).tolist())

    count = case.rows * case.steps
    return [Row(draw(low, high), draw(short, long), draw(short, long)) for _ in range(count)]


def labelled(case: Case) -> list[tuple[Row, tuple[int, ...], bool]]:
    """Each row with a completion that is called good in every other row, bad in the rest: KTO's data."""
    return [(r, r.rejected, False) if n % 2 else (r, r.chosen, True) for n, r in enumerate(rows(case))]


def before(case: Case, number: int) -> int:
    """The row before in the same step, from the first round to the last: whose completion KTO mismatches."""
    start = number - number % case.rows
    return start + (number - start - 1) % case.rows


def letters(text: str) -> float:
    """A reward that costs nothing: the share of the letter e."""
    return text.count("e") / max(1, len(text))


def peak_gb() -> float:
    """The most memory that this process has held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e9


def report(
    path: Path, *, seconds: list[float], tokens: float, losses: list[float], flops: float | None = None
) -> None:
    """What a side measured: seconds of each step, tokens of a step, losses, operations of all steps."""
    report = {"seconds": seconds, "tokens": tokens, "losses": losses, "flops": flops, "peak_gb": peak_gb()}
    path.write_text(json.dumps(report))


def tokens_of(case: Case) -> float:
    """Tokens of a step as a user counts them: each prompt with each of its completions."""
    if case.work not in OFFLINE:
        return float(case.rows * case.completions * case.limit)
    if case.work == "kto":
        return sum(len(row.prompt) + len(completion) for row, completion, _ in labelled(case)) / case.steps
    sides = 1 if case.work == "sft" else 2
    both = [(len(r.prompt) * sides, len(r.chosen) + (sides - 1) * len(r.rejected)) for r in rows(case)]
    return sum(p + c for p, c in both) / case.steps
