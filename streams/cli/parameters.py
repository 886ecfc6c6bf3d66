"""What may be written for an option or an argument, in words: for the reference page, and for errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import typer
from typer.core import TyperCommand, TyperGroup

from streams.errors import SettingsError

TYPES = {str: "text", int: "whole number", float: "number", Path: "path"}


def takes(parameter: Any, mark: str = "`") -> str:
    """What to write for a parameter, with its bounds; '' for a flag. mark: stands around what is typed as it stands."""
    if getattr(parameter, "is_flag", False):
        return ""
    kind = parameter.type_descriptor
    if kind.choices is not None:
        words = [", ".join(f"{mark}{choice}{mark}" for choice in kind.choices)]
    else:
        words = [TYPES[_type_of(parameter)]]
    words += [f"at least {parameter.min:,}"] if parameter.min is not None else []
    words += [f"at most {parameter.max:,}"] if parameter.max is not None else []
    return ", ".join(words)


def _type_of(parameter: Any) -> Any:
    kind = parameter.type_descriptor
    return get_args(kind.annotation)[0] if kind.is_list else kind.annotation


def name_of(parameter: Any) -> str:
    """An argument as the reference page and errors name it."""
    return str(parameter.metavar or parameter.name.upper())


def refuse_empty_paths(app: typer.Typer) -> None:
    """Have all commands of an application and of its groups refuse an empty text where they take a path.

    Python would take it for the current folder, where a shell's variable is not set.
    """
    for command in app.registered_commands:
        command.cls = _Command
    for group in app.registered_groups:
        assert group.typer_instance is not None
        group.cls = _Group
        refuse_empty_paths(group.typer_instance)


class _Command(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _check_paths(self, ctx, args)
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words of the usage line. An argument has the name that the reference page and errors have; typer's is `{out}`."""
        arguments = [parameter for parameter in self.get_params(ctx) if parameter.param_type_name == "argument"]
        pieces = super().collect_usage_pieces(ctx)
        return pieces[: len(pieces) - len(arguments)] + [_in_usage(argument) for argument in arguments]


def _in_usage(argument: Any) -> str:
    name = name_of(argument)
    name += "..." if argument.nargs != 1 and not name.endswith("...") else ""
    return name if argument.required else f"[{name}]"


class _Group(TyperGroup):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _check_paths(self, ctx, args)
        return super().parse_args(ctx, args)


def _check_paths(command: Any, context: Any, args: list[str]) -> None:
    if context.resilient_parsing:
        return  # a shell asks how the line could go on
    given, _, _ = command.make_parser(context).parse_args(args=list(args))
    for parameter in command.params:
        value = given.get(parameter.name)
        if "" in (value if isinstance(value, list | tuple) else (value,)) and _type_of(parameter) is Path:
            name = parameter.opts[0] if parameter.param_type_name == "option" else name_of(parameter)
            raise SettingsError(name, "is empty: write a path, or . for this folder")


def wrong_value(parameter: Any, error: object) -> str | None:
    """What is wrong with a value of the command line, from pydantic's error; None where an error has words of its own."""
    from pydantic import ValidationError

    if parameter is None or not isinstance(error, ValidationError):
        return None
    from streams.setting_errors import SHOWN, WRONG
    from streams.text import printable

    problem = error.errors(include_url=False)[0]
    is_choice = parameter.type_descriptor.choices is not None
    wrong = WRONG.get(problem["type"]) or ("is none of the values" if is_choice else None)
    if wrong is None:
        return None
    return f"{printable(repr(problem['input']))[:SHOWN]} {wrong}: write {'one of' if is_choice else 'a'} {takes(parameter, '')}"
