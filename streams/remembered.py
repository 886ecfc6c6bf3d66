"""What is remembered of streams, viewers or clips, and must not grow without end."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


def remember(memory: OrderedDict[Key, Value], key: Key, value: Value, most: int) -> None:
    """Note a value as the newest one, and forget the oldest where there are more than `most`."""
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > most:
        memory.popitem(last=False)
