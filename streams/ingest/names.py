"""The names of live sources: each source is one stream, so no two may have the same name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from streams.errors import SettingsError
from streams.media.shown import without_secrets
from streams.text import printable

LONGEST_NAME = 160
"""Characters of a stream id: with rendition and number it makes a `segment_id`, which may have 256."""

LARGEST_LIST = 16 * 2**20
"""Bytes of a list of sources."""

_NAMED = re.compile(r"(?:(?![a-z]+://)(?P<name>[^=]*?)=)?(?P<url>https?://.+)", re.IGNORECASE | re.DOTALL)

_NAMED_FOLDER = re.compile(r"(?:(?P<name>[^=/]*)=)?(?P<folder>.+)", re.DOTALL)

Listed = dict[str, str]
"""Addresses, or paths of folders, by the names of their streams."""


def sources_of(arguments: Sequence[str], lines: Iterable[str] = ()) -> Listed:
    """Sources from `[NAME=]URL`, as arguments and as lines of a list.

    A source without a name is called after its address: `studio-7/live` for `https://cdn.example/studio-7/live.m3u8`. Raises
    `SettingsError` where one cannot be read, or two have the same name.
    """
    sources: Listed = {}
    for place, text in (*(("URL", argument) for argument in arguments), *listed(lines)):
        match = _NAMED.fullmatch(text.strip())
        if match is None or match["name"] == "":
            raise SettingsError(
                place, f"{without_secrets(text)} is not [NAME=]URL with an address that begins with http:// or https://"
            )
        _add(sources, place, match["name"] if match["name"] is not None else name_of(match["url"]), match["url"])
    return sources


def folders_of(arguments: Sequence[str]) -> Listed:
    """Watched folders from `[NAME=]DIR`: absolute paths by the names of their streams.

    A folder without a name is called as it is itself. Raises `SettingsError` where one is not there, or two have the same name.
    """
    folders: Listed = {}
    for text in arguments:
        match = _NAMED_FOLDER.fullmatch(text)
        if match is None or match["name"] == "":
            raise SettingsError("DIR", f"{printable(text)!r} is not [NAME=]DIR")
        folder = Path(match["folder"])
        if not os.path.isdir(folder):
            raise SettingsError("DIR", f"{printable(match['folder'])} is not a folder")
        _add(folders, "DIR", match["name"] if match["name"] is not None else folder.resolve().name, str(folder.absolute()))
    return folders


def _add(sources: Listed, place: str, name: str, value: str) -> None:
    check_name(place, name)
    if name in sources:
        raise SettingsError(
            place, f"two sources are named {name}: give them names of their own, NAME={'DIR' if place == 'DIR' else 'URL'}"
        )
    sources[name] = value


def check_name(place: str, name: str) -> None:
    """Raise `SettingsError` where a text cannot be a stream's name: browsers take `.` and `..` in an address for folders."""
    if not name or len(name) > LONGEST_NAME or printable(name) != name or name in (".", ".."):
        rule = f"1 to {LONGEST_NAME} printable characters, and neither . nor .."
        raise SettingsError(place, f"{printable(name)[:100]!r} cannot be a stream's name: {rule}")


def name_of(url: str) -> str:
    """What a source is called whose name is not given: the path of its address, without the ending."""
    try:
        parts = urlsplit(url)
        return (re.sub(r"\.(m3u8?|mpd)$", "", parts.path).strip("/") or parts.hostname or "")[-LONGEST_NAME:]
    except ValueError:
        return ""


def listed(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    """The lines that name a source; empty ones and those that begin with # do not."""
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield f"--list, line {number}", line


class SourceList:
    """A file with one source a line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = b""

    def lines(self) -> list[str] | None:
        """The lines, where the file has changed since the last call; else None. Raises OSError, or `SettingsError`."""
        with self._path.open("rb") as file:
            content = file.read(LARGEST_LIST + 1)
        if len(content) > LARGEST_LIST:
            raise SettingsError("--list", f"{self._path} has more than {LARGEST_LIST} bytes")
        if content == self._read:
            return None
        self._read = content
        return content.decode("utf-8-sig", errors="replace").splitlines()  # editors of Windows mark UTF-8 at the beginning
