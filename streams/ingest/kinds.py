"""Which kind of live source an address is: by its scheme and the ending of its path, else by how its answer begins."""

from __future__ import annotations

import re
from dataclasses import dataclass

from streams.errors import MediaError, SettingsError
from streams.media.read import Reader, ReadError
from streams.media.shown import without_secrets
from streams.media.uri import parse

SCHEME = re.compile(r"(?:[^=/]*=)?([A-Za-z][A-Za-z0-9+.-]*)://")
"""How `[NAME=]ADDRESS` begins where it is no path of a file."""

LOOK_SECONDS = 10.0
"""Time in which the first look at an address has to be answered."""

BEGINNING = 1000
"""Bytes of an answer in which its kind has to show."""


@dataclass(frozen=True)
class Kind:
    """One kind of live source. command: `fvq ingest COMMAND` follows it. endings: of an address's path. mark: what the
    beginning of its answer contains."""

    command: str
    schemes: tuple[str, ...]
    endings: tuple[str, ...] = ()
    mark: bytes | None = None


KINDS = (
    Kind("hls", ("http", "https"), (".m3u8", ".m3u"), b"#EXTM3U"),
    Kind("dash", ("http", "https"), (".mpd",), b"<MPD"),
    Kind("push", ("rtmp", "rtmps", "srt")),
)
"""All kinds that `fvq up` follows; a line makes one more."""


def is_address(source: str) -> bool:
    """Whether a source is `[NAME=]ADDRESS` and not a path."""
    return SCHEME.match(source) is not None


def is_pushed(source: str) -> bool:
    """Whether a source comes by RTMP or SRT: it has no playlist at which one could look. Raises as `kind_by_name`."""
    kind = kind_by_name(source)
    return kind is not None and kind.command == "push"


def kind_by_name(address: str) -> Kind | None:
    """The kind that scheme and ending tell; None where the answer has to be looked at.

    Raises `SettingsError` where no kind has this scheme.
    """
    match = SCHEME.match(address)
    scheme = match[1].lower() if match else ""
    kinds = [kind for kind in KINDS if scheme in kind.schemes]
    if not kinds:
        known = ", ".join(sorted({f"{scheme}://" for kind in KINDS for scheme in kind.schemes}))
        raise SettingsError("--source", f"{without_secrets(address)} cannot be followed; live sources begin with {known}")
    path = re.split(r"[?#]", address, maxsplit=1)[0].lower()
    by_ending = [kind for kind in kinds if path.endswith(kind.endings)]
    if by_ending:
        return by_ending[0]
    return kinds[0] if len(kinds) == 1 and kinds[0].mark is None else None


async def kind_of(address: str, reader: Reader) -> Kind:
    """The kind of an address, at which it looks once: what may not be read is said before anything is started.

    An address whose kind its name tells may be away: it is followed until it is there. Raises `ReadError`, and `MediaError` for
    an answer of no known kind.
    """
    kind = kind_by_name(address)
    if kind is not None and kind.mark is None:
        return kind
    try:
        answer = await reader.read(address, LOOK_SECONDS)
    except ReadError as error:
        if kind is None and error.kind == "too-large":
            reason = f"{parse(address).shown} is no live source, but a large file: `fvq score` scores a video at an address"
            raise MediaError(reason, "refused") from error
        if kind is None or error.kind == "refused":
            raise
        return kind
    kind = kind_by_answer(answer.body) or kind
    if kind is None:
        raise MediaError(f"{parse(address).shown} is no live source: neither its name nor its answer is a playlist's", "refused")
    return kind


def kind_by_answer(body: bytes) -> Kind | None:
    """The kind that an answer's beginning tells."""
    beginning = body[:BEGINNING].lstrip(b"\xef\xbb\xbf \t\r\n")
    return next((kind for kind in KINDS if kind.mark is not None and kind.mark in beginning), None)
