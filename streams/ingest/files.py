"""Plays files as live streams: cut at key frames into segments, announced one by one as they become due.

The cuts copy the stream as it is, as a packager does; nothing is encoded again.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import imageio_ffmpeg
from kafka.errors import KafkaError

from scorer.sampling import probe
from streams.errors import BrokerError, MediaError
from streams.events import SEGMENTS_TOPIC, SegmentEvent
from streams.kafka.clients import no_broker, open_producer, send_all
from streams.kafka.connection import Connection
from streams.media.videos import find_videos

CUT_TIMEOUT = 600
TS_CODECS = {"h264", "hevc", "mpeg2video", "mpeg1video", "mpeg4"}


@dataclass(frozen=True)
class CutSegment:
    """One segment of a source on disk. start, duration: seconds in the source."""

    path: Path
    start: float
    duration: float


@dataclass(frozen=True)
class Source:
    """A file that plays as one stream."""

    stream_id: str
    path: Path


def find_sources(path: Path, stream_id: str | None = None) -> list[Source]:
    """A file is one stream, a folder one per video in it, named after the file. Raises `MediaError` where there is none."""
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
    """Cut a source into segments of at least `seconds`, each beginning with a key frame. Raises `MediaError`."""
    folder = directory / source.stream_id.replace("/", "_")
    folder.mkdir(parents=True, exist_ok=True)
    facts = probe(source.path)
    ending, container = ("ts", "mpegts") if facts.codec in TS_CODECS else ("mkv", "matroska")
    listing = folder / "segments.csv"
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", "-protocol_whitelist", "file,pipe",
        "-i", f"file:{source.path.resolve()}",
        "-map", "0:v:0", "-c", "copy", "-f", "segment", "-segment_time", str(seconds), "-segment_format", container,
        "-segment_list", str(listing), "-segment_list_type", "csv", "-reset_timestamps", "1", str(folder / f"%06d.{ending}"),
    ]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=CUT_TIMEOUT)
    except subprocess.CalledProcessError as error:
        words = error.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise MediaError(f"{source.path} cannot be cut into segments: {words[-1]}") from error
    except subprocess.TimeoutExpired as error:
        raise MediaError(f"{source.path}: cutting took more than {CUT_TIMEOUT} s", kind="timeout") from error
    segments = []
    for line in listing.read_text().splitlines():
        name, start, end = line.rsplit(",", 2)
        duration = float(end) - float(start)
        if duration > 0:
            segments.append(CutSegment(folder / name, float(start), duration))
    return segments


def events_of(source: Source, segments: Sequence[CutSegment], began: datetime, labels: dict[str, str]) -> list[SegmentEvent]:
    """The events that announce a source's segments, the first of which starts at `began`."""
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
    """The events by the time at which they are due, which is a segment's end; at once if `fast`."""
    for event in sorted(events, key=lambda one: (one.start.timestamp() + one.duration, one.stream_id)):
        if not fast:
            time.sleep(max(0.0, event.start.timestamp() + event.duration - datetime.now(UTC).timestamp()))
        yield event


def announce(
    events: Iterator[SegmentEvent],
    connection: Connection,
    sent: Callable[[SegmentEvent], None],
    stopped: Callable[[], bool],
) -> int:
    """Send events as they come, each acknowledged by all replicas; returns how many. Raises `BrokerError`."""
    try:
        producer = open_producer(connection)
    except KafkaError as error:
        raise no_broker(connection, error) from error
    count = 0
    try:
        for event in events:
            if stopped():
                break
            send_all(producer, SEGMENTS_TOPIC, [(event.stream_id.encode(), event.to_bytes())])
            sent(event)
            count += 1
    except KafkaError as error:
        raise BrokerError(f"Kafka at {connection.servers} did not take an event: {error}") from error
    finally:
        producer.close()
    return count


def now() -> datetime:
    """The present, UTC."""
    return datetime.now(UTC)
