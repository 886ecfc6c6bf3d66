"""Reads HLS playlists (RFC 8216bis) as they are found: a bad tag costs that tag or that segment, never the whole playlist.

`parse` knows no network and never waits. Tags of parts and hints (low latency) are passed over: full segments only.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from urllib.parse import parse_qsl, urlsplit

from streams.events import YEARS
from streams.ingest.base import DEFAULT_TARGET
from streams.ingest.hls.addresses import MOST_ADDRESSED, TOO_MUCH_ADDRESSED, urljoin_safe
from streams.ingest.hls.values import InitSegment, Key, MasterPlaylist, MediaPlaylist, PlaylistError, Segment, Variant
from streams.media.ranges import Range
from streams.text import printable

MAX_SEGMENTS = 20_000
"""Segments of the largest playlist that is read: 11 hours of 2 s."""

LONGEST_SEGMENT = 3600.0
"""Seconds. A longer `EXTINF` is a mistake."""

MOST_VARIANTS = 1000
"""Entries of a master playlist: names are looked for among all others."""

MOST_SUBSTITUTED = 2**24
"""Characters that all variables of a playlist may stand for: each may name two others, so 30 of them would fill the memory."""

# Possessive, and only from the beginning of a name: else a long line without a = would be read again from each of its letters.
_ATTRIBUTE = re.compile(r'(?<![A-Za-z0-9-])([A-Za-z0-9-]++)\s*+=\s*+("[^"]*+"|[^",]*+)')
_VARIABLE = re.compile(r"\{\$([A-Za-z0-9_-]+)\}")
_RANGE = re.compile(r"\s*(\d{1,18})\s*(?:@\s*(\d{1,18})\s*)?", re.ASCII)


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
    reader = _Reader(url, dict(imported or {}))
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
class _Reader:
    """The state of reading one playlist from its first line to its last."""

    url: str
    imported: dict[str, str]
    variables: dict[str, str] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    target: float | None = None
    first: int = 0
    number: int | None = None
    discontinuity: int = 0
    ended: bool = False
    next: _Next = field(default_factory=_Next)
    init: InitSegment | None = None
    init_missed: bool = False
    keys: dict[str, Key] = field(default_factory=dict)
    range_ends: dict[str, int] = field(default_factory=dict)
    segments: list[Segment] = field(default_factory=list)
    variant: Variant | None = None
    variants: list[Variant] = field(default_factory=list)
    is_master: bool = False
    substituted: int = 0
    addressed: int = 0

    def take(self, line: str) -> None:
        """Read one line."""
        if not line.startswith("#"):
            self._uri(self._with_variables(line))
        elif line.startswith("#EXT"):
            tag, _, value = line[1:].partition(":")
            try:
                self._tag(tag, value.strip())
            except (ValueError, OverflowError):
                self.dropped[tag] += 1
                self._miss(tag)

    def _miss(self, tag: str) -> None:
        """Note what cannot be used because a tag could not be read."""
        if tag in ("EXTINF", "EXT-X-BYTERANGE"):
            self.next.broken = True
        elif tag == "EXT-X-MAP":
            self.init_missed = True
        elif tag == "EXT-X-KEY":
            self.keys = {"unreadable": Key("other", "")}

    def finish(self) -> MediaPlaylist | MasterPlaylist:
        """The playlist, after its last line."""
        if self.is_master:
            return MasterPlaylist(tuple(self.variants), self.variables, self.dropped)
        longest = max((segment.duration for segment in self.segments), default=self.target or DEFAULT_TARGET)
        # Some packagers say less than their segments last; believed, the playlist would be stale before each of them.
        target = self.target if self.target is not None and round(longest) <= math.ceil(self.target) else longest
        return MediaPlaylist(target, self.first, self._number(), tuple(self.segments), self.ended, self.dropped)

    def _tag(self, tag: str, value: str) -> None:
        """Read a tag; raises ValueError where its value cannot be read."""
        match tag:
            case "EXTINF":
                self.next.duration, self.next.broken = _seconds(value.partition(",")[0]), False
            case "EXT-X-TARGETDURATION":
                self.target = _seconds(value)
            case "EXT-X-MEDIA-SEQUENCE":
                # Only before the first segment: a second one would number segments twice.
                if self.number is not None:
                    raise ValueError
                self.first = _whole(value)
            case "EXT-X-DISCONTINUITY-SEQUENCE":
                self.discontinuity = _whole(value)
            case "EXT-X-DISCONTINUITY":
                self.discontinuity += 1
            case "EXT-X-PROGRAM-DATE-TIME":
                self.next.date = _date(value)
            case "EXT-X-BYTERANGE":
                self.next.byte_range = _range(value)
            case "EXT-X-GAP":
                self.next.gap = True
            case "EXT-X-ENDLIST":
                self.ended = True
            case "EXT-X-SKIP":
                self._pass(_whole(self._attributes(value)["SKIPPED-SEGMENTS"]))
            case "EXT-X-MAP":
                self._map(self._attributes(value))
            case "EXT-X-KEY":
                self._key(self._attributes(value))
            case "EXT-X-DEFINE":
                self._define(self._attributes(value))
            case "EXT-X-STREAM-INF":
                self.is_master = True
                self.variant = _variant(self._attributes(value))

    def _number(self) -> int:
        """The media sequence number of the next segment."""
        return self.first if self.number is None else self.number

    def _pass(self, count: int) -> None:
        """Use up the numbers of so many segments."""
        self.number = self._number() + count
        if self.number - self.first > MAX_SEGMENTS:
            raise PlaylistError(f"the playlist has more than {MAX_SEGMENTS} segments")

    def _uri(self, line: str) -> None:
        uri = urljoin_safe(self.url, line)
        if self.variant is not None:
            if uri is None:
                self.dropped["EXT-X-STREAM-INF"] += 1
            else:
                self.variants.append(replace(self.variant, uri=uri))
                if len(self.variants) > MOST_VARIANTS:
                    raise PlaylistError(f"the master playlist has more than {MOST_VARIANTS} entries")
            self.variant = None
            return
        if self.is_master:
            return
        number = self._number()
        self._pass(1)
        about, self.next = self.next, _Next()
        byte_range = self._resolved(uri, about.byte_range) if uri is not None else None
        without_place = uri is None or (about.byte_range is not None and byte_range is None)
        if uri is None or about.duration is None or without_place or about.broken or self.init_missed:
            self.dropped["segment"] += 1
            return
        key = self._present_key()
        segment = Segment(
            number, uri, about.duration, about.date, byte_range, self.init,
            key=key if key is not None and key.method == "AES-128" else None,
            discontinuity=self.discontinuity, gap=about.gap, encrypted=key is not None and key.method != "AES-128",
        )  # fmt: skip
        self.addressed += len(uri) + (len(self.init.uri) if self.init else 0) + (len(key.uri) if key else 0)
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

    def _map(self, attributes: Mapping[str, str]) -> None:
        uri = urljoin_safe(self.url, attributes["URI"])
        if uri is None:
            raise ValueError
        byte_range = None
        if "BYTERANGE" in attributes:
            length, offset = _range(attributes["BYTERANGE"])
            byte_range = Range(length, offset or 0)
        self.init, self.init_missed = InitSegment(uri, byte_range), False

    def _key(self, attributes: Mapping[str, str]) -> None:
        """A key holds until the next one of its format. Keys of several formats at once are offers: one of them is enough."""
        method, key_format = attributes["METHOD"], attributes.get("KEYFORMAT", "identity")
        self.keys.pop("unreadable", None)
        if method == "NONE":
            self.keys.clear()
            return
        uri = urljoin_safe(self.url, attributes["URI"]) if "URI" in attributes else None
        iv = _iv(attributes["IV"]) if "IV" in attributes else None
        readable = method == "AES-128" and key_format == "identity" and uri is not None
        self.keys[key_format] = Key("AES-128", uri or "", iv) if readable else Key("other", uri or "")

    def _present_key(self) -> Key | None:
        """The key that can be used, else one that cannot, else None where nothing is encrypted."""
        plain = self.keys.get("identity")  # no other can be used, see `_key`
        return plain if plain is not None and plain.method == "AES-128" else next(iter(self.keys.values()), None)

    @cached_property
    def _parameters(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))

    def _define(self, attributes: Mapping[str, str]) -> None:
        if "NAME" in attributes:
            self.variables.setdefault(attributes["NAME"], attributes["VALUE"])
        elif "IMPORT" in attributes:
            name = attributes["IMPORT"]
            if name not in self.imported:
                raise PlaylistError(f"the variable {printable(name)} is imported, and the master playlist does not define it")
            self.variables[name] = self.imported[name]
        elif "QUERYPARAM" in attributes:
            name = attributes["QUERYPARAM"]
            if name not in self._parameters:
                raise PlaylistError(f"the variable {printable(name)} is a parameter that the playlist's address does not have")
            self.variables[name] = self._parameters[name]
        else:
            raise ValueError

    def _attributes(self, text: str) -> dict[str, str]:
        """An attribute list. The first of a name counts."""
        attributes: dict[str, str] = {}
        for name, value in _ATTRIBUTE.findall(text):
            quoted = value.startswith('"')
            attributes.setdefault(name.upper(), self._with_variables(value.strip('"')) if quoted else value.strip())
        return _Attributes(attributes)

    def _with_variables(self, text: str) -> str:
        def value_of(match: re.Match[str]) -> str:
            if match[1] not in self.variables:
                raise PlaylistError(f"the variable {match[1][:100]} is not defined")
            value = self.variables[match[1]]
            self.substituted += len(value)
            if self.substituted > MOST_SUBSTITUTED:
                raise PlaylistError(f"the variables stand for more than {MOST_SUBSTITUTED} characters")
            return value

        return _VARIABLE.sub(value_of, text)


class _Attributes(dict[str, str]):
    """Attributes of a tag; one that is missing makes the tag unreadable."""

    def __missing__(self, name: str) -> str:
        raise ValueError(name)


def _seconds(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and 0 < value <= LONGEST_SEGMENT):
        raise ValueError
    return value


def _whole(text: str) -> int:
    if not re.fullmatch(r"\d{1,20}", text.strip(), re.ASCII) or int(text) >= 2**64:
        raise ValueError
    return int(text)


def _date(text: str) -> datetime:
    date = datetime.fromisoformat(text)
    date = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    if date.year not in YEARS:
        raise ValueError
    return date


def _range(text: str) -> tuple[int, int | None]:
    match = _RANGE.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise ValueError
    return int(match[1]), int(match[2]) if match[2] is not None else None


def _iv(text: str) -> bytes:
    if not re.fullmatch(r"0[xX][0-9A-Fa-f]{1,32}", text):
        raise ValueError
    return int(text, 16).to_bytes(16, "big")


def _variant(attributes: Mapping[str, str]) -> Variant:
    width, _, height = attributes.get("RESOLUTION", "0x0").lower().partition("x")
    return Variant(
        uri="",
        bandwidth=int(_number(attributes.get("BANDWIDTH", ""))),
        width=int(_number(width)),
        height=int(_number(height)),
        codecs=attributes.get("CODECS", ""),
        frame_rate=attributes.get("FRAME-RATE", ""),
    )


def _number(text: str) -> float:
    """A number of a variant; 0 where it cannot be read, because the variant can be played without it."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) and 0 <= value < 1e12 else 0.0
