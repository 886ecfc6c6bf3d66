"""Options that several commands share, and the settings beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.errors import SettingsError

if TYPE_CHECKING:
    from streams.settings import Settings

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def load_settings(**overrides: Any) -> Settings:
    """`streams.settings.load_settings`; the settings' library is loaded here, because `--help` does not need it."""
    from streams.settings import load_settings

    return load_settings(**overrides)


def labels_of(options: list[str] | None) -> dict[str, str]:
    """Labels from options NAME=VALUE. Raises `SettingsError` where an option has another form."""
    labels = {}
    for text in options or []:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise SettingsError("--label", f"{text!r} is not NAME=VALUE")
        labels[name] = value
    return labels
