"""Options that several commands share, and the settings beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.errors import SettingsError

if TYPE_CHECKING:
    from streams.settings import Settings

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def load_settings(**overrides: Any) -> Settings:
    """`streams.settings.load_settings`, with a warning on standard error about each variable that is no setting.

    The settings' library is loaded here, because `--help` does not need it.
    """
    from streams.settings import load_settings

    settings = load_settings(**overrides)
    if settings.ignored:
        from streams.logs import warn_at_start

        for sentence in settings.ignored:
            warn_at_start(sentence, settings.log_format)
    return settings


def lists(context: typer.Context, as_json: bool) -> bool:
    """Whether a group was called without a command, and so lists. Raises `SettingsError` where --json stands before a command."""
    if context.invoked_subcommand is None:
        return True
    if as_json:
        raise SettingsError(
            "--json", f"follows the name of the command: {context.command_path} {context.invoked_subcommand} --json"
        )
    return False


def labels_of(options: list[str] | None) -> dict[str, str]:
    """Labels from options NAME=VALUE. Raises `SettingsError` where an option has another form."""
    labels = {}
    for text in options or []:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise SettingsError("--label", f"{text!r} is not NAME=VALUE")
        labels[name] = value
    return labels
