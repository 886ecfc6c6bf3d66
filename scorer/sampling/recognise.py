"""Says what a file is that cannot be scored: a web page, a playlist, a part of fragmented MP4, an encrypted segment.

Looks at a file's first bytes and at its boxes, decodes nothing, and knows no FFmpeg. FFmpeg calls most of these files invalid
data, and decodes some encrypted ones to noise.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from scorer.errors import MediaError
from scorer.sampling.transport import CLEAR_VIDEO, SAMPLE_AES_VIDEO, SYNC, packets_of, pid_of, programmes

HEAD = 1 << 16
"""Bytes at a file's beginning that are looked at."""

TEXT = 1024
"""Bytes that are looked at to tell a text. No container has this many without a control character."""

MOST_BOXES = 1000
"""Boxes of one level that are looked at: a hostile file may hold millions."""

PLAYLIST = "a playlist, not media: send its segments"
WEB_PAGE = "a web page (HTML), not media: does its address need a login, or has it expired?"
MISSING_INIT = (
    "the init segment is missing: the file is a media part of fragmented MP4 or WebM; give its init segment as init_uri"
)
ONLY_INIT = "the file is only the init segment of fragmented MP4, without media: give it as init_uri, and the media part as uri"
ENCRYPTED = "the media are encrypted ({}), and no key is known here: send the clear segment"

FIRST_BOXES = {
    b"ftyp",
    b"styp",
    b"moov",
    b"moof",
    b"mdat",
    b"sidx",
    b"ssix",
    b"prft",
    b"emsg",
    b"free",
    b"skip",
    b"wide",
    b"uuid",
}
CLUSTER, EBML = b"\x1f\x43\xb6\x75", b"\x1a\x45\xdf\xa3"
SEGMENT, TRACKS, TRACK, TRACK_TYPE = 0x18538067, 0x1654AE6B, 0xAE, 0x83
ENCODINGS, ENCODING, ENCRYPTION = 0x6D80, 0x6240, 0x5035
"""Elements of Matroska and WebM (RFC 9559)."""

PIFF = bytes.fromhex("a2394f525a9b4f14a2446c427c648df4")
"""Id of the box with which Smooth Streaming says how samples are encrypted."""

NO_VIDEO = {
    rb"\x89PNG\r\n": "a picture (PNG)",
    rb"(?s)RIFF....WEBP": "a picture (WebP)",
    rb"(?s)....ftyp(avif|heic|mif1)": "a picture (AVIF or HEIC)",
    rb"(?s)RIFF....WAVE": "sound (WAV)",
    rb"\xff[\xfb\xf3\xf2]": "sound (MP3)",
    rb"\xff[\xf0\xf1\xf8\xf9]": "sound (AAC)",
    rb"ID3": "sound (MP3 or AAC)",  # HLS puts such a tag before AAC
    rb"\x0b\x77": "sound (AC-3 or E-AC-3)",
    rb"(\xef\xbb\xbf)?WEBVTT": "subtitles (WebVTT)",
    rb"fLaC": "sound (FLAC)",
}
"""How files begin that FFmpeg cannot open as a video. An animated PNG begins so too, but that is opened."""

Box = tuple[bytes, int, int]
"""A box of MP4: its type, where its content begins, where it ends."""


def not_media(head: bytes) -> str | None:
    """What a file is, to be put after "is", where it is certainly no media; None otherwise. head: its first bytes."""
    for start, name in (
        (b"\x1f\x8b", "a gzip file"),
        (b"PK\x03\x04", "a zip file"),
        (b"%PDF", "a PDF"),
        (b"\xff\xd8\xff", "a picture (JPEG)"),
    ):
        if head.startswith(start):
            return f"{name}, not media: send the video itself"
    text = _text(head[:TEXT])
    if text.startswith("#extm3u") or re.search(r"<(\w+:)?(mpd|smoothstreamingmedia)\b", text):
        return PLAYLIST
    if text.startswith("<") and re.search(r"<(!doctype html|html|head|body|script|meta)\b", text):
        return WEB_PAGE
    if re.match(r"<[?!a-z]", text):
        return "an XML document, not media: is it the server's error?"
    if re.match(r'[\[{]\s*(["\[{\]}\d-]|true|false|null)', text):
        return "a JSON document, not media: is it the server's error?"
    return None


