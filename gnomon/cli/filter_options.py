"""Options for filters of data quality: `--filter` and settings with an option of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from gnomon.cli.number_options import number
from gnomon.cli.option_groups import Options

FILTERS = "gnomon.data.quality.filters"
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
                f"{FILTERS}.agreement:RaterAgreement.min_agreement", "Share of raters that agree on a preference."
            ),
        ],
        None,
    ),
    "min_margin": (
        Annotated[
            float | None,
            number(f"{FILTERS}.margin:Margin.min_margin", "Smallest margin of a preference."),
        ],
        None,
    ),
    "max_tokens": (
        Annotated[
            int | None,
            number(f"{FILTERS}.length:Length.max_tokens", "Most tokens of a prompt with a completion."),
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
