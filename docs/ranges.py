"""Write the table of settings' ranges in docs/recipes.md from where they are declared: `python docs/ranges.py`.

Nothing between the two marks of the page is written by hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

from gnomon.algorithms.contract import algorithms
from gnomon.core.config import Settings
from gnomon.core.ranges import Range
from gnomon.pipeline.recipe import Recipe
from gnomon.stages.augment import AugmentStage
from gnomon.stages.evaluate import EvaluateStage
from gnomon.stages.evaluate_reward import EvaluateRewardStage
from gnomon.stages.feedback import FeedbackStage
from gnomon.stages.hybrid import Until
from gnomon.stages.train import TrainStage
from gnomon.training.settings import OfflineSettings, OnlineSettings

PAGE = Path(__file__).parent / "recipes.md"
START, END = "<!-- ranges: docs/ranges.py -->\n", "<!-- end of ranges -->\n"
Row = tuple[str, str, str]  # setting, range, reason


def ranges_in(hint: Any, around: Range | None = None) -> Iterator[Range | type[Settings]]:
    """The ranges of the numbers in a type, and the settings classes in it."""
    if get_origin(hint) is Annotated:
        kind, *notes = get_args(hint)
        yield from ranges_in(kind, next((note for note in notes if isinstance(note, Range)), around))
    elif hint in (int, float):
        yield from [around] if around else []
    elif isinstance(hint, type) and issubclass(hint, Settings):
        yield hint
    else:
        for part in get_args(hint):
            yield from ranges_in(part)


def rows_of(kind: type, before: str = "", outer: tuple[type, ...] = ()) -> Iterator[Row]:
    """A row for each number that a settings class or an algorithm takes, with the path that leads to it."""
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if name.startswith(("_", "model_config")) or get_origin(hint) is ClassVar:
            continue
        for found in ranges_in(hint):
            if isinstance(found, Range):
                yield f"{before}{name}", bounds(found), found.why
            elif found not in (*outer, kind):
                yield from rows_of(found, f"{before}{name}.", (*outer, kind))


def bounds(allowed: Range) -> str:
    """A range as an interval: `0 … 1`, where a bound in brackets is left out itself."""
    low = allowed.gt if allowed.gt is not None else allowed.ge
    high = allowed.lt if allowed.lt is not None else allowed.le
    left = "" if low is None else f"({short(low)})" if allowed.gt is not None else short(low)
    right = "" if high is None else f"({short(high)})" if allowed.lt is not None else short(high)
    return f"{left} … {right}".strip() if left or right else "any"


def short(number: float) -> str:
    """A bound as people write it: 2^27, 1e9."""
    whole = int(number)
    if whole == number and whole >= 4096:
        for power in (whole, whole + 1):
            if power & (power - 1) == 0:
                return f"2^{power.bit_length() - 1}" + (" − 1" if power != whole else "")
        if str(whole).rstrip("0") == "1":
            return f"1e{len(str(whole)) - 1}"
    return f"{number:g}"


def every_row() -> list[Row]:
    """All rows, each setting once with each of its ranges."""
    loops = [list(rows_of(kind, "training.")) for kind in (OfflineSettings, OnlineSettings)]
    both = set(loops[0]) & set(loops[1])
    stages = [
        row
        for kind in (FeedbackStage, TrainStage, EvaluateStage, AugmentStage, EvaluateRewardStage)
        for row in rows_of(kind)
    ]
    training = [
        row if row in both else (f"{row[0]} ({name})", *row[1:])
        for name, rows in zip(("offline", "online"), loops, strict=True)
        for row in rows
    ]
    stages += rows_of(Until, "phases.until.")
    kept = [row for row in stages if not row[0].startswith("training.")]
    return list(dict.fromkeys([*rows_of(Recipe), *kept, *training, *rows_of_algorithms()]))


def rows_of_algorithms() -> list[Row]:
    """Rows of all algorithms' own settings; where one has another range elsewhere, with the algorithms' names."""
    owners: dict[Row, list[str]] = {}
    for algorithm, kind in algorithms().items():
        for row in rows_of(kind, "settings."):
            owners.setdefault(row, []).append(algorithm)
    names = Counter(name for name, *_ in owners)
    return [
        (f"{row[0]} ({', '.join(some)})", *row[1:]) if names[row[0]] > 1 else row for row, some in owners.items()
    ]


def table() -> str:
    """The table, a line for each range with all settings that have it."""
    lines: dict[tuple[str, str], list[str]] = {}
    for name, allowed, why in every_row():
        setting, _, loop = name.partition(" ")
        lines.setdefault((allowed, why), []).append(f"`{setting}`" + (f" {loop}" if loop else ""))
    head = "| setting | range | since |\n|---|---|---|\n"
    return head + "".join(f"| {', '.join(names)} | {key[0]} | {key[1]} |\n" for key, names in lines.items())


def with_table(page: str) -> str:
    """The page with the table between its marks."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
