"""What may be written for an option or an argument, in words: for the reference page, and for errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

TYPES = {str: "text", int: "whole number", float: "number", Path: "path"}


def takes(parameter: Any, mark: str = "`") -> str:
    """What to write for a parameter, with its bounds; '' for a flag. mark: stands around what is typed as it stands."""
    if getattr(parameter, "is_flag", False):
        return ""
    kind = parameter.type_descriptor
    if kind.choices is not None:
        words = [", ".join(f"{mark}{choice}{mark}" for choice in kind.choices)]
    else:
        words = [TYPES[get_args(kind.annotation)[0] if kind.is_list else kind.annotation]]
    words += [f"at least {parameter.min:,}"] if parameter.min is not None else []
    words += [f"at most {parameter.max:,}"] if parameter.max is not None else []
    return ", ".join(words)


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
