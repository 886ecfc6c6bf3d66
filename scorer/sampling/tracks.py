"""Which of a file's video streams a player shows.

Which streams of an MPEG transport stream belong together is read here, because PyAV does not tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from av.stream import Disposition

from scorer.errors import MediaError

PICTURES_BESIDE = Disposition.attached_pic | Disposition.timed_thumbnails
"""Streams of pictures that belong to sound or to a video, such as covers. No player shows them as the video."""

PARTS_OF_PICTURES = Disposition.dependent | Disposition.still_image
"""Streams that are shown only where the file has no other video."""

IMAGE_CODECS = {"mjpeg", "png", "bmp", "webp", "tiff"}
"""Codecs of single pictures, by FFmpeg's names: beside a track with another codec, such a track is a cover or a slide."""

PACKET = 188
SYNC = 0x47

HEAD_BYTES = 1 << 20
"""Bytes at the beginning of a file in which the tables are looked for; broadcasters repeat them every 100 ms."""


def shown_video(streams: Sequence[Any], head: bytes) -> Any:
    """Of a file's video streams the one that a player shows. head: the file's first `HEAD_BYTES`.

    Raises `MediaError` of kind "no-video" where there is none but covers.
    """
    groups = programmes(head)

    def place(stream: Any) -> tuple[bool | int, ...]:
        context, disposition = stream.codec_context, stream.disposition
        width, height = (0, 0) if context is None else (context.width, context.height)
        return (
            bool(disposition & PICTURES_BESIDE),
            width * height == 0,
            # Some programs write a cover as a track with one picture, and do not mark it.
            stream.frames == 1 or bool(disposition & PARTS_OF_PICTURES),
            not disposition & Disposition.default,
            next((number for number, pids in enumerate(groups) if stream.id in pids), len(groups)),
            context is not None and context.name in IMAGE_CODECS,
            -width * height,
            stream.index,
        )

    stream = min(streams, key=place, default=None)
    if stream is None or stream.disposition & PICTURES_BESIDE:
        beside = "only sound or data" if stream is None else "only sound and a cover picture"
        raise MediaError(f"the file has no video stream, {beside}; send the video rendition", kind="no-video")
    return stream


def programmes(head: bytes) -> list[set[int]]:
    """The PIDs of each programme's streams, in the order of the programme association table (ISO/IEC 13818-1, 2.4.4).

    head: the file's first `HEAD_BYTES`. The list is empty where this is no transport stream, or has no table.
    """
    start = next((i for i in range(PACKET) if head[i : i + 4 * PACKET : PACKET] == bytes([SYNC] * 4)), None)
    if start is None:
        return []
    table = next(_sections(head, start, 0), b"")
    entries = [table[i : i + 4] for i in range(8, len(table) - 4 - 3, 4)]
    # Programme 0 is the network's information table.
    tables = [(entry[2] & 0x1F) << 8 | entry[3] for entry in entries if entry[:2] != b"\0\0"]
    return [_streams(next((section for section in _sections(head, start, pid) if section[0] == 2), b"")) for pid in tables]


def _streams(table: bytes) -> set[int]:
    """The PIDs in a programme map table."""
    pids = set()
    place = 12 + ((table[10] & 0x0F) << 8 | table[11]) if len(table) > 12 else len(table)
    while place + 5 <= len(table) - 4:
        pids.add((table[place + 1] & 0x1F) << 8 | table[place + 2])
        place += 5 + ((table[place + 3] & 0x0F) << 8 | table[place + 4])
    return pids


def _sections(head: bytes, start: int, pid: int) -> Iterator[bytes]:
    """The whole sections of a PID, each with its header and checksum; of a packet only the first section that begins in it."""
    section = b""
    for i in range(start, len(head) - PACKET + 1, PACKET):
        packet = head[i : i + PACKET]
        if packet[0] != SYNC or (packet[1] & 0x1F) << 8 | packet[2] != pid or not packet[3] & 0x10:
            continue
        # Bit 5: an adaptation field, with its length, comes before the payload.
        payload = packet[5 + packet[4] :] if packet[3] & 0x20 else packet[4:]
        if packet[1] & 0x40:  # a section begins after as many bytes as the first one says
            section = payload[1 + payload[0] :] if payload else b""
        elif section:
            section += payload
        if len(section) >= 3:
            length = 3 + ((section[1] & 0x0F) << 8 | section[2])
            if len(section) >= length:
                yield section[:length]
                section = b""
