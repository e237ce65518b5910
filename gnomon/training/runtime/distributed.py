"""Data parallelism over processes: shards, collectives and summed gradients.

Each loss is a share of the whole step's (see `StepTotals`), so several processes only need the sum of their
gradients: each takes some of the micro-batches. `accelerate launch` starts them; with one process every
collective is the identity.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn

from gnomon.training.runtime.watchdog import SILENCE, PeerWatchdog, shared_store

T = TypeVar("T")
PATIENCE = timedelta(days=1)  # other processes may be evaluating a model; PeerWatchdog finds those that failed


class Processes:
    """The processes of a run, seen from this one.

    Attributes:
        rank: number of this process, from 0.
        count: number of processes.
        first_on_host: true for one process of each computer.
    """

    def __init__(self, *, cpu: bool = True):
        self.state = PartialState(cpu=cpu, timeout=PATIENCE) if cpu else PartialState(timeout=PATIENCE)
        self.rank: int = self.state.process_index
        self.count: int = self.state.num_processes
        self.first_on_host: bool = self.state.is_local_main_process
        self._watchdog: PeerWatchdog | None = None

    @property
    def main(self) -> bool:
        """True if this process writes files and prints."""
        return self.rank == 0

    def watching(self, silence: float = SILENCE) -> AbstractContextManager[None]:
        """Context manager: a process that fails also ends the others, with an error naming it.

        Args:
            silence: seconds without a heartbeat after which a process counts as gone.
        """
        if self.count == 1:
            return nullcontext()
        host = os.environ.get("MASTER_ADDR", "localhost")
        store = shared_store(host, 0, hosts=True) if self.main else None
        port = self.broadcast(store.port if store else 0)
        store = store or shared_store(host, port, hosts=False)
        self.barrier()  # until all have reached the store
        self._watchdog = PeerWatchdog(self.rank, self.count, store, silence)
        return self._watchdog.watching()

    def _collective(self, name: str) -> AbstractContextManager[None]:
        return self._watchdog.collective(name) if self._watchdog else nullcontext()

    def shard(self, items: Sequence[T]) -> list[T]:
        """This process's items: every `count`-th one."""
        return list(items[self.rank :: self.count])

    def unshard(self, results: Sequence[T], total: int) -> list[T]:
        """The results of all shards in the original order; inverse of `shard`."""
        if self.count == 1:
            return list(results)
        with self._collective("unshard"):
            parts: list[list[T]] = gather_object([list(results)])
        return [parts[i % self.count][i // self.count] for i in range(total)]

    def all_gather(self, value: T) -> list[T]:
        """The values of all processes, by rank."""
        if self.count == 1:
            return [value]
        with self._collective("all_gather"):
            values: list[T] = gather_object([value])
        return values

    def broadcast(self, value: T) -> T:
        """The first process's value, in all of them."""
        if self.count == 1:
            return value
        values = [value]
        with self._collective("broadcast"):
            broadcast_object_list(values)
        return values[0]

    def all_reduce_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum gradients over processes; a process without a gradient adds zeros."""
        if self.count == 1:
            return
        with self._collective("gradients"):
            for parameter in parameters:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                total: Tensor = parameter.grad
                torch.distributed.all_reduce(total)

    def barrier(self) -> None:
        """Wait for all processes."""
        with self._collective("barrier"):
            self.state.wait_for_everyone()
