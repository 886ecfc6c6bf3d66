"""Segments: what a packager or `fvq ingest` announces on `video-segments`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from streams.events.base import ByteRange, Event, LabelValue, Name, Uri, UtcTime, possible

LONGEST_SEGMENT = 3600
"""Seconds: the longest duration that an event may have."""

STORE_LABEL, STORE_NOTHING = "store", ("no", "false", "off", "never", "0")
"""The label of a stream of which no picture and no clip may be kept, and its values, in any case of letters."""


def may_be_stored(labels: Mapping[str, str]) -> bool:
    """Whether clips and pictures of a stream with these labels may be kept. Its segments are fetched and scored all the same."""
    return labels.get(STORE_LABEL, "").strip().casefold() not in STORE_NOTHING


def words_of(name: str) -> str:
    """What a field of `SegmentEvent` means, for events that copy it. name: the field's."""
    return str(SegmentEvent.model_fields[name].description)


class SegmentKey(Event):
    """How a segment is encrypted, and where its key is. The key itself is never in an event."""

    method: Literal["AES-128"] = Field(description="AES-128 in CBC mode with PKCS7 padding over the whole segment (RFC 8216).")
    uri: Uri = Field(description="Where the 16 bytes of the key are; fetched by the same rules as media.")
    iv: str = Field(pattern=r"^[0-9a-fA-F]{32}$", description="Initialisation vector, 32 hexadecimal digits.")


class SegmentEvent(Event):
    """One media segment of a live stream is ready to be fetched. Key: `stream_id`."""

    stream_id: Name = Field(description="The channel. The message key, so that a stream's segments stay in order.")
    segment_id: Name = Field(description="Unique for this segment of this rendition; a repeated event carries the same id.")
    sequence: int = Field(ge=0, lt=2**63, description="Position in the stream, rising; a jump is a loss.")
    uri: Uri = Field(description="Where the media is: http(s), file, s3 or gs, as far as the worker's settings allow.")
    init_uri: Uri | None = Field(default=None, description="The initialisation segment of fragmented MP4, put before the media.")
    byte_range: ByteRange | None = Field(default=None, description="The part of `uri` that is the segment: length@offset, bytes.")
    init_byte_range: ByteRange | None = Field(default=None, description="The part of `init_uri`, likewise.")
    key: SegmentKey | None = Field(default=None, description="How the media is encrypted, where it is.")
    init_key: SegmentKey | None = Field(default=None, description="The same of `init_uri`, where it differs from `key`.")
    start: Annotated[UtcTime, AfterValidator(possible)] = Field(description="Start of the segment in event time, UTC, ISO 8601.")
    duration: float = Field(gt=0, le=LONGEST_SEGMENT, description="Length of the segment, seconds.")
    rendition: Name | None = Field(default=None, description="Which of the stream's encodings this is, e.g. 720p.")
    labels: dict[Name, LabelValue] = Field(
        default_factory=dict, max_length=32, description="Free labels of the stream, e.g. tier=premium."
    )
    ended: bool = Field(default=False, description="True on a stream's last segment: the silence after it raises no alert.")
