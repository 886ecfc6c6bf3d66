"""Reads HLS playlists (RFC 8216bis) as they are found: a bad tag costs that tag or that segment, never the whole playlist.

`parse` knows no network and never waits. Tags of parts and hints (low latency) are passed over: full segments only.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from streams.ingest.base import DEFAULT_TARGET
from streams.ingest.hls.addresses import MOST_ADDRESSED, TOO_MUCH_ADDRESSED, urljoin_safe
from streams.ingest.hls.notation import Attributes, date_of, iv_of, number_or_0, range_of, seconds_of, whole_of
from streams.ingest.hls.values import InitSegment, Key, MasterPlaylist, MediaPlaylist, PlaylistError, Segment, Variant
from streams.ingest.hls.variables import Variables
from streams.media.ranges import Range
from streams.text import printable

MAX_SEGMENTS = 20_000
"""Segments of the largest playlist that is read: 11 hours of 2 s."""

MOST_VARIANTS = 1000
"""Entries of a master playlist: names are looked for among all others."""


def parse(body: bytes, url: str, imported: Mapping[str, str] | None = None) -> MediaPlaylist | MasterPlaylist:
    """What a playlist says; addresses in it are made absolute.

    url: where it came from, after redirects. imported: the variables of the master playlist. Raises `PlaylistError` where it is
    no playlist, has more than `MAX_SEGMENTS`, `MOST_ADDRESSED` or `MOST_VARIANTS`, or uses a variable that is not defined.
    """
    lines = _lines(body)
    if next(lines, "").strip() != "#EXTM3U":
        begin = printable(body.lstrip(b"\xef\xbb\xbf \t\r\n")[:40].decode(errors="replace"))
        raise PlaylistError(
            f"this is no playlist: it begins with {begin!r}, not with #EXTM3U" if begin else "the answer is empty"
        )
    reader = _Reader(url, Variables(url, imported or {}))
    for line in lines:
        reader.take(line)
    return reader.finish()


def _lines(body: bytes) -> Iterator[str]:
    """The lines that are not empty, without white space around them."""
    text = body.decode("utf-8-sig", errors="replace")
    return (line.strip() for line in re.split(r"[\r\n]+", text) if line.strip())


@dataclass
class _Next:
    """What the tags said of the segment whose address comes next."""

    duration: float | None = None
    date: datetime | None = None
    byte_range: tuple[int, int | None] | None = None
    gap: bool = False
    broken: bool = False


@dataclass
class _Keys:
    """The keys that hold where the reader is, by their formats."""

    by_format: dict[str, Key] = field(default_factory=dict)

    def take(self, attributes: Attributes, url: str) -> None:
        """A key holds until the next one of its format. Keys of several formats at once are offers: one of them is enough."""
        method, key_format = attributes["METHOD"], attributes.get("KEYFORMAT", "identity")
        self.by_format.pop("unreadable", None)
        if method == "NONE":
            self.by_format.clear()
            return
        uri = urljoin_safe(url, attributes["URI"]) if "URI" in attributes else None
        iv = iv_of(attributes["IV"]) if "IV" in attributes else None
        readable = method == "AES-128" and key_format == "identity" and uri is not None
        self.by_format[key_format] = Key("AES-128", uri or "", iv) if readable else Key("other", uri or "")

    def miss(self) -> None:
        """A tag could not be read: what follows is encrypted, nobody knows how."""
        self.by_format = {"unreadable": Key("other", "")}

    @property
    def present(self) -> Key | None:
        """The key that can be used, else one that cannot, else None where nothing is encrypted."""
        plain = self.by_format.get("identity")  # no other can be used, see `take`
        return plain if plain is not None and plain.method == "AES-128" else next(iter(self.by_format.values()), None)


@dataclass
class _Reader:
    """The state of reading one playlist from its first line to its last."""

    url: str
    variables: Variables
    dropped: Counter[str] = field(default_factory=Counter)
    target: float | None = None
    first: int = 0
    number: int | None = None
    discontinuity: int = 0
    ended: bool = False
    next: _Next = field(default_factory=_Next)
    init: InitSegment | None = None
    init_missed: bool = False
    keys: _Keys = field(default_factory=_Keys)
    range_ends: dict[str, int] = field(default_factory=dict)
    segments: list[Segment] = field(default_factory=list)
    variant: Variant | None = None
    variants: list[Variant] = field(default_factory=list)
    is_master: bool = False
    addressed: int = 0

    def take(self, line: str) -> None:
        """Read one line."""
        if not line.startswith("#"):
            uri = urljoin_safe(self.url, self.variables.put_into(line))
            if self.is_master:
                self._end_variant(uri)
            else:
                self._end_segment(uri)
        elif line.startswith("#EXT"):
            tag, _, value = line[1:].partition(":")
            try:
                self._tag(tag, value.strip())
            except (ValueError, OverflowError):
                self.dropped[tag] += 1
                self._miss(tag)

    def finish(self) -> MediaPlaylist | MasterPlaylist:
        """The playlist, after its last line."""
        if self.is_master:
            return MasterPlaylist(tuple(self.variants), self.variables.values, self.dropped)
        longest = max((segment.duration for segment in self.segments), default=self.target or DEFAULT_TARGET)
        # Some packagers say less than their segments last; believed, the playlist would be stale before each of them.
        target = self.target if self.target is not None and round(longest) <= math.ceil(self.target) else longest
        return MediaPlaylist(target, self.first, self._number(), tuple(self.segments), self.ended, self.dropped)

    def _tag(self, tag: str, value: str) -> None:
        """Read a tag; raises ValueError where its value cannot be read."""
        match tag:
            case "EXTINF":
                self.next.duration, self.next.broken = seconds_of(value.partition(",")[0]), False
            case "EXT-X-TARGETDURATION":
                self.target = seconds_of(value)
            case "EXT-X-MEDIA-SEQUENCE":
                # Only before the first segment: a second one would number segments twice.
                if self.number is not None:
                    raise ValueError
                self.first = whole_of(value)
            case "EXT-X-DISCONTINUITY-SEQUENCE":
                self.discontinuity = whole_of(value)
            case "EXT-X-DISCONTINUITY":
                self.discontinuity += 1
            case "EXT-X-PROGRAM-DATE-TIME":
                self.next.date = date_of(value)
            case "EXT-X-BYTERANGE":
                self.next.byte_range = range_of(value)
            case "EXT-X-GAP":
                self.next.gap = True
            case "EXT-X-ENDLIST":
                self.ended = True
            case "EXT-X-SKIP":
                self._pass(whole_of(self.variables.attributes(value)["SKIPPED-SEGMENTS"]))
            case "EXT-X-MAP":
                self.init, self.init_missed = self._init(self.variables.attributes(value)), False
            case "EXT-X-KEY":
                self.keys.take(self.variables.attributes(value), self.url)
            case "EXT-X-DEFINE":
                self.variables.define(self.variables.attributes(value))
            case "EXT-X-STREAM-INF":
                self.is_master = True
                self.variant = _variant(self.variables.attributes(value))

    def _miss(self, tag: str) -> None:
        """Note what cannot be used because a tag could not be read."""
        if tag in ("EXTINF", "EXT-X-BYTERANGE"):
            self.next.broken = True
        elif tag == "EXT-X-MAP":
            self.init_missed = True
        elif tag == "EXT-X-KEY":
            self.keys.miss()

    def _number(self) -> int:
        """The media sequence number of the next segment."""
        return self.first if self.number is None else self.number

    def _pass(self, count: int) -> None:
        """Use up the numbers of so many segments."""
        self.number = self._number() + count
        if self.number - self.first > MAX_SEGMENTS:
            raise PlaylistError(f"the playlist has more than {MAX_SEGMENTS} segments")

    def _end_variant(self, uri: str | None) -> None:
        """An entry of a master playlist ends with its address. uri: None where it is none."""
        variant, self.variant = self.variant, None
        if variant is None:
            return
        if uri is None:
            self.dropped["EXT-X-STREAM-INF"] += 1
            return
        self.variants.append(replace(variant, uri=uri))
        if len(self.variants) > MOST_VARIANTS:
            raise PlaylistError(f"the master playlist has more than {MOST_VARIANTS} entries")

    def _end_segment(self, uri: str | None) -> None:
        """A segment ends with its address, whether it can be used or not. uri: None where it is none."""
        number, about = self._number(), self.next
        self._pass(1)
        self.next = _Next()
        if uri is None:
            self.dropped["segment"] += 1
            return
        byte_range = self._resolved(uri, about.byte_range)
        without_place = about.byte_range is not None and byte_range is None
        if about.duration is None or without_place or about.broken or self.init_missed:
            self.dropped["segment"] += 1
            return
        key = self.keys.present
        is_clear = key is None or key.method == "AES-128"
        segment = Segment(
            number, uri, about.duration, about.date, byte_range, self.init, key if is_clear else None,
            self.discontinuity, about.gap, encrypted=not is_clear,
        )  # fmt: skip
        self.addressed += sum(len(address) for address in segment.uris)
        if self.addressed > MOST_ADDRESSED:
            raise PlaylistError(TOO_MUCH_ADDRESSED)
        self.segments.append(segment)

    def _resolved(self, uri: str, byte_range: tuple[int, int | None] | None) -> Range | None:
        """The range with its offset: without one it begins where the range before, of the same resource, ended."""
        if byte_range is None:
            return None
        length, offset = byte_range
        begin = self.range_ends.get(uri) if offset is None else offset
        if begin is None:
            return None
        self.range_ends[uri] = begin + length
        return Range(length, begin)

    def _init(self, attributes: Attributes) -> InitSegment:
        """An init segment, with the key that holds there: those of the segments may be others."""
        uri = urljoin_safe(self.url, attributes["URI"])
        if uri is None:
            raise ValueError
        byte_range = None
        if "BYTERANGE" in attributes:
            length, offset = range_of(attributes["BYTERANGE"])
            byte_range = Range(length, offset or 0)
        key = self.keys.present
        return InitSegment(uri, byte_range, key if key is not None and key.method == "AES-128" else None)


def _variant(attributes: Attributes) -> Variant:
    width, _, height = attributes.get("RESOLUTION", "0x0").lower().partition("x")
    return Variant(
        uri="",
        bandwidth=int(number_or_0(attributes.get("BANDWIDTH", ""))),
        width=int(number_or_0(width)),
        height=int(number_or_0(height)),
        codecs=attributes.get("CODECS", ""),
        frame_rate=attributes.get("FRAME-RATE", ""),
    )
