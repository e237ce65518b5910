"""`gnomon feedback export`: judgements as training data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gnomon.cli.feedback.arguments import ProjectId, Url, app, counted
from gnomon.cli.filter_options import EXPORT_OPTIONS, SELECTION_OPTIONS, filter_settings, selection_settings
from gnomon.cli.option_groups import option_group

LEFT_OUT = {  # keys of `left_out` in a manifest
    "gold_items": "gold items (known answer)",
    "unjudged_items": "items without judgements",
    "weightless_items": "items judged only by annotators of weight 0",
    "both_bad_items": "items where both are bad",
    "both_bad_judgements": "judgements of “both bad”",
    "surplus_judgements": "judgements that came too late to count (surplus)",
    "withdrawn_judgements": "judgements of withdrawn annotators",
    "judgements_without": "judgements excluded by --exclude-annotator",
    "judgements_below_confidence": "judgements below --min-confidence",
    "rejected_texts": "written answers that a review rejected",
    "rejected_items": "prompts of which a reviewer's decision rejects all written answers",
    "unmatched_reviews": "reviews of written answers that do not count",
    "unreviewed_texts": "written answers that wait for a review",
    "flagged_texts": "written answers in which a check found something",
    "replaced_texts": "written answers that a reviewer's decision replaces",
    "rows_of_another_layout": "rows that the format cannot hold, such as preferences with equal votes",
    "unresolved_items": "items that are not resolved",
    "tied_items": "items that are resolved as a tie",
    "even_preferences": "preferences with equal votes",
    "paused_judgements": "judgements of paused annotators",
}


@app.command()
@option_group("filters", EXPORT_OPTIONS, filter_settings)
@option_group("selection", SELECTION_OPTIONS, selection_settings)
def export(
    store: Url,
    filters: dict[str, Any],
    selection: dict[str, Any],
    out: Annotated[Path, typer.Option(help="Folder for the rows and manifest.json.")],
    project: ProjectId = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option(help="Only preferences, rankings or demonstrations; repeatable."),
    ] = None,
    format: Annotated[
        str,
        typer.Option(
            "--format", help="jsonl, parquet, datasets, or another tool's: trl, openrlhf, llama-factory."
        ),
    ] = "jsonl",
    valid_only: Annotated[
        bool,
        typer.Option(
            "--valid-only", help="Only items that are resolved, not as a tie; no judgements of paused annotators."
        ),
    ] = False,
    exclude_flagged: Annotated[
        bool,
        typer.Option("--exclude-flagged", help="Leave out written answers in which a check found something."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files of the same names; keep all others.")
    ] = False,
) -> None:
    """Export preferences, rankings and demonstrations from all judgements, with a manifest.

    [bold]Examples[/bold]

      gnomon feedback export feedback.db --project tone --out data/tone

      gnomon feedback export feedback.db --out data/for-trl --format trl

      gnomon feedback export feedback.db --out data/tone --aggregation reliability --exclude-annotator 3f1c

      gnomon feedback export feedback.db --out data/tone --min-agreement 0.7 --min-confidence 0.5 --min-alpha 0.2

    A folder that holds anything but an earlier export is refused unless you add --overwrite.
    """
    from gnomon.api.feedback.projects import feedback_export
    from gnomon.feedback.export.exporter import ExportSpec

    spec = ExportSpec(
        kinds=tuple(kinds or ()),
        filters=filters,
        valid_only=valid_only,
        exclude_flagged=exclude_flagged,
        **selection,
    )
    manifest = feedback_export(store, project, out, spec, format, overwrite=overwrite)
    rows = ", ".join(counted(n, kind) for kind, n in manifest["rows"].items() if n and kind != "judgements")
    judgements, annotators = (
        counted(manifest["judgements"], "judgements"),
        counted(len(manifest["annotators"]), "annotators"),
    )
    summary = f"{rows or 'nothing'} from {judgements} of {annotators}"
    typer.echo(f"{summary} in {out} (digest {manifest['digest'][:12]})")
    for reason, n in manifest["left_out"].items():
        if n:
            typer.echo(f"left out: {counted(n, left_out_text(reason))}")
    if manifest["minority_views"]:
        typer.echo(f"minority views: {len(manifest['minority_views'])}, in {out / 'manifest.json'}")


def left_out_text(reason: str) -> str:
    """Why something was left out, for a reason in a manifest."""
    name = reason.removeprefix("rows_dropped_by_")
    return LEFT_OUT[reason] if name == reason else f"rows dropped by the filter {name}"
