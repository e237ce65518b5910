"""An auxiliary SFT loss on demonstrations beside any other loss.

With PPO it does what the pretraining mix of Ouyang et al. 2022 does (PPO-ptx, eq. 2, there on texts of
pretraining), on demonstrations and as a mean over tokens; with a preference loss it is joint training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gnomon.algorithms.contract import Models
from gnomon.data.batching import collate_demonstrations, epoch_order, totals_of
from gnomon.data.encoding import Example
from gnomon.losses.reduce import token_mean
from gnomon.training.runtime.distributed import Processes
from gnomon.training.runtime.micro_batching import TokenBudget


@dataclass(frozen=True)
class AuxiliarySFT:
    """Demonstrations of which each optimizer step uses the next few.

    Attributes:
        examples: all demonstrations.
        weight: weight of the mean negative log-likelihood per token.
        batch_size: demonstrations per step.
        seed: of their order.
    """

    examples: Sequence[Example]
    weight: float
    batch_size: int
    seed: int

    def backward(
        self, models: Models, step: int, processes: Processes, token_budget: TokenBudget
    ) -> dict[str, float]:
        """Add the SFT loss's gradient to that of the main loss.

        Args:
            models: with the policy.
            step: number of the optimizer step, from 1.
            processes: each takes a shard of the demonstrations.
            token_budget: of micro-batches.

        Returns:
            This process's share of the metric `sft_loss`.
        """
        batch = self._batch(step)
        totals, loss_sum = totals_of(batch), 0.0
        for rows in token_budget.micro_batches(range(len(batch)), [e.cost for e in batch], processes):
            made = collate_demonstrations([batch[r] for r in rows], totals)
            logprobs = models.policy.logprobs(made.tokens)
            loss = token_mean(-logprobs, made.tokens.mask.to(logprobs.device), totals.tokens)
            (self.weight * loss).backward()  # type: ignore[no-untyped-call]
            loss_sum += float(loss.detach())
        return {"sft_loss": loss_sum}

    def tokens(self, step: int) -> int:
        """Tokens of an optimizer step's demonstrations, with their prompts."""
        return sum(example.cost for example in self._batch(step))

    def _batch(self, step: int) -> list[Example]:
        count = len(self.examples)
        positions = range((step - 1) * self.batch_size, step * self.batch_size)
        orders = {turn: epoch_order(count, self.seed + 17, turn) for turn in {p // count for p in positions}}
        return [self.examples[orders[p // count][p % count]] for p in positions]
