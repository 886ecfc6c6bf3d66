"""How large a picture may be: a header may state any size, and a decoder would allocate it."""

from __future__ import annotations

import math

from scorer.errors import MediaError

MAX_PIXELS = 8192 * 8192
"""A picture with more pixels is refused before a decoder allocates it."""


def check_size(width: int, height: int) -> None:
    """Raise `MediaError` where a picture of this size has more than `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        limit = math.isqrt(MAX_PIXELS)
        raise MediaError(f"pictures of {width}x{height} are over the limit of {limit}x{limit}; scale them down", kind="too-large")
