"""Cursors: where the next page of a list begins, as its order, and the sort key and id of the last item. A reader passes them on
as they are.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from streams.web.api.problems import ApiError

CURSOR_PATTERN = r"^[A-Za-z0-9_-]{2,4000}$"
T = TypeVar("T")


def page_of(
    items: Sequence[T], key: Callable[[T], tuple[Any, ...]], cursor: str | None, limit: int, order: str
) -> tuple[Sequence[T], str | None]:
    """One page of items, and the cursor of the next one; None at the end.

    items: in the order of their keys. key: JSON values that can be compared, which no two items share. order: names the list and
    its order; keys of several orders look alike. Raises `ApiError` where the cursor is none of this list's.
    """
    if cursor is not None:
        after = key_of(cursor)
        if after[0] != order:
            raise foreign_cursor()
        try:
            items = [item for item in items if key(item) > after[1:]]
        except TypeError:
            raise foreign_cursor() from None
    page = items[:limit]
    return page, cursor_of((order, *key(page[-1]))) if len(items) > limit else None


def cursor_of(key: tuple[Any, ...]) -> str:
    """The cursor behind the item with this key."""
    return base64.urlsafe_b64encode(json.dumps(key, separators=(",", ":"), ensure_ascii=False).encode()).rstrip(b"=").decode()


def key_of(cursor: str) -> tuple[Any, ...]:
    """The key that a cursor stands for. Raises `ApiError` where it is no cursor."""
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        key = None
    if not isinstance(key, list) or not key or not all(isinstance(part, int | float | str) for part in key):
        raise foreign_cursor()
    return tuple(key)


def foreign_cursor() -> ApiError:
    """The refusal of a cursor that another list gave, or none."""
    return ApiError(400, "cursor: it is none of this list's", "cursor")
