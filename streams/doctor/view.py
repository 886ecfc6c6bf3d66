"""What `fvq doctor` prints: a line for each check as it is done, then the settings that differ from their defaults."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import SecretStr
from rich.console import Console
from rich.text import Text

from streams.doctor.check import Check
from streams.media.shown import shown_store
from streams.setting_words import CAN_BE_OFF, as_text
from streams.settings import Settings
from streams.text import printable

LEAST_SHOWN = 0.05
"""Seconds from which a check's time is shown."""


def print_check(check: Check) -> Check:
    """Print a check, and what to do where it failed; returns it."""
    mark = ("ok  ", "green") if check.ok else ("FAIL", "red")
    time = f"  ({check.seconds:.1f} s)" if check.seconds >= LEAST_SHOWN else ""
    _print(Text.assemble(mark, f" {check.name}: {printable(check.detail)}", (time, "dim")))
    if not check.ok:
        _print(Text(f"     {check.fix}", "yellow"))
    return check


def print_settings(settings: Settings) -> None:
    """Print the settings whose values are not their defaults, and where each was set."""
    rows = [
        (f"FVQ_{name.upper()}", printable(as_written(value)), printable(str(settings.source(name))))
        for name, value in said(settings)
        if value != Settings.model_fields[name].get_default(call_default_factory=True)
    ]
    if not rows:
        _print(Text("\nall settings have their defaults; `fvq config` prints them"))
        return
    _print(Text("\nnot the default (`fvq config` prints those):"))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, value, source in rows:
        _print(Text.assemble(f"  {name:<{widths[0]}}  {value:<{widths[1]}}  ", (f"set by {source}", "dim")))


def said(settings: Settings) -> Iterator[tuple[str, object]]:
    """The settings by field, each with its value; `off` for one that is off."""
    for name, value in settings:
        yield name, "off" if value is None and name in CAN_BE_OFF else value


def as_written(value: object) -> str:
    """A setting's value as somebody writes it into the environment; secrets are not shown."""
    return shown(value) if value is None or isinstance(value, SecretStr | str) else as_text(value)


def shown(value: object) -> str:
    """A setting's value for scripts: as it is written, numbers with all their digits; secrets are not shown."""
    if value is None or value == []:
        return ""
    if isinstance(value, SecretStr):
        return "set, not shown"
    if isinstance(value, str) and "@" in value:
        return shown_store(value)  # the addresses of stores alone may have a password
    return str(value) if isinstance(value, float) else as_text(value)


def _print(line: Text) -> None:
    Console(highlight=False).print(line, soft_wrap=True)
