"""Options that several commands share, and the settings beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from streams.errors import SettingsError

if TYPE_CHECKING:
    from datetime import datetime

    from streams.life import Life
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


def time_of(option: str, text: str, now: datetime) -> datetime:
    """The time that an option names. option: as the user writes it. See `parse_time`. Raises `SettingsError`."""
    from streams.dead_letters.kept import parse_time

    with told_of(option):
        return parse_time(text, now)


@contextmanager
def told_of(option: str) -> Iterator[None]:
    """A `ValueError` within is told as one of this option or argument, whose value it is about. Raises `SettingsError`."""
    try:
        yield
    except ValueError as error:
        raise SettingsError(option, str(error)) from None


def refuse(options: Mapping[str, object], reason: str) -> None:
    """Raise `SettingsError` with this reason for the first option that was given.

    options: value by name; None or 0 of one that was not given.
    """
    for option, value in options.items():
        if value not in (None, 0):
            raise SettingsError(option, reason)


def settings_of_process(name: str, load: Callable[[], Settings]) -> Settings:
    """The settings of a process that lives until it is told to stop; an error in them is told in its log's form.

    name: what its log calls it. Raises `SettingsError`, and `typer.Exit` where that is told already.
    """
    from streams.life import told_as_json

    try:
        return load()
    except SettingsError as error:
        if told_as_json(name, error):
            raise typer.Exit(2) from None
        raise


def live(name: str, run: Callable[[Settings, Life], int | None], load: Callable[[], Settings] = load_settings) -> NoReturn:
    """Run such a process, and exit with its code. run: as for `streams.life.lived`."""
    from streams.life import lived

    settings = settings_of_process(name, load)
    raise typer.Exit(lived(name, settings.log_level, settings.log_format, lambda life: run(settings, life)))


def lists(context: typer.Context, as_json: bool) -> bool:
    """Whether a group was called without a command, and so lists. Raises `SettingsError` where --json stands before a command."""
    if context.invoked_subcommand is None:
        return True
    if as_json:
        raise SettingsError(
            "--json", f"follows the name of the command: {context.command_path} {context.invoked_subcommand} --json"
        )
    return False


def labels_of(options: list[str] | None, sign: str = "=") -> dict[str, str]:
    """Labels from options NAME=VALUE, or with another sign between. Raises `SettingsError` where an option has another form."""
    labels = {}
    for text in options or []:
        name, found, value = text.partition(sign)
        if not found or not name:
            raise SettingsError("--label", f"{text!r} is not NAME{sign}VALUE")
        labels[name] = value
    return labels
