"""What HLS playlists say, as values. The terms are those of RFC 8216bis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from streams.errors import FvqError
from streams.media.ranges import Range

_WITHOUT_PICTURES = (
    "mp4a", "ac-3", "ec-3", "ac-4", "opus", "flac", "alac", "vorbis", "dts", "mp3", "mha1", "mhm1", "iamf",
    "stpp", "wvtt", "tx3g",
)  # fmt: skip
"""How codecs of sound and of text are called in `CODECS`, which names those of all that goes with a rendition, subtitles too."""


class PlaylistError(FvqError):
    """What was loaded is no playlist, or one that cannot be used. The sentence says why. kind, retry_after: as of `ReadError`."""

    kind = "no-playlist"
    retry_after = 0.0


@dataclass(frozen=True)
class Key:
    """How a segment is encrypted. uri: where its key is; iv: 16 bytes, None where it follows from the segment's number."""

    method: str
    uri: str
    iv: bytes | None = None


@dataclass(frozen=True)
class InitSegment:
    """An `EXT-X-MAP`. key: how it is encrypted, None where it is not, as far as the playlist says."""

    uri: str
    byte_range: Range | None = None
    key: Key | None = None

    @property
    def uris(self) -> list[str]:
        """All that a worker has to fetch for it."""
        return [self.uri, *([self.key.uri] if self.key is not None else [])]


@dataclass(frozen=True)
class Segment:
    """One full segment. number: its media sequence number. duration: seconds. date: `EXT-X-PROGRAM-DATE-TIME`, if it has one.

    discontinuity: its discontinuity sequence number. gap: it does not exist. encrypted: by a method that is not supported.
    """

    number: int
    uri: str
    duration: float
    date: datetime | None = None
    byte_range: Range | None = None
    init: InitSegment | None = None
    key: Key | None = None
    discontinuity: int = 0
    gap: bool = False
    encrypted: bool = False

    @property
    def uris(self) -> list[str]:
        """All that a worker has to fetch for it."""
        init, key = self.init, self.key
        return [self.uri, *(init.uris if init is not None else []), *([key.uri] if key is not None else [])]


@dataclass(frozen=True)
class MediaPlaylist:
    """The segments of one rendition. target: target duration, seconds. first, next_number: media sequence numbers of the first
    segment of the list and of the one after its last. dropped: what could not be read, by tag."""

    target: float
    first: int
    next_number: int
    segments: tuple[Segment, ...]
    ended: bool
    dropped: Mapping[str, int]


@dataclass(frozen=True)
class Variant:
    """One entry of a master playlist. bandwidth: bits per second, 0 where it is not said. height: pixels, 0 likewise."""

    uri: str
    bandwidth: int = 0
    width: int = 0
    height: int = 0
    codecs: str = ""
    frame_rate: str = ""

    @property
    def has_video(self) -> bool:
        """Whether it has pictures, as far as the playlist says."""
        codecs = [codec.strip().lower() for codec in self.codecs.split(",") if codec.strip()]
        return self.height > 0 or not codecs or any(not codec.startswith(_WITHOUT_PICTURES) for codec in codecs)


@dataclass(frozen=True)
class MasterPlaylist:
    """Renditions to choose from. variables: what `EXT-X-DEFINE` says, for the media playlists that import it."""

    variants: tuple[Variant, ...]
    variables: Mapping[str, str]
    dropped: Mapping[str, int]
