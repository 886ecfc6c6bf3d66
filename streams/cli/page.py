"""The reference page of the commands, made from the command line: `python -m streams.cli.page > docs/commands-reference.md`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer.main

from streams.cli.app import PANELS, app
from streams.cli.examples import EXAMPLES
from streams.cli.parameters import name_of, takes

INTRODUCTION = """# Commands, one by one

Every command, with its options and examples. Made from what `-h` shows, by
`python -m streams.cli.page > docs/commands-reference.md`.

What all commands have in common (lists, settings, exit codes): [the command line](commands.md). Units and bounds stand with
each option. Every command also takes `-h`; `fvq --version` prints the version."""

BAR = "\\|"
"""A bar that does not end a cell."""

HEADER = ("| | takes | default | meaning |", "|---|---|---|---|")


def reference() -> str:
    """The page, Markdown."""
    group: Any = typer.main.get_command(app)
    lines = [INTRODUCTION]
    for panel, names in PANELS.items():
        lines += ["", f"## {panel}"]
        for name in names:
            lines += _described(name, group.commands[name])
    return "\n".join(lines) + "\n"


def _described(words: str, command: Any) -> Iterator[str]:
    """A command, then those of its group. words: the command after `fvq`."""
    yield from ("", f"### fvq {words}", "", " ".join(inspect.cleandoc(command.help or "").split()))
    rows = [_row(parameter) for parameter in command.params if not parameter.hidden]
    if rows:
        yield from ("", *HEADER, *rows)
    yield from ("", *(f"    {example}" for example in EXAMPLES[words]))
    for name, inner in getattr(command, "commands", {}).items():
        yield from _described(f"{words} {name}", inner)


def _row(parameter: Any) -> str:
    is_option = parameter.param_type_name == "option"
    names = [*parameter.opts, *parameter.secondary_opts] if is_option else [name_of(parameter)]
    cells = (", ".join(f"`{name}`" for name in names), _takes(parameter), _default(parameter), parameter.help or "")
    return f"| {' | '.join(' '.join(cell.replace('|', BAR).split()) for cell in cells)} |"


def _takes(parameter: Any) -> str:
    several = (getattr(parameter, "multiple", False) or parameter.nargs == -1) and "repeated" not in (parameter.help or "")
    return ", ".join([takes(parameter)] + (["one or more"] if several else []))


def _default(parameter: Any) -> str:
    if parameter.required:
        return "needed"
    value = parameter.default
    if isinstance(value, bool):
        # A pair `--aligned/--spread` is on by the first name, off by the second; a flag alone is off.
        shown = parameter.opts[:1] if value else parameter.secondary_opts[:1]
        return "".join(f"`{name}`" for name in shown)
    return "" if value in (None, (), []) else f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


if __name__ == "__main__":
    print(reference(), end="")