def refuse_unplayable(file: BinaryIO) -> None:
    """Raise `MediaError` of kind "refused" for what FFmpeg would open: encrypted media, an init segment without media."""
    head = _head(file)
    if head[4:8] in FIRST_BOXES:
        _refuse_movie(file)
    elif head.startswith(EBML):
        videos = [track for track in _tracks(head) if track.get(TRACK_TYPE) == b"\x01"]
        if videos and all(_within([track.get(ENCODINGS, b"")], ENCODING, ENCRYPTION) for track in videos):
            raise MediaError(ENCRYPTED.format("WebM, by DRM or a key"), kind="refused")
    elif (encryption := _stream_encryption(head)) is not None:
        raise MediaError(ENCRYPTED.format(encryption), kind="refused")


def reason_unreadable(file: BinaryIO) -> MediaError | None:
    """Why FFmpeg cannot open a file, where its bytes tell; None otherwise."""
    head = _head(file)
    words = not_media(head) or next((f"{name}, no video" for sign, name in NO_VIDEO.items() if re.match(sign, head)), None)
    if words is not None:
        return MediaError(f"the file is {words}", kind="refused")
    if head.startswith(CLUSTER):
        return MediaError(MISSING_INIT, kind="refused")
    if head[4:8] in FIRST_BOXES:
        kinds = {kind for kind, _, _ in _movie_boxes(file)}
        if b"moof" in kinds and b"moov" not in kinds:
            return MediaError(MISSING_INIT, kind="refused")
    elif _looks_random(head) and file.seek(0, 2) % 16 == 0:
        return MediaError(
            "the file is no known container and its bytes look random; is it encrypted (AES-128 of HLS)? send it decrypted"
        )
    return None


