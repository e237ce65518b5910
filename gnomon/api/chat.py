"""A conversation with a model, on a terminal or through a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gnomon.api.best_of_n import best_of, draw
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
from gnomon.stages.settings import BestOfSettings

HELP = "/reset forgets the conversation, /quit ends it."


@dataclass
class Conversation:
    """What has been said, and a model that answers.

    Attributes:
        history: the turns so far, without the system message.
        turns: answers given, which make each draw a new one.
        best: how many answers are drawn for each that is given, where the best is chosen.
        judge: whose highest score is the best.
    """

    policy: Policy
    sampling: Sampling
    system: str | None = None
    seed: int = 0
    history: list[Message] = field(default_factory=list)
    turns: int = 0
    best: BestOfSettings | None = None
    judge: Reward | None = None

    def answer(self, said: str) -> str:
        """The model's answer, which is remembered with what was said."""
        self.history.append(Message("user", said))
        try:
            prompt = self._fitting_prompt()
        except DataError:
            self.history.pop()
            raise
        seed = self.seed + self.turns
        (drawn,) = draw(self.policy, [prompt], self.sampling, seed=seed, best=self.best, judge=self.judge)
        self.history.append(Message("assistant", drawn.rollout.completion.text))
        self.turns += 1
        return drawn.rollout.completion.text

    def reset(self) -> None:
        """Forget what was said."""
        self.history.clear()

    def _fitting_prompt(self) -> Prompt:
        """The conversation as a prompt; its oldest turns are forgotten where the model's context is too short."""
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
                    f"model holds {limit}; say less, or lower --max-tokens."
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
    """Answer each line of standard input until it ends or says /quit.

    Args:
        model: who answers.
        settings: of `Sampling`.
        system: what the model is told before the first turn.
        seed: the same seed and the same turns give the same answers.
        best: draw so many answers, and give the best.
        reward: scores the draws, of which the highest is given.
    """
    sampling = validate(Sampling, settings, "chat")
    chosen = best_of(best, reward, sampling)
    judge = reward_named(chosen.judge) if chosen else None
    policy = open_policy(model, find_compute())
    conversation = Conversation(policy, sampling, system, seed, best=chosen, judge=judge)
    person = sys.stdin.isatty()
    if person:
        console.print(f"{model}: {HELP}", markup=False, highlight=False, soft_wrap=True)
    for said in _lines(person):
        match said.strip():
            case "":
                continue
            case "/quit" | "/exit":
                return
            case "/reset":
                conversation.reset()
                console.print("(forgotten)")
            case "/help":
                console.print(HELP, markup=False)
            case words:
                try:
                    print(conversation.answer(words), flush=True)
                except DataError as error:
                    console.print(str(error), markup=False, style="yellow", soft_wrap=True)


def _lines(person: bool) -> Iterator[str]:
    """Lines of a person at a terminal, with a mark before each, or of a pipe; Ctrl-C and Ctrl-D end them."""
    try:
        while True:
            yield input("> " if person else "")
    except (EOFError, KeyboardInterrupt):
        return
