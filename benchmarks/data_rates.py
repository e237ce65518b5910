"""Rows a second and peak memory of cleaning made-up preferences, beside `datasets.map` and pandas doing the same.

    python benchmarks/data_rates.py --rows 100000

Each way runs in a process of its own on the same file: parse each row, check it by the filters of single records,
leave out exact duplicates, write the rest as JSON lines. `gnomon full` also looks for near-duplicates,
contradictions and length bias. Memory is that of the process with all its children; processor time is
theirs too, and tells more than rows a second where other programs run.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from gnomon.core.types import Preference
from gnomon.data.pool import cores
from gnomon.data.quality.clean import clean_file
from gnomon.data.quality.registry import build_filters
from gnomon.data.quality.shard import RowChecks
from gnomon.data.quality.texts import digest

ONLY_ROWS = dict.fromkeys(("near_duplicates", "contradictions", "length_bias", "agreement"), "off")
WAYS = ("gnomon", "datasets", "pandas", "gnomon full")
SAMPLE_SECONDS = 0.2


def make_rows(count: int, characters: int) -> Iterator[dict[str, Any]]:
    """Made-up preferences in English and Chinese; 1 in 50 repeats an earlier one, 1 in 50 nearly."""
    draw = random.Random(0)
    letters, signs = "abcdefghijklmnopqrstuvwxyz", [chr(code) for code in range(0x4E00, 0x4E00 + 3000)]
    words = ["".join(draw.choices(letters, k=draw.randint(2, 9))) for _ in range(5000)]
    phrases = ["".join(draw.choices(signs, k=draw.randint(1, 4))) for _ in range(5000)]

    def text(size: int, chinese: bool) -> str:
        parts = draw.choices(phrases if chinese else words, k=size // (3 if chinese else 6))
        return ("" if chinese else " ").join(parts) + ("。" if chinese else ".")

    recent: list[dict[str, Any]] = []
    for number in range(count):
        chinese = number % 5 == 0
        if number % 50 == 1 and recent:
            yield draw.choice(recent)
        elif number % 50 == 2 and recent:
            yield {**(one := draw.choice(recent)), "chosen": one["chosen"] + " Yes."}
        else:
            size = characters // 4
            row = {"prompt": text(size, chinese), "chosen": text(size * 3 // 2, chinese)}
            row["rejected"] = text(size * 3 // 2, chinese)
            recent = [*recent[-99:], row]
            yield row


def with_datasets(source: Path, out: Path) -> None:
    """The same with `datasets`: a map over shards in several processes, then a filter by digests."""
    import datasets

    datasets.disable_progress_bars()
    checks = RowChecks(Preference, build_filters(ONLY_ROWS))

    def check(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        checked = checks([("", row) for row in rows])
        lines = [row.line.decode() if row.rejected is None else "" for row in checked]
        return {"line": lines, "digest": [str(digest(line)) for line in lines]}

    data = datasets.load_dataset(
        "json", data_files=str(source), split="train", cache_dir=str(out.parent / "cache")
    )
    mapped = data.map(check, batched=True, batch_size=256, remove_columns=data.column_names, num_proc=cores())
    seen: set[str] = set()

    def is_new(row: dict[str, Any]) -> bool:
        new = bool(row["line"]) and row["digest"] not in seen
        seen.add(row["digest"])
        return new

    with out.open("w", encoding="utf-8") as file:
        file.writelines(row["line"] + "\n" for row in mapped.filter(is_new))


def with_pandas(source: Path, out: Path) -> None:
    """The same with pandas, which holds the whole table and uses one core."""
    import pandas as pd

    checks = RowChecks(Preference, build_filters(ONLY_ROWS))
    frame = pd.read_json(source, lines=True)
    checked = checks([("", row) for row in frame.to_dict("records")])
    lines = pd.Series([row.line.decode() for row in checked if row.rejected is None])
    with out.open("w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines.drop_duplicates())


def run_way(way: str, source: Path, out: Path) -> None:
    """Clean the file in one way."""
    if way == "datasets":
        with_datasets(source, out)
    elif way == "pandas":
        with_pandas(source, out)
    else:
        clean_file(source, out, ONLY_ROWS if way == "gnomon" else {}, overwrite=True)


def measure(way: str, source: Path, folder: Path) -> tuple[float, float, float]:
    """Seconds, seconds of processor time, and peak memory in GB, of a process that cleans the file in one way."""
    out = folder / f"{way.replace(' ', '-')}.jsonl"
    started, before = time.monotonic(), processor_seconds()
    process = subprocess.Popen([sys.executable, __file__, "--way", way, "--file", source, "--out", out])
    peak, watched = 0, psutil.Process(process.pid)
    while process.poll() is None:
        try:
            peak = max(peak, sum(one.memory_info().rss for one in (watched, *watched.children(recursive=True))))
        except psutil.NoSuchProcess:
            continue
        time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        raise SystemExit(f"{way} ended with {process.returncode}")
    return time.monotonic() - started, processor_seconds() - before, peak / 1e9


def processor_seconds() -> float:
    """Processor time of all processes that this one started and that have ended, with those that they started."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure every way, or run one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--characters", type=int, default=2000, help="of a row")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--folder", type=Path, help="for the files; by default a temporary one")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.way:
        run_way(chosen.way, chosen.file, chosen.out)
        return
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        source = Path(folder) / "rows.jsonl"
        with source.open("w", encoding="utf-8") as file:
            for row in make_rows(chosen.rows, chosen.characters):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        print(f"{chosen.rows:,} rows, {source.stat().st_size / 1e9:.2f} GB, {cores()} cores")
        for way in chosen.ways:
            seconds, busy, memory = measure(way, source, Path(folder))
            rate, cost = chosen.rows / seconds, busy / chosen.rows * 1000
            print(f"{way:<12} {rate:>8,.0f} rows/s {cost:>6.2f} ms of a core a row {memory:>6.2f} GB", flush=True)


if __name__ == "__main__":
    main()
