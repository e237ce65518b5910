"""Options for filters of data quality, and for the judgements that an export counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from gnomon.cli.number_options import number
from gnomon.cli.option_groups import Options
from gnomon.core import ranges

ALPHA = ranges.Range("alpha is at most 1", ge=-1, le=1)
FILTERS = "gnomon.data.quality"
_EVERY: Options = {  # settings of filters that have an option of their own
    "held_out": (
        Annotated[list[str] | None, typer.Option(help="Drop rows whose prompt is in this file; several times.")],
        None,
    ),
    "lexicon": (
        Annotated[list[str] | None, typer.Option(help="Drop rows with an entry of this list; several times.")],
        None,
    ),
    "min_agreement": (
        Annotated[
            float | None,
            number(
                f"{FILTERS}.file_filters.agreement:RaterAgreement.min_agreement",
                "Share of raters that agree on a preference.",
            ),
        ],
        None,
    ),
    "min_margin": (
        Annotated[
            float | None,
            number(f"{FILTERS}.record_filters.margin:Margin.min_margin", "Smallest margin of a preference."),
        ],
        None,
    ),
    "max_tokens": (
        Annotated[
            int | None,
            number(
                f"{FILTERS}.record_filters.length:Length.max_tokens", "Most tokens of a prompt with a completion."
            ),
        ],
        None,
    ),
}
_FILTER: Options = {
    "filter": (
        Annotated[
            list[str] | None,
            typer.Option(help="NAME=ACTION (off, report, drop, mask) or NAME.SETTING=VALUE; several times."),
        ],
        None,
    )
}
CLEAN_OPTIONS: Options = {**_FILTER, **_EVERY}
EXPORT_OPTIONS: Options = {
    **_FILTER,
    **{name: _EVERY[name] for name in ("min_agreement", "min_margin", "lexicon")},
}
SELECTION_OPTIONS: Options = {  # which judgements count in an export, and how they are combined
    "aggregation": (
        Annotated[
            str, typer.Option(help="How votes are combined: majority, reliability, dawid_skene or bradley_terry.")
        ],
        "majority",
    ),
    "exclude_annotator": (
        Annotated[
            list[str] | None,
            typer.Option(help="Id of an annotator whose judgements are left out; repeatable."),
        ],
        None,
    ),
    "criterion": (
        Annotated[str | None, typer.Option(help="Criterion to use instead of the mean score.")],
        None,
    ),
    "min_confidence": (
        Annotated[
            float | None,
            number(ranges.Share, "Leave out judgements whose annotator was less sure, from 0 to 1."),
        ],
        None,
    ),
    "min_alpha": (
        Annotated[
            float | None, number(ALPHA, "Refuse the export if Krippendorff's alpha is lower; 0.2 is usual.")
        ],
        None,
    ),
}
SETTINGS = {  # option → filter and setting
    "held_out": ("held_out", "files"),
    "lexicon": ("lexicon", "files"),
    "min_agreement": ("agreement", "min_agreement"),
    "min_margin": ("margin", "min_margin"),
    "max_tokens": ("length", "max_tokens"),
}


def filter_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of filters by name, from the values of the options."""
    from gnomon.data.quality.registry import parse_filters

    options: Sequence[str] = values["filter"] or ()
    settings = parse_filters(options)
    for option, value in values.items():
        if option == "filter":
            continue
        if value not in (None, []):
            name, key = SETTINGS[option]
            settings.setdefault(name, {}).setdefault(key, value)
    return settings


def selection_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `ExportSpec` for the values of `SELECTION_OPTIONS`."""
    excluded = tuple(values["exclude_annotator"] or ())
    others = {name: value for name, value in values.items() if name != "exclude_annotator"}
    return {**others, "exclude_annotators": excluded}
