"""Chat with a model on a terminal or through a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gnomon.api.best_of_n import best_of, sample_completions
from gnomon.api.score import reward_named
from gnomon.core.config import validate
from gnomon.core.errors import DataError
from gnomon.core.progress import console
from gnomon.core.types import Message, Prompt
from gnomon.data.templates.rendering import render_prompt
from gnomon.models.engine.device import find_compute
from gnomon.models.external import open_policy
from gnomon.models.roles import Policy
from gnomon.rewards.reward import Reward
from gnomon.rollouts.sampling_params import Sampling
from gnomon.stages.evaluate import BestOfSettings

HELP = "/reset clears the conversation, /quit ends it."


@dataclass
class Conversation:
    """A conversation with a model.

    Attributes:
        policy: the model.
        sampling: sampling settings of its answers.
        system: the system message, if any.
        seed: seed of the answers.
        history: the turns so far, without the system message.
        turns: number of answers so far, which varies the seed.
        best: best-of-n settings.
        judge: the reward that chooses the best.
    """

    policy: Policy
    sampling: Sampling
    system: str | None = None
    seed: int = 0
    history: list[Message] = field(default_factory=list)
    turns: int = 0
    best: BestOfSettings | None = None
    judge: Reward | None = None

    def answer(self, text: str) -> str:
        """Answer a user's turn, and add both to the history."""
        self.history.append(Message("user", text))
        try:
            prompt = self._fitting_prompt()
        except DataError:
            self.history.pop()
            raise
        seed = self.seed + self.turns
        (sampled,) = sample_completions(
            self.policy, [prompt], self.sampling, seed=seed, best=self.best, judge=self.judge
        )
        self.history.append(Message("assistant", sampled.rollout.completion.text))
        self.turns += 1
        return sampled.rollout.completion.text

    def reset(self) -> None:
        """Clear the history."""
        self.history.clear()

    def _fitting_prompt(self) -> Prompt:
        """The conversation as a prompt, without its oldest turns if the model's context is too short."""
        limit = getattr(self.policy.network.config.get_text_config(), "max_position_embeddings", None)
        start = () if self.system is None else (Message("system", self.system),)
        while True:
            prompt = Prompt("chat", (*start, *self.history))
            length = len(render_prompt(self.policy.tokenizer, prompt)) + self.sampling.max_tokens
            if limit is None or length <= limit:
                return prompt
            if len(self.history) == 1:
                raise DataError(
                    f"this and an answer of {self.sampling.max_tokens} tokens need {length} tokens, and the "
                    f"model's context is {limit}; write less, or lower --max-tokens."
                )
            del self.history[:2]


def talk(
    model: str,
    settings: Mapping[str, Any],
    *,
    system: str | None = None,
    seed: int = 0,
    best: int | None = None,
    reward: str | None = None,
) -> None:
    """Answer each line of standard input until its end or /quit.

    Args:
        model: name or path of the model.
        settings: fields of `Sampling`.
        system: the system message.
        seed: the same seed and the same turns give the same answers.
        best: number of draws per answer, the best one is returned.
        reward: scores the draws; the draw with the highest score is returned.
    """
    sampling = validate(Sampling, settings, "chat")
    chosen = best_of(best, reward, sampling)
    judge = reward_named(chosen.judge) if chosen else None
    policy = open_policy(model, find_compute())
    conversation = Conversation(policy, sampling, system, seed, best=chosen, judge=judge)
    interactive = sys.stdin.isatty()
    if interactive:
        console.print(f"{model}: {HELP}", markup=False, highlight=False, soft_wrap=True)
    for line in _lines(interactive):
        match line.strip():
            case "":
                continue
            case "/quit" | "/exit":
                return
            case "/reset":
                conversation.reset()
                console.print("(cleared)")
            case "/help":
                console.print(HELP, markup=False)
            case text:
                try:
                    print(conversation.answer(text), flush=True)
                except DataError as error:
                    console.print(str(error), markup=False, style="yellow", soft_wrap=True)


def _lines(interactive: bool) -> Iterator[str]:
    """Lines typed at a terminal after a prompt sign, or read from a pipe, until Ctrl-C or Ctrl-D."""
    try:
        while True:
            yield input("> " if interactive else "")
    except (EOFError, KeyboardInterrupt):
        return
