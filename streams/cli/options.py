"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from streams.errors import SettingsError

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def labels_of(options: list[str] | None) -> dict[str, str]:
    """Labels from options NAME=VALUE. Raises `SettingsError` where an option has another form."""
    labels = {}
    for text in options or []:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise SettingsError("--label", f"{text!r} is not NAME=VALUE")
        labels[name] = value
    return labels
