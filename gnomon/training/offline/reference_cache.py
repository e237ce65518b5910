"""What the reference says of stored data: asked once, and kept on disk for later runs that ask the same.

A sweep over β, several losses on one data set, a run that was stopped: all ask one model about the same tokens.
The answers stand under a digest of everything they depend on: the weights themselves, the architecture, the
tokens, how they are cut into batches, the precision, the software. A file also says which question it answers,
so that one that was renamed answers nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from gnomon.core.progress import console, progress
from gnomon.core.storage.files import write_atomically
from gnomon.core.version import VERSION
from gnomon.data.batching import pack_by_tokens, token_groups
from gnomon.data.encoding import Example
from gnomon.models.roles import Policy
from gnomon.training.runtime.distributed import Processes
from gnomon.training.runtime.micro_batching import TokenBudget

Answers = dict[int, list[Tensor]]  # of each example by its identity: log-probs of its completions
LIMIT = 2 * 1024**3  # bytes of answers that are kept; the longest unused go first


@dataclass(frozen=True)
class ReferenceEvaluator:
    """Asks the reference about examples, a micro-batch at a time, each process a share of them.

    Attributes:
        policy: whose reference is asked.
        weights: what the reference has in the place of the policy's learned weights; `None`: its adapter is off.
        room: tokens of a micro-batch.
        cache: the folder of answers; `None` keeps none.
        label: what the progress bar is called.
    """

    policy: Policy
    weights: Mapping[str, Tensor] | None
    token_budget: TokenBudget
    cache: Path | None
    label: str
    processes: Processes

    @torch.no_grad()
    def ask(self, examples: Sequence[Example]) -> Answers:
        """Log-probs of every completion, from the folder if the question was asked before."""
        if self.cache is None:
            return _by_example(self._ask(examples), examples)
        question = self._question(examples)
        file = self.cache / f"{_digest([json.dumps(question).encode()])}.safetensors"
        kept = self.processes.broadcast(_read(file, question) if self.processes.main else None)
        if kept is None:
            kept = self._ask(examples)
            if self.processes.main:
                _write(file, question, kept)
        elif self.processes.main:
            console.print(f"  {self.label}: what the reference says is known", markup=False, highlight=False)
        return _by_example(kept, examples)

    def _ask(self, examples: Sequence[Example]) -> list[Tensor]:
        """Of all completions in order, `[T]` each."""
        cut = list(pack_by_tokens([e.cost for e in examples], self.token_budget.initial_tokens))
        mine: list[list[Tensor]] = []
        shares = self.processes.shard(cut)
        bars = progress(f"{self.label}: reference", len(shares), quiet=not self.processes.main)
        with bars as bar, self.policy.reference_mode(self.weights):
            for number, rows in enumerate(shares, start=1):
                mine.append(self._logprobs([examples[r] for r in rows]))
                bar.at(number)
        found: dict[int, list[Tensor]] = {}
        for rows, answers in zip(cut, self.processes.unshard(mine, len(cut)), strict=True):
            waiting = iter(answers)
            for r in rows:
                found[r] = [next(waiting) for _ in examples[r].completions]
        return [answer for r in range(len(examples)) for answer in found[r]]

    def _logprobs(self, part: Sequence[Example]) -> list[Tensor]:
        """Of the completions of a micro-batch, in their order."""

        def attempt() -> dict[int, list[Tensor]]:
            found: dict[int, list[Tensor]] = {}
            for some in self.token_budget.split_examples([part]):
                tokens = token_groups(some)
                rows = zip(self.policy.logprobs(tokens).cpu(), tokens.lengths.tolist(), strict=True)
                waiting = iter([row[:n].clone() for row, n in rows])
                found |= {id(e): [next(waiting) for _ in e.completions] for e in some}
            return found

        answers = self.token_budget.run(attempt)
        return [answer for e in part for answer in answers[id(e)]]

    def _question(self, examples: Sequence[Example]) -> dict[str, Any]:
        """Everything that the answers depend on."""
        policy = self.policy
        ids = torch.tensor([i for e in examples for part in (e.prompt, *e.completions) for i in part])
        shape = [[len(e.prompt), *map(len, e.completions)] for e in examples]
        config = {
            k: str(v) for k, v in sorted(policy.network.config.to_dict().items()) if "name_or_path" not in k
        }
        return {
            "weights": self._weights_digest(),
            "config": config,
            "tokens": _digest([_bytes(ids)]),
            "shape": _digest([json.dumps(shape).encode()]),
            "names": _digest([json.dumps([e.prompt_id for e in examples]).encode()]),  # equal ones share a prompt
            "micro_batch_tokens": self.token_budget.initial_tokens,
            "layout": policy.layout,
            "dtype": str(policy.compute.dtype),
            "device": policy.device.type,
            "versions": [VERSION, torch.__version__],
        }

    def _weights_digest(self) -> str:
        """Of what speaks when the reference does; an adapter that is off does not."""
        silent = self.weights is None
        with self.policy.reference_mode(self.weights):
            named = [*self.policy.network.named_parameters(), *self.policy.network.named_buffers()]
            spoken = [(n.replace(".base_layer.", "."), t) for n, t in named if not (silent and "lora_" in n)]
            spoken.sort(key=lambda pair: pair[0])
            return _digest(part for name, tensor in spoken for part in (name.encode(), _bytes(tensor)))


def _by_example(answers: Sequence[Tensor], examples: Sequence[Example]) -> Answers:
    waiting = iter(answers)
    return {id(e): [next(waiting) for _ in e.completions] for e in examples}


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data


def _digest(parts: Iterable[bytes | memoryview]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.hexdigest()


def _read(file: Path, question: Mapping[str, Any]) -> list[Tensor] | None:
    """The answers in a file, if it is whole and answers this very question."""
    try:
        with safe_open(file, framework="pt") as kept:
            if json.loads((kept.metadata() or {}).get("question", "null")) != question:
                return None
            answers = torch.split(kept.get_tensor("logprobs"), kept.get_tensor("lengths").tolist())
        os.utime(file)
        return list(answers)
    except (OSError, ValueError, SafetensorError) as error:
        if file.exists():
            console.print(
                f"  {file} cannot be read ({error}); the reference is asked again", markup=False, soft_wrap=True
            )
        return None


def _is_own(file: Path) -> bool:
    """Whether a file in the cache is one of ours: its name is the digest of the question that it answers."""
    if file.suffix != ".safetensors" or file.is_symlink():
        return False
    try:
        with safe_open(file, framework="pt") as kept:
            question = json.loads((kept.metadata() or {})["question"])
    except (OSError, LookupError, ValueError, SafetensorError):
        return False
    return file.stem == _digest([json.dumps(question).encode()])


def _write(file: Path, question: Mapping[str, Any], answers: Sequence[Tensor]) -> None:
    """Keep answers; a folder that cannot be written costs the next run its time, and this one nothing."""
    content = {"logprobs": torch.cat(list(answers)), "lengths": torch.tensor([len(a) for a in answers])}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, save(content, {"question": json.dumps(question)}))
        kept = sorted(filter(_is_own, file.parent.iterdir()), key=lambda f: f.stat().st_mtime, reverse=True)
        total = 0
        for old in kept:
            total += old.stat().st_size
            if total > LIMIT and old != file:
                old.unlink(missing_ok=True)
    except OSError as error:
        console.print(
            f"  the reference's answers could not be kept ({error.strerror})", markup=False, soft_wrap=True
        )
