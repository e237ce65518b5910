"""Gnomon beside TRL and transformers: the same weights, token ids, batches and precision, one after the other.

    make bench                                             everything, on SmolLM2-135M
    python benchmarks/versus_peers.py --model random-20m   a quick look
    python benchmarks/versus_peers.py --works dpo,sft --data long_prompts --pairs 3
    python benchmarks/versus_peers.py --precision float32  also where the processor is made for bfloat16
    python benchmarks/versus_peers.py --growth             how time and memory grow, on the random model

Each measurement is a process of its own, so that its peak memory is its own; A B A B, and the ratio of each pair.
Losses of the first three steps are compared before any time is printed; in bfloat16 the first step's, for two
orders of the same sums soon part. Writes `benchmarks/results.json`, each precision apart.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import timeit
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "peers"))
import work  # noqa: E402
from work import Case, Precision  # noqa: E402

from gnomon.core.storage.environment import environment  # noqa: E402
from gnomon.core.storage.files import write_json  # noqa: E402
from gnomon.data.reading.downloads import cache_folder, fetch_from_pypi  # noqa: E402
from gnomon.models.catalog import installed_model, write_once  # noqa: E402
from gnomon.models.engine.device import Compute, find_compute  # noqa: E402

WORKS = ("dpo", "reward_model", "sft", "kto", "grpo", "rloo", "ppo", "sample")
PPO_PEER = (
    "trl==1.12.0",
    "trl-1.12.0-py3-none-any.whl",
    "9c8f117b21a941edbc85744f5a341c9453d38e81f24ae81d3c6e9b9ca3b96409",
)
TOLERANCE = {"float32": (3, 1e-3), "bfloat16": (1, 1e-2)}  # losses of how many steps agree, relative
# Rows of a step; prompts of an online one, with eight completions each (TRL's GRPO of four overflows 24 GB).
SIZES = {"dpo": 8, "reward_model": 8, "sft": 8, "kto": 8, "grpo": 2, "rloo": 2, "ppo": 2, "sample": 4}
STEPS = {"grpo": 2, "rloo": 2, "ppo": 2, "sample": 4}  # a step takes minutes; of the others five
GROWTH: dict[str, tuple[str, str, tuple[int, ...]]] = {  # what grows, in which work, over which values
    "completions": ("grpo", "completions of a prompt", (2, 4, 8, 16)),
    "prompt": ("dpo", "tokens of a prompt", (64, 256, 1024)),
    "rows": ("dpo", "pairs of a step", (2, 4, 8, 16)),
    "vocabulary": ("sft", "entries of the vocabulary", (8192, 49152, 131072)),
}


def prepare(model: str, vocabulary: int | None = None) -> Path:
    """The model as both sides load it: a policy, and a scorer on the same trunk with a head from a seed."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    def write(folder: Path) -> None:
        home = installed_model("smollm2-135m")
        torch.manual_seed(0)
        if model == "random-20m":
            config = AutoConfig.from_pretrained(home)
            config.update({"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 8})
            config.update(
                {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "layer_types": None}
            )
            config.vocab_size = vocabulary or config.vocab_size
            policy = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        else:
            policy = AutoModelForCausalLM.from_pretrained(installed_model(model), dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(home)
        policy.save_pretrained(folder / "policy")
        scorer = AutoModelForSequenceClassification.from_pretrained(folder / "policy", num_labels=1)
        scorer.config.pad_token_id = 0
        scorer.save_pretrained(folder / "scorer")
        for part in ("policy", "scorer"):
            tokenizer.save_pretrained(folder / part)
        (folder / "config.json").write_text("{}")

    name = model if vocabulary is None else f"{model}-{vocabulary}"
    return write_once(cache_folder() / "bench" / name, write)


def measure(side: str, case: Case, folder: Path) -> dict[str, Any]:
    """One process of one side; its seconds a step, tokens, losses and peak memory."""
    case.write(folder / "case.json")
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    paths = [str(HERE / "peers"), os.environ.get("PYTHONPATH", "")]
    if side == "theirs" and case.work == "ppo":
        peer = folder / "trl-1.12"
        if not peer.exists():
            requirement, wheel, digest = PPO_PEER
            with zipfile.ZipFile(fetch_from_pypi(requirement, wheel, digest, source=False)) as archive:
                archive.extractall(peer)
        paths.insert(0, str(peer))
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            str(HERE / "peers" / f"{side}.py"),
            str(folder / "case.json"),
            str(result),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TRL_EXPERIMENTAL_SILENCE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{side}, {case.work}, {case.data}:\n{done.stderr[-2000:]}")
    measurement: dict[str, Any] = json.loads(result.read_text())
    return measurement


def compare(case: Case, pairs: int, folder: Path) -> dict[str, Any]:
    """A B A B …: medians of the pairs' ratios. The first step of each warms up and is left out."""
    sides: dict[str, list[dict[str, Any]]] = {"ours": [], "theirs": []}
    for _ in range(pairs):
        for side, runs in sides.items():
            runs.append(measure(side, case, folder))
    losses = [sides[side][0]["losses"][:3] for side in sides]
    steps, tolerance = TOLERANCE[case.precision]
    for a, b in list(zip(*losses, strict=True))[:steps]:  # of stored data: samplers draw differently
        if abs(a - b) > tolerance * abs(b):
            raise SystemExit(
                f"{case.work}, {case.data}: the losses differ, {losses[0]} and {losses[1]}; no times."
            )

    def seconds(run: dict[str, Any]) -> float:
        return statistics.median(run["seconds"][1:])

    ratios = [seconds(b) / seconds(a) for a, b in zip(*sides.values(), strict=True)]
    memory = [a["peak_gb"] / b["peak_gb"] for a, b in zip(*sides.values(), strict=True)]
    return {
        "speed_ratio": statistics.median(ratios),
        "speed_ratios": ratios,
        "memory_ratio": statistics.median(memory),
        "tokens_per_second": {s: [f["tokens"] / seconds(f) for f in runs] for s, runs in sides.items()},
        "peak_gb": {s: [f["peak_gb"] for f in runs] for s, runs in sides.items()},
        "losses": dict(zip(sides, losses, strict=True)),
        "case": asdict(replace(case, model=Path(case.model).name)),
    }


def share_of_rate(case: Case, folder: Path, row: dict[str, Any], rate: float, memory: float) -> None:
    """Add how much of the measured rates Gnomon's steps reach, by the operations that they really do.

    Where a sampler's share of the matrix rate is the larger one, arithmetic binds it, otherwise memory does.
    """
    first = replace(case, count_flops=True, steps=1)
    flops = measure("ours", first, folder)["flops"] / work.tokens_of(first)
    pace = statistics.median(row["tokens_per_second"]["ours"])
    row["gflop_per_token"] = flops / 1e9
    row["share_of_matrix_rate"] = flops * pace / 1e9 / rate
    if case.work == "sample":  # each token's pass reads all weights once, whatever the rows
        weights = sum(p.stat().st_size for p in (Path(case.model) / "policy").glob("*.safetensors")) / 1e9
        weights *= getattr(torch, case.precision).itemsize / 4
        row["share_of_memory_rate"] = weights * case.limit * pace / work.tokens_of(case) / memory


def grow(key: str, pairs: int, precision: Precision, folder: Path) -> dict[str, Any]:
    """Seconds a step and peak memory of both sides as one size grows, on the random model."""
    kind, about, values = GROWTH[key]
    curve: dict[str, Any] = {"work": kind, "about": about, "values": list(values), "ours": [], "theirs": []}
    for value in values:
        model = prepare("random-20m", value if key == "vocabulary" else None)
        case = Case(kind, "long_prompts", str(model), rows=4, completions=8, steps=2, precision=precision)
        if key in ("rows", "completions"):
            case = replace(case, **{key: value})
        elif key == "prompt":
            case = replace(case, prompt=(value, value))
        row = compare(case, pairs, folder)
        tokens = work.tokens_of(case)
        for side in ("ours", "theirs"):
            pace, peak = (statistics.median(row[what][side]) for what in ("tokens_per_second", "peak_gb"))
            curve[side].append({"seconds": tokens / pace, "peak_gb": peak})
        print(f"{kind}, {value} {about}: {row['speed_ratio']:.2f} times as fast", flush=True)
    return curve


def precision_of(compute: Compute) -> Precision:
    return "bfloat16" if compute.dtype == torch.bfloat16 else "float32"


def shelf(everything: dict[str, Any], precision: Precision) -> dict[str, Any]:
    """Where results of a precision belong: at the top those of the first one measured, others by its name."""
    first = everything.get("machine", {}).get("precision", precision)
    results: dict[str, Any] = everything if precision == first else everything.setdefault(precision, {})
    return results


def matrix_rate(precision: str) -> float:
    """GFLOP/s of a product of two matrices of 1024 × 1024: what the machine can do."""
    a, b = (torch.randn(1024, 1024, dtype=getattr(torch, precision)) for _ in range(2))
    return 2 * 1024**3 / quickest(lambda: a @ b, 20) / 1e9


def memory_rate() -> float:
    """GB/s of reading memory."""
    numbers = torch.ones(1 << 27)
    return numbers.nbytes / quickest(numbers.sum, 5) / 1e9


def quickest(work: Callable[[], Any], times: int) -> float:
    """Seconds, the least of several."""
    return min(timeit.repeat(work, number=1, repeat=times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", choices=["smollm2-135m", "random-20m"])
    parser.add_argument("--works", default=",".join(WORKS))
    parser.add_argument("--data", default=",".join(work.LENGTHS))
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--growth", action="store_true", help="growth curves in the place of the table")
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    options = parser.parse_args()
    for option, known in (("works", WORKS), ("data", tuple(work.LENGTHS))):
        if wrong := [name for name in getattr(options, option).split(",") if name not in known]:
            parser.error(f"--{option}: '{wrong[0]}' is none of {', '.join(known)}.")
    everything: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    precision = precision_of(find_compute("cpu")) if options.precision == "auto" else options.precision
    results = shelf(everything, precision)
    model = prepare(options.model)
    results["machine"] = {
        **environment(0, {}),
        "precision": precision,
        "matrix_gflops": matrix_rate(precision),
        "memory_gb_per_second": memory_rate(),
        "threads": torch.get_num_threads(),
    }
    rate, memory = results["machine"]["matrix_gflops"], results["machine"]["memory_gb_per_second"]
    threads = torch.get_num_threads()
    print(f"{options.model}, {precision}, {threads} threads, {rate:.0f} GFLOP/s, {memory:.0f} GB/s")
    with tempfile.TemporaryDirectory() as name:
        if options.growth:
            for key in GROWTH:
                results.setdefault("growth", {})[key] = grow(key, options.pairs, precision, Path(name))
                write_json(options.out, everything)
            return
        unmeasured = []
        for data in options.data.split(","):
            for kind in options.works.split(","):
                steps = STEPS.get(kind, 5)
                case = Case(kind, data, str(model), rows=SIZES[kind], steps=steps, precision=precision)
                try:
                    row = compare(case, options.pairs, Path(name))
                except SystemExit as problem:
                    unmeasured.append(str(problem))
                    continue
                share_of_rate(case, Path(name), row, max(rate, matrix_rate(precision)), memory)
                results.setdefault(data, {})[kind] = row
                write_json(options.out, everything)
                print(line(data, kind, row), flush=True)
    if unmeasured:
        raise SystemExit("\n".join(unmeasured))


def line(data: str, kind: str, row: dict[str, Any]) -> str:
    rate, peer_rate = (statistics.median(v) for v in row["tokens_per_second"].values())
    return (
        f"{data:14} {kind:13} {row['speed_ratio']:5.2f} times as fast ({rate:.0f} and {peer_rate:.0f} tokens/s), "
        f"{row['memory_ratio']:.2f} of the memory, {row['share_of_matrix_rate']:.0%} of the matrix rate"
    )


if __name__ == "__main__":
    main()
