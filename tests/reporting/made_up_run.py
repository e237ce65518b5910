"""A run folder with invented figures, to test that the report shows them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

PROMPTS = [
    "The film begins with",
    "这部电影最打动我的是",
    "I went in expecting",
    "After the first hour,",
    "My sister said",
    "片尾",
]


def rates(judge: str, rate: float, half: float, model: str = "aligned") -> dict[str, Any]:
    wins, ties = round(192 * (rate - 0.02)), 8
    return {
        "model": model, "against": "sft", "judge": judge, "wins": wins, "ties": ties, "losses": 192 - wins - ties,
        "rate": rate, "low": rate - half, "high": rate + half,
    }  # fmt: skip


def model_row(model: str, mean: float, kl: float | None, perplexity: float, variety: float) -> dict[str, Any]:
    scores = {"judge": mean, "vader": mean / 4, "ridge": 3 + mean / 2}
    return {
        "model": model, "kl": kl, "kl_low": kl and kl - 0.7, "kl_high": kl and kl + 0.7, "perplexity": perplexity,
        "distinct_1": variety / 2, "distinct_2": variety, "self_bleu": 0.31, "length_mean": 38.4,
        "unfinished_share": 0.12,
        "scores": {name: {"mean": x, "low": x - 0.15, "high": x + 0.15} for name, x in scores.items()},
    }  # fmt: skip


def feedback() -> dict[str, Any]:
    return {
        "kind": "feedback", "seconds": 14.2, "items": 10605, "ratings": 198313,
        "raters_per_item": {"least": 15, "mean": 18.7, "most": 29},
        "krippendorff_alpha": {"level": "interval", "value": 0.68, "low": 0.67, "high": 0.69},
        "human_ceiling": {
            "one_rater_against_rest_r": 0.88, "pair_agreement": 0.86, "pair_low": 0.85, "pair_high": 0.87,
            "tie_share": 0.04,
        },
        "split": {"judge_holdout": 5302, "training": 1600, "validation": 303, "elsewhere": 3400},
        "preferences": 5600, "demonstrations": 600, "rejected": 0,
    }  # fmt: skip


def training(algorithm: str, seconds: float, steps: int) -> dict[str, Any]:
    return {
        "kind": "train", "algorithm": algorithm, "model": "base", "seconds": seconds, "steps": steps,
        "parameters": {"total": 134_515_008, "trainable": 4_884_480}, "device": "cpu", "dtype": "float32",
        "peak_memory_gb": 3.2, "final": {"loss": 3.21, "some_new_metric": math.nan},
    }  # fmt: skip


def examination() -> dict[str, Any]:
    def row(name: str, kind: str, r: float, pairs: float) -> dict[str, Any]:
        return {
            "name": name, "kind": kind, "pearson": r, "pearson_low": r - 0.03, "pearson_high": r + 0.03,
            "spearman": r - 0.02, "spearman_low": r - 0.05, "spearman_high": r + 0.01,
            "pair_accuracy": pairs, "pair_low": pairs - 0.015, "pair_high": pairs + 0.015,
        }  # fmt: skip

    people = [(i * 7919 % 400) / 400 for i in range(400)]
    return {
        "items": 400, "pairs": 4000,
        "rows": [
            row("judge", "model", 0.79, 0.81), row("vader", "baseline", 0.42, 0.65),
            row("tfidf-ridge", "baseline", 0.61, 0.72),
            {"name": "one person", "kind": "human", "pearson": 0.88, "pair_accuracy": 0.86},
        ],
        "calibration": {
            "ece": 0.031,
            "bins": [{"predicted": x / 10 + 0.05, "observed": 0.07 + 0.086 * x, "count": 100 + 40 * abs(x - 5)}
                     for x in range(10)],
        },
        "scatter": [[4 * p - 2 + math.sin(37 * i), 1 + 8 * p] for i, p in enumerate(people)],
    }  # fmt: skip


ANSWERS = {
    "base": " a scene that goes on, and on.",
    "sft": " a quiet scene, well acted.",
    "aligned": " 温柔而精确，令人难忘。A wonderful, tender opening that never lets go.",
}


def sample(index: int, prompt: str) -> dict[str, Any]:
    completions = [
        {"model": model, "text": text * (1 + index % 3), "scores": {"judge": 0.4, "vader": -0.2}}
        for model, text in ANSWERS.items()
    ]
    return {"prompt": prompt, "completions": completions}


def bad(index: int, text: str, score: float | None) -> dict[str, Any]:
    return {"prompt": PROMPTS[index], "model": "aligned", "text": text, "scores": {"judge": score}}


def evaluation() -> dict[str, Any]:
    win = {"name": "win_rate", "judge": "vader", "value": 0.8, "low": 0.74, "threshold": 0.5, "passed": True}
    return {
        "kind": "evaluate", "seconds": 731, "models": list(ANSWERS), "reference": "sft", "candidate": "aligned",
        "prompts": 96, "completions_per_prompt": 2,
        "judges": [
            {"name": "judge"}, {"name": "vader", "independent": True}, {"name": "ridge", "independent": True},
        ],
        "table": [
            model_row("base", -0.3, None, 21.0, 0.61), model_row("sft", 0.1, 0.0, 18.2, 0.66),
            model_row("aligned", 1.2, 4.1, 19.7, 0.60),
        ],
        "win_rates": [
            rates("judge", 0.88, 0.04), rates("vader", 0.80, 0.06), rates("ridge", 0.71, 0.06),
            rates("judge", 0.31, 0.06, "base"),
        ],
        "checks": [
            win,
            {"name": "perplexity", "value": 1.08, "threshold": 1.15, "passed": True},
            {"name": "distinct_2", "value": 0.91, "threshold": 0.8, "passed": True},
        ],
        "samples": [sample(index, prompt) for index, prompt in enumerate(PROMPTS)],
        "worst": [
            bad(0, " the the the the", -2.1), bad(1, "", None), bad(2, "没有结尾的故事，没有结尾的故事", -1.7),
        ],
    }  # fmt: skip


def offline_metrics(steps: int) -> Iterator[dict[str, Any]]:
    for step in range(1, steps + 1):
        noise = math.sin(step * 12.9898) * 0.3
        yield {"step": step, "time": step * 1.5, "loss": 2 + 3 * math.exp(-step / 30) + noise,
               "accuracy": 0.8 - 0.3 * math.exp(-step / 25) + noise / 10, "learning_rate": 1e-5}  # fmt: skip


def ppo_metrics(steps: int) -> Iterator[dict[str, Any]]:
    for step in range(1, steps + 1):
        noise, way = math.sin(step * 12.9898), 1 - math.exp(-step / 25)
        yield {
            "step": step, "time": step * 9.1, "score_mean": 0.1 + 1.1 * way + noise / 8,
            "kl": 4 * way + noise / 4, "kl_coef": 0.05 + 0.02 * way,
            "entropy": 3.1 - 0.4 * way + noise / 20,
            "value_loss": 1.2 - way, "length_mean": 38 + noise, "frac_truncated": 0.12 + noise / 50,
            "clip_fraction": 0.1 + noise / 40,
            "explained_variance": 0.7 * way + noise / 20 if step > 3 else math.nan,
        }  # fmt: skip


def write_stage(run: Path, name: str, result: object, metrics: Iterable[dict[str, Any]] = ()) -> None:
    (run / name).mkdir(parents=True, exist_ok=True)
    (run / name / "result.json").write_text(json.dumps(result), encoding="utf-8")
    lines = [json.dumps(row) for row in metrics]
    if lines:
        (run / name / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 99, "lo']), encoding="utf-8")


def make_run(folder: Path) -> Path:
    run = folder / "film-reviews"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(
        "run: runs/film-reviews\nseed: 0\nmodel: {name: smollm2-135m, adapter: lora}\nstages:\n"
        "  - {name: people, feedback: film-reviews}\n  - {name: sft, algorithm: sft}\n"
        "  - {name: judge, algorithm: reward_model}\n  - {name: aligned, algorithm: ppo}\n"
        "  - {name: proof, evaluate: [base, sft, aligned]}\n",
        encoding="utf-8",
    )
    environment = {
        "gnomon": "0.1.0", "python": "3.11.9", "torch": "2.6.0", "transformers": "5.0.0",
        "platform": "Linux-6.1-x86_64",
        "processor": "An ordinary processor", "cores": 8, "seed": 0,
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "started": "2025-01-31 09:00 UTC", "command": "gnomon run recipes/film-reviews.yaml",
        "data": {"film-reviews": "a1" * 32},
    }  # fmt: skip
    (run / "environment.json").write_text(json.dumps(environment), encoding="utf-8")
    write_stage(run, "people", feedback())
    write_stage(run, "sft", training("sft", 412, 75), offline_metrics(75))
    write_stage(
        run, "judge", training("reward_model", 1290, 175) | {"evaluation": examination()}, offline_metrics(175)
    )
    write_stage(run, "aligned", training("ppo", 5025, 120), ppo_metrics(120))
    write_stage(run, "proof", evaluation())
    return run
