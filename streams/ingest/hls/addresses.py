"""Addresses in playlists, made absolute."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urljoin, urlsplit

LONGEST_URI = 8192
"""Characters of an address: as in an event."""

MOST_ADDRESSED = 2**25
"""Characters that the addresses of all segments of a load may have together, each with those of its init segment and key, as its
event has them: a playlist of a few kB under a long address would become hundreds of MiB of events."""

TOO_MUCH_ADDRESSED = f"the addresses of its segments have more than {MOST_ADDRESSED} characters together"

_PART = r"[A-Za-z0-9_-][A-Za-z0-9._~%-]*+"
_PLAIN = re.compile(rf"{_PART}(?:/{_PART})*+(?:\?[A-Za-z0-9._~%=&/:+-]++)?")
_PLAIN_BASE = re.compile(rf"(https?://(?:[^/?#@]++@)?[A-Za-z0-9.:-]+/(?:{_PART}/)*+)(?:{_PART})?(?:\?.*)?", re.DOTALL)
"""A relative address without dots or slashes to resolve, and an address of which it replaces what follows the last slash."""


def urljoin_safe(base: str, reference: str) -> str | None:
    """The absolute address; None where it is none or too long, or a playlist from a server names another than http(s)."""
    if len(reference) > LONGEST_URI:
        return None
    folder = _folder(base)
    if folder is not None and _PLAIN.fullmatch(reference):  # takes a tenth of urljoin's time, for each segment of each playlist
        address = folder + reference
        return address if len(address) <= LONGEST_URI else None
    try:
        address = _with_login(base, urljoin(base, reference))
        scheme, given = urlsplit(address).scheme, urlsplit(base).scheme
        is_allowed = len(address) <= LONGEST_URI and (scheme in ("http", "https") or scheme == given)
        return address if is_allowed else None
    except ValueError:
        return None


def _with_login(base: str, address: str) -> str:
    """The address with the user and password of its base, where both are on one server and it names none: as a browser asks."""
    login, mark, server = urlsplit(base).netloc.rpartition("@")
    if not mark or not address.startswith(f"{urlsplit(base).scheme}://") or urlsplit(address).netloc != server:
        return address
    return address.replace("://", f"://{login}@", 1)


@lru_cache(maxsize=8192)
def _folder(base: str) -> str | None:
    match = _PLAIN_BASE.fullmatch(base)
    return match[1] if match else None
