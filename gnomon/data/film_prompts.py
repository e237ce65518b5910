"""Ways to ask for one sentence of a film review: some to train on, others held out to evaluate with."""

from __future__ import annotations

from gnomon.core.types import Message, Prompt

TRAINING = (
    "Write one sentence of a film review.",
    "Write a single sentence from a movie review.",
    "Give me one sentence of a film review.",
    "In one sentence, review a film.",
    "Write one line of a critic's movie review.",
    "What would a critic say about a film, in one sentence?",
    "Quote one sentence from a review of a movie.",
    "Write a one-sentence verdict on a film.",
    "Review a movie in a single sentence.",
    "Give one sentence from a newspaper's film review.",
    "Write a snippet of a movie review, one sentence long.",
    "Say something about a film you saw, in one sentence.",
)

HELD_OUT = (
    "Please write one sentence for a review of a film.",
    "One sentence of a movie review, please.",
    "Sum up a film in one sentence, as a reviewer would.",
    "Write the sentence a film critic would end a review with.",
    "Give me a one-line movie review.",
    "Write a sentence that could stand in a film review.",
    "What does a reviewer write about a movie? Answer in one sentence.",
    "As a film critic, write one sentence about a movie.",
    "Write one sentence for the film page of a newspaper.",
    "Tell me in one sentence what you thought of the movie.",
    "Write an excerpt of a movie review: one sentence.",
    "A single sentence from a film review, please.",
)


def film_prompts(held_out: bool = False) -> list[Prompt]:
    """The wordings as prompts."""
    kind, wordings = ("held-out", HELD_OUT) if held_out else ("film", TRAINING)
    return [
        Prompt(f"{kind}-{number:02d}", (Message("user", text),)) for number, text in enumerate(wordings, start=1)
    ]
