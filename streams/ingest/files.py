"""Plays files as live streams: cuts them into segments at key frames, and gives each segment's event when it is due.

Cutting copies the encoded video, as a packager does; nothing is encoded again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from scorer.sampling import probe
from streams.errors import MediaError
from streams.events import SegmentEvent
from streams.media import ffmpeg
from streams.media.videos import find_videos

CUT_SECONDS = 600
"""The longest time that cutting one file may take."""

TS_CODECS = {"h264", "hevc", "mpeg2video", "mpeg1video", "mpeg4"}
"""Codecs that are cut into MPEG-TS. All others are cut into Matroska, which holds any codec."""

TS_CONTAINERS = {"mpegts", "mpeg", "mpegvideo", "h264", "hevc", "m4v", "avi", "flv"}
"""Containers, by FFmpeg's names, from which a file is cut into MPEG-TS.

The others may state a display matrix, a shape of pixels and colours, for which MPEG-TS has no place: such a file is cut into
Matroska, which keeps them, so that a segment scores as the file does.
"""


@dataclass(frozen=True)
class Source:
    """A file that plays as one stream."""

    stream_id: str
    path: Path


@dataclass(frozen=True)
class CutSegment:
    """One segment of a source on disk. start, duration: seconds in the source."""

    path: Path
    start: float
    duration: float


def find_sources(path: Path, stream_id: str | None = None) -> list[Source]:
    """The streams of a path: one for a file; one for each video in a folder, named after the video.

    stream_id: the name of the stream; None: the name of the file. Raises `MediaError` where there is no video, or where
    several would share one stream id.
    """
    if not path.exists():
        raise MediaError(f"{path}: no such file or folder", kind="not-found")
    videos = find_videos([path])
    if not videos:
        raise MediaError(f"{path}: no video in this folder", kind="no-video")
    if stream_id is not None and len(videos) > 1:
        raise MediaError(f"{path}: {len(videos)} videos cannot share the stream id {stream_id!r}", kind="refused")
    names = [video.stem if path.is_file() else str(video.relative_to(path).with_suffix("")) for video in videos]
    return [Source(stream_id or name, video) for name, video in zip(names, videos, strict=True)]


def cut(source: Source, directory: Path, seconds: float) -> list[CutSegment]:
    """Cut a source into segments in a subfolder of `directory`; returns them in order.

    Each segment starts with a key frame and has at least `seconds`, except for the last. Raises `MediaError`.
    """
    folder = directory / source.stream_id.replace("/", "_")
    folder.mkdir(parents=True, exist_ok=True)
    facts = probe(source.path)
    keeps_all = facts.codec in TS_CODECS and facts.container in TS_CONTAINERS
    ending, container = ("ts", "mpegts") if keeps_all else ("mkv", "matroska")
    listing = folder / "segments.csv"
    output = [
        "-map", f"0:{facts.index}", "-c", "copy", "-f", "segment", "-segment_time", str(seconds), "-segment_format", container,
        "-segment_list", str(listing), "-segment_list_type", "csv", "-reset_timestamps", "1", str(folder / f"%06d.{ending}"),
    ]  # fmt: skip
    finished = ffmpeg.run(
        source.path.resolve(), output, input_options=["-v", "error"], timeout=CUT_SECONDS, task=f"{source.path}: cutting"
    )
    if finished.code != 0:
        raise MediaError(f"{source.path} cannot be cut into segments: {finished.reason}")
    return _listed_segments(listing)


def _listed_segments(listing: Path) -> list[CutSegment]:
    """The segments in ffmpeg's list, whose lines are `name,start,end`; a name may have commas. Empty segments are left out."""
    segments = []
    for line in listing.read_text().splitlines():
        name, start, end = line.rsplit(",", 2)
        duration = float(end) - float(start)
        if duration > 0:
            segments.append(CutSegment(listing.parent / name, float(start), duration))
    return segments


def events_of(source: Source, segments: Sequence[CutSegment], began: datetime, labels: dict[str, str]) -> list[SegmentEvent]:
    """The events that announce a source's segments. began: the time at which the source starts to play, UTC."""
    return [
        SegmentEvent(
            stream_id=source.stream_id,
            segment_id=f"{source.stream_id}/{began:%Y%m%dT%H%M%S%f}/{number}",
            sequence=number,
            uri=segment.path.resolve().as_uri(),
            start=began + timedelta(seconds=segment.start),
            duration=segment.duration,
            labels=labels,
            ended=number == len(segments) - 1,
        )
        for number, segment in enumerate(segments)
    ]


def in_order(events: Sequence[SegmentEvent], fast: bool) -> Iterator[SegmentEvent]:
    """Give each event when its segment ends in real time, as a live packager does. fast: give all events at once."""
    for event in sorted(events, key=lambda event: (_due(event), event.stream_id)):
        if not fast:
            time.sleep(max(0.0, _due(event) - now().timestamp()))
        yield event


def _due(event: SegmentEvent) -> float:
    return event.start.timestamp() + event.duration


def now() -> datetime:
    """The present time, UTC."""
    return datetime.now(UTC)
