"""Joined files of MP4: where what follows has to be read by another movie header.

FFmpeg reads a file's first header alone, would decode all fragments that follow by it, and leaves out files without fragments.
"""

from __future__ import annotations

from itertools import islice
from typing import BinaryIO

from scorer.sampling.recognise import FIRST_BOXES, all_boxes, inside_boxes
from scorer.sampling.transport import note_change

MOST_BOXES = 100_000
"""Boxes of a file that are looked at, hours of live fragments: a hostile file may hold millions."""

MOST_BYTES = 1 << 16
"""Bytes of a track's description that are compared."""


def movie_changes(file: BinaryIO) -> list[int]:
    """The places, bytes, at which a file of MP4 goes on with tracks that are described in another way, or with a file that has no
    fragments; none where it does not.

    Raises `MediaError` where there are too many, see `note_change`.
    """
    file.seek(0)
    if file.read(8)[4:8] not in FIRST_BOXES:
        return []
    changes: list[int] = []
    described: list[bytes] = []
    begin: int | None = None
    had_fragments = False
    place = 0
    for kind, start, end in islice(all_boxes(file, 0, file.seek(0, 2)), MOST_BOXES):
        if kind == b"ftyp":
            begin = place
        elif kind == b"moov":
            descriptions = _descriptions(file, start, end)
            has_fragments = any(name == b"mvex" for name, _, _ in inside_boxes(file, start, end))
            # Without fragments a header tells of the pictures of its own file alone.
            is_other = descriptions != described or (begin is not None and not (has_fragments and had_fragments))
            if described and descriptions and is_other:
                note_change(changes, place if begin is None else begin)
            described, had_fragments, begin = descriptions or described, has_fragments, None
        place = end
    return changes


def _descriptions(file: BinaryIO, start: int, end: int) -> list[bytes]:
    """What the movie header between two places says of each track: its number, the ticks of its clock, and its codec with the
    codec's configuration."""
    descriptions = []
    for kind, inner, after in inside_boxes(file, start, end, b"trak"):
        if kind == b"tkhd":
            descriptions.append(_number(file, inner))
        elif kind == b"mdia":
            descriptions += [_number(file, start) for kind, start, _ in inside_boxes(file, inner, after) if kind == b"mdhd"]
            tables = inside_boxes(file, inner, after, b"minf", b"stbl")
            descriptions += [_content(file, start, end) for kind, start, end in tables if kind == b"stsd"]
    return descriptions


def _number(file: BinaryIO, start: int) -> bytes:
    """The number that follows the two dates in a box's content: a track's own, or the ticks a second of its clock."""
    file.seek(start)
    content = file.read(24)
    return content[20:24] if content[:1] == b"\x01" else content[12:16]


def _content(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(min(MOST_BYTES, end - start))
