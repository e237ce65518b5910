"""Hints for words that have another name here: recipe keys, metrics, command-line flags, commands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

# Each table maps a refused word to the word to use, which the error gives as a hint. A bare word applies
# anywhere; if it has several meanings, write it below its parent: `kl.where` in KEYS and METRICS, the
# command before the flag (`sample --by`) in FLAGS, the whole path (`feedback pick`) in COMMANDS. A key or metric
# is a hint only where it is valid. A new key may end in a value: `optimizer: adamw_8bit`.
KEYS: dict[str, str] = {
    "batch_tokens": "micro_batch_tokens",
    "best_of.by": "best_of.judge",
    "centring": "center_rewards_coef",
    "critic_layers": "critic_trainable_layers",
    "demonstrate": "demonstration_choice",
    "depth": "num_layers",
    "fastest": "min_seconds",
    "floor": "min_reliability",
    "frozen_states_gb": "activation_cache_gb",
    "held_out_wordings": "held_out_prompt_templates",
    "imitate": "sft_mix",
    "importance_cap": "tis_cap",
    "kl.coefficient": "coef",
    "kl.exact": "unbiased_gradient",
    "kl.rule": "controller",
    "kl.where": "placement",
    "least_votes": "min_votes_before_pause",
    "missing_eos_score": "truncation_score",
    "moments": "optimizer: adamw_8bit",
    "nll_weight": "sft_coef",
    "normalise": "normalize",
    "reference_every": "ref_update_interval",
    "resample": "dynamic_sampling_rounds",
    "reserved": "judge_holdout",
    "samples_every": "log_samples_every",
    "shortest_reason": "min_reason_chars",
    "size": "ranking_size",
    "slowest": "max_seconds",
    "split": "consensus_threshold",
    "tail_weight": "ld_alpha",
    "wordings": "prompt_templates",
}
METRICS: dict[str, str] = {
    "alike_groups_share": "frac_zero_std_groups",
    "failed_rows": "reward_failures",
    "first_approx_kl": "sampler_trainer_kl",
    "first_probability_gap": "sampler_trainer_prob_abs_diff",
    "idle_steps": "skipped_updates",
    "kl_coefficient": "kl_coef",
    "lead": "reward_margin",
    "missing_eos_share": "frac_truncated",
    "probability_gap": "prob_abs_diff",
}
FLAGS: dict[str, str] = {
    "chat --by": "--reward",
    "evaluate models --by": "--reward",
    "feedback auto-annotate --by": "--annotator",
    "feedback auto-annotate --copies": "--replicas",
    "feedback auto-annotate --truth": "--utility",
    "feedback collect --annotators": "--annotator",
    "feedback export --as": "--kinds",
    "feedback export --by": "--aggregation",
    "feedback export --without": "--exclude-annotator",
    "feedback generate --alike": "--similarity",
    "feedback generate --uncertain-by": "--uncertainty-from",
    "feedback generate --wording": "--rephrase-with",
    "feedback init --fastest": "--min-seconds",
    "feedback init --floor": "--min-reliability",
    "feedback init --least-votes": "--min-votes-before-pause",
    "feedback init --most": "--max-votes",
    "feedback init --shortest-reason": "--min-reason-chars",
    "feedback init --size": "--ranking-size",
    "feedback init --slowest": "--max-seconds",
    "feedback init --split": "--consensus-threshold",
    "feedback init --wanted": "--votes-per-item",
    "feedback power --each": "--per-annotator",
    "feedback power --width": "--ci-halfwidth",
    "feedback reorder --uncertain-by": "--uncertainty-from",
    "run --plan": "--dry-run",
    "sample --by": "--reward",
}
COMMANDS: dict[str, str] = {
    "feedback annotator": "feedback set-annotator",
    "feedback judge": "feedback auto-annotate",
    "feedback link": "feedback invite",
    "feedback pick": "feedback select-prompts",
    "feedback plan": "feedback power",
}


def renamed(word: str, known: Iterable[str], table: Mapping[str, str]) -> str | None:
    """Return the word of `known` that replaces `word`, or `None`.

    Args:
        word: a key or metric without its parents.
        known: the words that are valid in place of `word`.
        table: `KEYS` or `METRICS`.
    """
    valid = set(known)
    for old, new in table.items():
        name = new.rpartition(".")[2] if ":" not in new else new
        if old.rpartition(".")[2] == word and name.partition(":")[0] in valid:
            return name
    return None


def renamed_flag(command: str, flag: str) -> str | None:
    """Return the flag that replaces `flag` of a command such as `feedback export`, or `None`."""
    return FLAGS.get(f"{command} {flag}") or FLAGS.get(flag)


def renamed_command(command: str) -> str | None:
    """Return the command that replaces a command such as `feedback pick`, or `None`."""
    return COMMANDS.get(command)
