"""Hints for words that have another name here: recipe keys, metrics, command-line flags, commands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

# Each table maps a word that is refused to the word to use, which the error gives as a hint. A bare word applies
# anywhere; where it stands for several things, write it below its parent: `kl.where` in KEYS and METRICS, the
# command before the flag (`sample --by`) in FLAGS, the whole path (`feedback pick`) in COMMANDS. A key or metric
# is a hint only where it is valid. A new key may end in a value: `optimizer: adamw_8bit`.
KEYS: dict[str, str] = {
    "best_of.by": "best_of.judge",
    "critic_layers": "critic_trainable_layers",
    "demonstrate": "demonstration_choice",
    "depth": "num_layers",
    "held_out_wordings": "held_out_prompt_templates",
    "imitate": "sft_mix",
    "reserved": "judge_holdout",
    "wordings": "prompt_templates",
}
METRICS: dict[str, str] = {}
FLAGS: dict[str, str] = {
    "chat --by": "--reward",
    "evaluate --by": "--reward",
    "run --plan": "--dry-run",
    "sample --by": "--reward",
}
COMMANDS: dict[str, str] = {}


def renamed(word: str, known: Iterable[str], table: Mapping[str, str]) -> str | None:
    """The word of `known` to use in place of `word`, or `None`.

    Args:
        word: a key or metric without its parents.
        known: the words that are valid where `word` stands.
        table: `KEYS` or `METRICS`.
    """
    valid = set(known)
    for old, new in table.items():
        name = new.rpartition(".")[2] if ":" not in new else new
        if old.rpartition(".")[2] == word and name.partition(":")[0] in valid:
            return name
    return None


def renamed_flag(command: str, flag: str) -> str | None:
    """The flag to use in place of `flag` with a command such as `feedback export`, or `None`."""
    return FLAGS.get(f"{command} {flag}") or FLAGS.get(flag)


def renamed_command(command: str) -> str | None:
    """The command to use in place of a command such as `feedback pick`, or `None`."""
    return COMMANDS.get(command)
