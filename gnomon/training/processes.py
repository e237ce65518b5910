"""One process or several: who does which share of the work, and how the shares are put together again.

Every loss is a share of the whole step's (see `Totals`), so several processes need no more than a sum of
gradients: each takes some of the micro-batches. They are started by `accelerate launch`; alone, a process shares
with nobody and waits for nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn

T = TypeVar("T")
PATIENCE = timedelta(minutes=30)  # the others may be writing a model or examining one


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

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes files and speaks."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """This process's items: every count-th one."""
        return list(items[self.rank :: self.count])

    def gather(self, mine: Sequence[T], total: int) -> list[T]:
        """The results of all shares in the order of the whole; `share` undone."""
        if self.count == 1:
            return list(mine)
        parts: list[list[T]] = gather_object([list(mine)])
        return [parts[i % self.count][i // self.count] for i in range(total)]

    def collect(self, mine: T) -> list[T]:
        """One thing of each process, in their order."""
        if self.count == 1:
            return [mine]
        found: list[T] = gather_object([mine])
        return found

    def tell(self, value: T) -> T:
        """What the first process says, in all of them."""
        if self.count == 1:
            return value
        found = [value]
        broadcast_object_list(found)
        return found[0]

    def add_up_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum gradients over processes; one that had no share counts as zeros."""
        if self.count == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            total: Tensor = parameter.grad
            torch.distributed.all_reduce(total)

    def wait(self) -> None:
        """Until all are here."""
        self.state.wait_for_everyone()
