"""One process or several: who does which share of the work, and how the shares are put together again.

Every loss is a share of the whole step's (see `StepTotals`), so several processes need no more than a sum of
gradients: each takes some of the micro-batches. They are started by `accelerate launch`; alone, a process shares
with nobody and waits for nobody.
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
PATIENCE = timedelta(days=1)  # the others may be examining a model; that one has failed is found by PeerWatchdog


class Processes:
    """This process among its fellows.

    Attributes:
        rank: number of this process, from 0.
        count: how many there are.
    """

    def __init__(self, *, cpu: bool = True):
        self.state = PartialState(cpu=cpu, timeout=PATIENCE) if cpu else PartialState(timeout=PATIENCE)
        self.rank: int = self.state.process_index
        self.count: int = self.state.num_processes
        self._watchdog: PeerWatchdog | None = None

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes files and speaks."""
        return self.rank == 0

    def watching(self, silence: float = SILENCE) -> AbstractContextManager[None]:
        """Inside, a process that fails ends the others too, with a sentence that names it.

        Args:
            silence: seconds without a sign of life after which a process counts as gone.
        """
        if self.count == 1:
            return nullcontext()
        host = os.environ.get("MASTER_ADDR", "localhost")
        store = shared_store(host, 0, keeps=True) if self.main else None
        port = self.broadcast(store.port if store else 0)
        store = store or shared_store(host, port, keeps=False)
        self.barrier()  # until all have reached the store: from here on, one that fails can say so
        self._watchdog = PeerWatchdog(self.rank, self.count, store, silence)
        return self._watchdog.watching()

    def _collective(self, name: str) -> AbstractContextManager[None]:
        return self._watchdog.collective(name) if self._watchdog else nullcontext()

    def shard(self, items: Sequence[T]) -> list[T]:
        """This process's items: every count-th one."""
        return list(items[self.rank :: self.count])

    def unshard(self, mine: Sequence[T], total: int) -> list[T]:
        """The results of all shares in the order of the whole; `share` undone."""
        if self.count == 1:
            return list(mine)
        with self._collective("unshard"):
            parts: list[list[T]] = gather_object([list(mine)])
        return [parts[i % self.count][i // self.count] for i in range(total)]

    def all_gather(self, mine: T) -> list[T]:
        """One thing of each process, in their order."""
        if self.count == 1:
            return [mine]
        with self._collective("all_gather"):
            found: list[T] = gather_object([mine])
        return found

    def broadcast(self, value: T) -> T:
        """What the first process says, in all of them."""
        if self.count == 1:
            return value
        found = [value]
        with self._collective("broadcast"):
            broadcast_object_list(found)
        return found[0]

    def all_reduce_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum gradients over processes; one that had no share counts as zeros."""
        if self.count == 1:
            return
        with self._collective("gradients"):
            for parameter in parameters:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                total: Tensor = parameter.grad
                torch.distributed.all_reduce(total)

    def barrier(self) -> None:
        """Until all are here."""
        with self._collective("barrier"):
            self.state.wait_for_everyone()