def _head(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(HEAD)


def _text(head: bytes) -> str:
    """The bytes as text in lower case without what stands before its first character; "" where they are no text."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = head.decode("utf-16", "ignore")
    elif re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", head):
        return ""
    else:
        text = head.decode("utf-8", "ignore")
    return text.lstrip("\ufeff \t\r\n").lower()


def _looks_random(data: bytes) -> bool:
    """Whether all byte values are about equally frequent, as encryption leaves them (chi-squared with 255 degrees of freedom)."""
    if len(data) < 1024:
        return False
    expected = len(data) / 256
    counts = Counter(data)
    return sum((counts[value] - expected) ** 2 for value in range(256)) / expected < 400


def _refuse_movie(file: BinaryIO) -> None:
    """Raise for an MP4 that is encrypted, or only an init segment."""
    boxes = {kind: (start, end) for kind, start, end in reversed(list(_movie_boxes(file)))}
    if b"moov" not in boxes:
        return
    movie = list(_boxes(file, *boxes[b"moov"]))
    if b"moof" not in boxes and b"mdat" not in boxes and any(kind == b"mvex" for kind, _, _ in movie):
        raise MediaError(ONLY_INIT, kind="refused")
    videos = [entries for kind, *track in movie if kind == b"trak" and (entries := _sample_entries(file, *track))]
    if not videos or any(entries != {b"encv"} for entries in videos):
        return
    # Packagers leave the first seconds of encrypted video clear: such fragments do not say how to decrypt their samples.
    if b"moof" in boxes and not _has_encrypted_samples(file, *boxes[b"moof"]):
        return
    raise MediaError(ENCRYPTED.format("CENC, by DRM or a key"), kind="refused")


def _movie_boxes(file: BinaryIO) -> Iterator[Box]:
    """The boxes of a file up to its first media after the movie's header."""
    has_header = False
    for box in _boxes(file, 0, file.seek(0, 2)):
        yield box
        has_header |= box[0] == b"moov"
        if has_header and box[0] in (b"moof", b"mdat"):
            return


def _sample_entries(file: BinaryIO, start: int, end: int) -> set[bytes]:
    """The kinds of sample of a video track, such as avc1, or encv for encrypted ones; none where the track is no video."""
    media = {kind: (inner, after) for kind, inner, after in inside_boxes(file, start, end, b"mdia")}
    if b"hdlr" not in media or b"minf" not in media:
        return set()
    file.seek(media[b"hdlr"][0] + 8)
    if file.read(4) != b"vide":
        return set()
    return {
        entry
        for kind, inner, after in inside_boxes(file, *media[b"minf"], b"stbl")
        if kind == b"stsd"
        for entry, _, _ in _boxes(file, inner + 8, after)
    }


def _has_encrypted_samples(file: BinaryIO, start: int, end: int) -> bool:
    """Whether a fragment says how its samples are encrypted."""
    for kind, inner, _ in inside_boxes(file, start, end, b"traf"):
        file.seek(inner)
        if kind in (b"senc", b"saiz") or (kind == b"uuid" and file.read(16) == PIFF):
            return True
    return False


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes between two places of a file, at most `MOST_BOXES`."""
    return islice(all_boxes(file, start, end), MOST_BOXES)


def inside_boxes(file: BinaryIO, start: int, end: int, *path: bytes) -> Iterator[Box]:
    """The boxes within all boxes at a path of names, at most `MOST_BOXES` of each level of a box."""
    if not path:
        yield from _boxes(file, start, end)
        return
    for kind, inner, after in _boxes(file, start, end):
        if kind == path[0]:
            yield from inside_boxes(file, inner, after, *path[1:])


def all_boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes between two places of a file; the last one may be cut off."""
    while start + 8 <= end:
        file.seek(start)
        header = file.read(16)
        size, kind, content = int.from_bytes(header[:4]), header[4:8], start + 8
        if size == 1:
            size, content = int.from_bytes(header[8:16]), start + 16
        elif size == 0:
            size = end - start
        if start + size < content:
            return
        # Cut to the end of its parent: where boxes overlapped, each level would multiply the work.
        yield kind, content, min(start + size, end)
        start += size


def _tracks(head: bytes) -> list[dict[int, bytes]]:
    """The elements of each track of a Matroska or WebM file."""
    return [dict(_elements(track)) for track in _within([head], SEGMENT, TRACKS, TRACK)]


def _within(contents: list[bytes], *path: int) -> list[bytes]:
    """The contents of all elements at a path of names."""
    for name in path:
        contents = [inner for content in contents for element, inner in _elements(content) if element == name]
    return contents


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Name and content of the elements of EBML, at most `MOST_BOXES`; the last one may be cut off."""
    place = 0
    for _ in range(MOST_BOXES):
        values = []
        for keep in (True, False):  # a name keeps the bit that says how long it is, a size does not
            length = 9 - data[place].bit_length() if place < len(data) else 9
            number = data[place : place + length]
            if length > 8 or len(number) < length:
                return
            values.append(int.from_bytes(number) if keep else int.from_bytes(number) & (1 << 7 * length) - 1)
            place += length
        name, size = values
        yield name, data[place : place + size]
        place += size


def _stream_encryption(head: bytes) -> str | None:
    """How a transport stream is encrypted, None where it is not, or is no transport stream."""
    packets = packets_of(head)
    if sum(packet[0] == SYNC for packet in packets) * 2 < len(packets):
        return None  # the first bytes were there by chance
    media = [packet for packet in packets if packet[0] == SYNC and packet[3] & 0x10 and pid_of(packet) not in (0, 0x1FFF)]
    if sum(packet[3] >= 0x40 for packet in media) * 2 > len(media):
        return "scrambled transport stream"
    types = {kind for streams in programmes(head) for kind in streams.values()}
    return "SAMPLE-AES" if types & SAMPLE_AES_VIDEO and not types & CLEAR_VIDEO else None
