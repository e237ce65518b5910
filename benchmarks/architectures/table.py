"""Write docs/architectures.md: measurements of every causal language model of transformers, built tiny.

    python benchmarks/architectures/table.py            measures all, in twenty minutes on two cores
    python benchmarks/architectures/table.py llama rwkv   prints the lines of these

Nothing in the page is written by hand.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import configurations
import measure
import torch
import transformers

PAGE = Path(__file__).parents[2] / "docs" / "architectures.md"
HEAD = """# Architectures

Each causal language model of transformers {version}, built tiny with random weights and realistic proportions
(values wider than keys, groups of heads, windows and chunks shorter than the texts, capped and scaled logits),
compared with its own forward pass, one text at a time and without a cache. `{command}` measures
them and writes this page, on a CPU in float32.

- *forward*, *gradient*: log-probabilities of ragged completions in a batch, and the gradient of every weight, as
  training computes them. `yes` is within 1e-4 nats, or 1e-4 of the gradient's length.
- *sampler*: the log-probabilities that the sampler reports for its tokens, while rows wait, join and leave. The
  column has the decoder if they are within 1e-3 nats (some recurrences round differently step by step): *fast* is
  one batch of rows of any length; *plain* is transformers' own cache without padding; *no cache* reads the whole
  text for each token.
- *saved*: a saved model, loaded again, gives the same log-probabilities.
- *layout*: `branched` and `packed` read a prompt once for all its completions in training, `plain` once for each.

Gnomon does not read this page: it tries a model on a few tokens when it is loaded and when it is first sampled
from, and refuses it with one sentence if its own outputs cannot be reproduced. A few common types, which are
verified by tests, skip the trial.

{summary}

## Trained and sampled

| model type | forward | gradient | sampler | saved | layout |
|---|---|---|---|---|---|
{rows}

## Refused

| model type | the sentence |
|---|---|
{refused}

## Not measured

No tiny model of these can be built, as their parts need others or do not follow their configuration.

| model type | why |
|---|---|
{unbuilt}
"""


def line(row: measure.Row) -> str:
    """Format a row for the page."""
    if row.refusal or row.unbuilt:
        return f"| `{row.kind}` | {row.refusal or row.unbuilt} |"
    return f"| `{row.kind}` | {row.forward} | {row.gradient} | {row.sampler} | {row.saved} | {row.layout} |"


def page(rows: list[measure.Row]) -> str:
    """Format the whole page."""
    built = [row for row in rows if not row.unbuilt]
    accepted = [row for row in built if not row.refusal]
    ways = Counter(row.sampler for row in accepted if row.right)
    wrong = [f"`{row.kind}`" for row in accepted if not row.right]
    summary = (
        f"Of {len(built)} architectures {sum(ways.values())} are right in every column: {ways['fast']} are "
        f"sampled from the fast way, {ways['plain']} the plain way, {ways['no cache']} without a cache. "
        f"{len(built) - len(accepted)} are refused. "
        + (f"Not right in every column: {', '.join(wrong)}. " if wrong else "None is wrong. ")
        + f"Of {len(rows) - len(built)} more no tiny model could be built."
    )
    parts = (accepted, [r for r in built if r.refusal], [r for r in rows if r.unbuilt])
    lines = ["\n".join(line(row) for row in part) for part in parts]
    return HEAD.format(
        version=transformers.__version__,
        command="python benchmarks/architectures/table.py",
        summary=summary,
        rows=lines[0],
        refused=lines[1],
        unbuilt=lines[2],
    )


def main() -> None:
    torch.set_num_threads(1)
    kinds = sys.argv[1:]
    rows = []
    for kind in kinds or configurations.KINDS:
        rows.append(measure.measure(kind))
        print(line(rows[-1]), flush=True)
    if not kinds:
        PAGE.write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
