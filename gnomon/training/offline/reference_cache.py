"""Reference log-probs of stored data, computed once and cached on disk for later runs.

A sweep over β, several losses on one data set or a resumed run need the same log-probs. A file is named by a
digest of everything that they depend on: weights, architecture, tokens, batching, precision and software
versions. It also holds these inputs, so that a renamed file is never used.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from gnomon.core.progress import console, progress
from gnomon.core.storage.files import write_atomically
from gnomon.core.storage.sized_cache import remove_least_recent
from gnomon.core.version import VERSION
from gnomon.data.batching import pack_by_tokens, token_groups
from gnomon.data.encoding import Example
from gnomon.models.roles import Policy
from gnomon.training.runtime.distributed import Processes
from gnomon.training.runtime.micro_batching import TokenBudget

LIMIT = 2 * 1024**3  # bytes of the cache; the least recently used files are removed first


@dataclass(frozen=True)
class ReferenceEvaluator:
    """Computes reference log-probs of examples in micro-batches, sharded over processes.

    Attributes:
        policy: that is trained.
        weights: the reference's values of the policy's trainable weights; `None` disables the adapter.
        token_budget: of micro-batches.
        cache: folder of the cache; `None` uses none.
        label: of the progress bar.
        processes: all training processes.
    """

    policy: Policy
    weights: Mapping[str, Tensor] | None
    token_budget: TokenBudget
    cache: Path | None
    label: str
    processes: Processes

    @torch.no_grad()
    def logprobs(self, examples: Sequence[Example]) -> list[list[Tensor]]:
        """Log-probs of each example's completions, `[T]` each, from the cache if they are there."""
        if self.cache is None:
            return _by_example(self._compute(examples), examples)
        inputs = self._inputs(examples)
        file = self.cache / f"{_digest([json.dumps(inputs).encode()])}.safetensors"
        values = self.processes.broadcast(_read(file, inputs) if self.processes.main else None)
        if values is None:
            values = self._compute(examples)
            if self.processes.main:
                _write(file, inputs, values)
        elif self.processes.main:
            console.print(f"  {self.label}: reference log-probs are cached", markup=False, highlight=False)
        return _by_example(values, examples)

    def _compute(self, examples: Sequence[Example]) -> list[Tensor]:
        """Log-probs of all completions in order, `[T]` each."""
        cut = list(pack_by_tokens([e.cost for e in examples], self.token_budget.initial_tokens))
        results: list[list[Tensor]] = []
        shares = self.processes.shard(cut)
        bars = progress(f"{self.label}: reference", len(shares), quiet=not self.processes.main)
        with bars as bar, self.policy.reference_mode(self.weights):
            for number, rows in enumerate(shares, start=1):
                results.append(self._logprobs([examples[r] for r in rows]))
                bar.at(number)
        by_row: dict[int, list[Tensor]] = {}
        for rows, answers in zip(cut, self.processes.unshard(results, len(cut)), strict=True):
            waiting = iter(answers)
            for r in rows:
                by_row[r] = [next(waiting) for _ in examples[r].completions]
        return [answer for r in range(len(examples)) for answer in by_row[r]]

    def _logprobs(self, part: Sequence[Example]) -> list[Tensor]:
        """Log-probs of the completions of a micro-batch, in their order."""
        by_row: dict[int, list[Tensor]] = {}
        for attempt in self.token_budget.attempts():
            with attempt:
                by_row = self._in_passes(part)
        return [logprobs for r in range(len(part)) for logprobs in by_row[r]]

    def _in_passes(self, part: Sequence[Example]) -> dict[int, list[Tensor]]:
        """The same by row of a micro-batch, in as many passes as memory requires."""
        by_row: dict[int, list[Tensor]] = {}
        for rows in self.token_budget.split([range(len(part))], [e.cost for e in part]):
            tokens = token_groups([part[r] for r in rows])
            padded = zip(self.policy.logprobs(tokens).cpu(), tokens.lengths.tolist(), strict=True)
            waiting = iter([logprobs[:n].clone() for logprobs, n in padded])
            by_row |= {r: [next(waiting) for _ in part[r].completions] for r in rows}
        return by_row

    def _inputs(self, examples: Sequence[Example]) -> dict[str, Any]:
        """Everything that the log-probs depend on."""
        policy = self.policy
        shape = [[len(e.prompt), *map(len, e.completions)] for e in examples]
        config = {
            k: str(v) for k, v in sorted(policy.network.config.to_dict().items()) if "name_or_path" not in k
        }
        return {
            "weights": self._weights_digest(),
            "config": config,
            "tokens": _digest(
                np.array(part, dtype=np.int64).data for e in examples for part in (e.prompt, *e.completions)
            ),
            "shape": _digest([json.dumps(shape).encode()]),
            "names": _digest([json.dumps([e.prompt_id for e in examples]).encode()]),  # equal ones share a prompt
            "micro_batch_tokens": self.token_budget.initial_tokens,
            "layout": policy.layout,
            "dtype": str(policy.compute.dtype),
            "device": policy.device.type,
            "versions": [VERSION, torch.__version__],
        }

    def _weights_digest(self) -> str:
        """Digest of the reference's weights, without a disabled adapter."""
        disabled = self.weights is None
        with self.policy.reference_mode(self.weights):
            named = [*self.policy.network.named_parameters(), *self.policy.network.named_buffers()]
            weights = [(n.replace(".base_layer.", "."), t) for n, t in named if not (disabled and "lora_" in n)]
            weights.sort(key=lambda pair: pair[0])
            return _digest(part for name, tensor in weights for part in (name.encode(), _bytes(tensor)))


def _by_example(logprobs: Sequence[Tensor], examples: Sequence[Example]) -> list[list[Tensor]]:
    waiting = iter(logprobs)
    return [[next(waiting) for _ in e.completions] for e in examples]


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data


def _digest(parts: Iterable[bytes | memoryview]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def _read(file: Path, inputs: Mapping[str, Any]) -> list[Tensor] | None:
    """The log-probs in a cache file, or `None` if it is unreadable or has other inputs."""
    try:
        with safe_open(file, framework="pt") as content:
            if json.loads((content.metadata() or {}).get("inputs", "null")) != inputs:
                return None
            answers = torch.split(content.get_tensor("logprobs"), content.get_tensor("lengths").tolist())
        os.utime(file)
        return list(answers)
    except (OSError, ValueError, SafetensorError) as error:
        if file.exists():
            console.print(
                f"  {file} cannot be read ({error}); reference log-probs are computed again",
                markup=False,
                soft_wrap=True,
            )
        return None


def _is_own(file: Path) -> bool:
    """Return whether a file belongs to the cache: its name is the digest of its inputs."""
    if file.suffix != ".safetensors" or file.is_symlink():
        return False
    try:
        with safe_open(file, framework="pt") as content:
            inputs = json.loads((content.metadata() or {})["inputs"])
    except (OSError, LookupError, ValueError, SafetensorError):
        return False
    return file.stem == _digest([json.dumps(inputs).encode()])


def _write(file: Path, inputs: Mapping[str, Any], answers: Sequence[Tensor]) -> None:
    """Write log-probs to the cache; a folder that cannot be written is only reported."""
    content = {"logprobs": torch.cat(list(answers)), "lengths": torch.tensor([len(a) for a in answers])}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, save(content, {"inputs": json.dumps(inputs)}))
        remove_least_recent(((own,) for own in filter(_is_own, file.parent.iterdir())), LIMIT, used=file)
    except OSError as error:
        console.print(
            f"  reference log-probs could not be cached ({error.strerror})", markup=False, soft_wrap=True
        )
