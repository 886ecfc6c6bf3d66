"""What a field of a model may hold, in words: for settings and for the alert policy."""

from __future__ import annotations

from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo


def bounds_of(field: FieldInfo, mark: str = "`") -> str:
    """What may be written, in words; '' where every text may. mark: stands around what is typed as it stands."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"{mark}{choice}{mark}" for choice in get_args(field.annotation))
    if field.annotation is bool:
        return f"{mark}true{mark}, {mark}false{mark}"
    of_list = "list[" in str(field.annotation)
    words = {
        "ge": "at least {}",
        "gt": "over {}",
        "le": "at most {}",
        "lt": "under {}",
        "min_length": f"at least {{}} {'item' if of_list else 'character'}",
    }
    limits = [(word, getattr(limit, key)) for limit in field.metadata for key, word in words.items() if hasattr(limit, key)]
    return ", ".join(word.format(limit) for word, limit in limits)
