"""Plays files as live streams: cuts them into segments at key frames, and gives each segment's event when it is due.

Cutting copies the encoded video, as a packager does; nothing is encoded again.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from scorer.sampling import SamplerPool, VideoFacts
from scorer.sampling.opening import FORMATS
from scorer.spec import SamplerSpec
from streams.errors import MediaError
from streams.events import LONGEST_SEGMENT, SegmentEvent
from streams.media import ffmpeg
from streams.media.videos import check_file, find_videos, for_children
from streams.text import printable

LONGEST_ID = 200
"""Characters of a stream id: with time and number, a segment's id must stay under an event's limit of 256."""

FROM_ZERO = "setts=pts=PTS-STARTPTS:dts=DTS-STARTPTS"
"""The first picture is at 0, and its decoding before it: else ffmpeg counts the delay of B-frames to the first
segment."""

LISTING = "segments.csv"
"""ffmpeg's list of the segments."""

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


@dataclass(frozen=True)
class CutLimits:
    """What reading and cutting one file may take.

    memory_mb: MiB that each of the two child processes may allocate. segment_mb: MiB, the largest segment. seconds: the longest
    time.
    """

    memory_mb: int = 2048
    segment_mb: int = 256
    seconds: float = 600.0


DEFAULT_LIMITS = CutLimits()


def find_sources(path: Path, stream_id: str | None = None) -> list[Source]:
    """The streams of a path: one for a file; one for each video in a folder, named after the video. Each has an id of its own.

    stream_id: the name of the stream; None: the name of the file. A file that cannot be read is a source too, which `cut`
    refuses. Raises `MediaError` where there is no video, or where several would share the stream id that is given.
    """
    if not os.path.isdir(path):
        try:
            check_file(path)
        except MediaError as error:
            raise MediaError(f"{path}: {error.reason}", kind=error.kind) from None
    videos = find_videos([path])
    if not videos:
        raise MediaError(f"{path}: no video in this folder", kind="no-video")
    if stream_id is not None and len(videos) > 1:
        raise MediaError(f"{path}: {len(videos)} videos cannot share the stream id {stream_id!r}", kind="refused")
    if stream_id:
        return [Source(stream_id, videos[0])]
    top = path if os.path.isdir(path) else path.parent
    ids = stream_ids([video.relative_to(top) if video != top else Path(top.resolve().name) for video in videos])
    return [Source(name, video) for name, video in zip(ids, videos, strict=True)]


def stream_ids(files: Sequence[Path]) -> list[str]:
    """A stream id for each file: its name, with the ending where two files differ in that alone, and no two alike.

    files: relative paths, no two alike. What cannot be printed is escaped; names that are still alike get a number.
    """
    full = [_as_id(str(file)) for file in files]
    ids = [_as_id(str(file.with_suffix(""))) if file.name else name for file, name in zip(files, full, strict=True)]
    while True:
        count = Counter(ids)
        alike = [i for i, name in enumerate(ids) if count[name] > 1 and name != full[i]]
        if not alike:
            break
        for i in alike:
            ids[i] = full[i]
    taken: set[str] = set()
    for i, name in enumerate(ids):
        number = 1
        while ids[i] in taken:
            number += 1
            ids[i] = f"{name}~{number}"
        taken.add(ids[i])
    return ids


def _as_id(name: str) -> str:
    """A file's name as a stream id: printable, and short enough that the ids of its segments fit into an event."""
    shown = printable(name)
    return shown if len(shown) <= LONGEST_ID else f"{shown[: LONGEST_ID - 17]}~{_digest(name)}"


def cut_all(
    sources: Sequence[Source], directory: Path, seconds: float, limits: CutLimits
) -> tuple[dict[Source, list[CutSegment]], dict[Source, str]]:
    """Cut every source into segments in subfolders of `directory`; returns the segments, and why sources cannot be cut.

    A source that cannot be cut harms no other. Raises `MediaError` where none can be cut.
    """
    ffmpeg.program("cutting files into segments")
    segments: dict[Source, list[CutSegment]] = {}
    problems: dict[Source, str] = {}
    with SamplerPool(SamplerSpec(), 1, limits.seconds, limits.memory_mb) as pool:
        for source in sources:
            try:
                segments[source] = cut(source, directory, seconds, lambda path: pool.probe(path).result(), limits)
            except MediaError as error:
                problems[source] = error.reason
    if not segments:
        raise MediaError("; ".join(f"{source.path}: {reason}" for source, reason in problems.items()))
    return segments, problems


def cut(
    source: Source,
    directory: Path,
    seconds: float,
    prober: Callable[[Path], VideoFacts],
    limits: CutLimits = DEFAULT_LIMITS,
) -> list[CutSegment]:
    """Cut a source into segments in a subfolder of `directory`; returns them in order.

    Each segment starts with a key frame and has at least `seconds`, except for the last. No two sources share a folder: its
    name has a hash of the stream id, and one of stream id, file and `seconds`. Cut again, a file that has not changed gives the
    same segments in the same place. prober: `scorer.sampling.probe`, in a child process where the file comes from outside. Raises
    `MediaError`.
    """
    check_file(source.path)
    facts = prober(for_children(source.path))
    if facts.changes:
        raise MediaError(
            "its video goes on in another stream or with another codec, as where recordings are joined: split it there, or "
            "encode it again",
            kind="refused",
        )
    if not facts.is_timed:
        raise MediaError("its time stamps cannot be true, so nobody can say how long its pictures last: encode it again")
    if not facts.knows_order:
        raise MediaError(
            f"it says when its pictures are decoded, not when they are shown ({facts.codec} with B-frames): encode it again, "
            "into MP4 for example",
            kind="refused",
        )
    folder = directory / folder_name(source, seconds)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix="cutting-") as work:
        _write_segments(source.path, facts, Path(work), seconds, limits)
        segments = _listed_segments(Path(work, LISTING), folder, seconds)
        for segment in segments:
            # Replaced in one step: a worker may be reading the segments of an earlier run.
            os.replace(Path(work, segment.path.name), segment.path)
    if not segments:
        raise MediaError("it cannot be cut into segments: its pictures have no duration")
    return segments


def _write_segments(file: Path, facts: VideoFacts, folder: Path, seconds: float, limits: CutLimits) -> None:
    """Let ffmpeg cut the file into the folder, with its list of the segments. Raises `MediaError`."""
    keeps_all = facts.codec in TS_CODECS and facts.container in TS_CONTAINERS
    ending, container = ("ts", "mpegts") if keeps_all else ("mkv", "matroska")
    counted = f"setts=ts=N*{facts.step}/TB," if facts.step is not None else ""
    # AVI, ASF and raw MPEG have no picture times, or few: `genpts` lets ffmpeg work them out from the order of the pictures.
    # ffmpeg works in the folder, so that no `%` in a path is taken for a part of the pattern.
    output = [
        "-map", f"0:{facts.index}", "-c", "copy", "-bsf:v", counted + FROM_ZERO, "-avoid_negative_ts", "disabled",
        "-f", "segment", "-segment_time", str(seconds), "-segment_format", container,
        "-segment_list", LISTING, "-segment_list_type", "csv", "-reset_timestamps", "1", f"%06d.{ending}",
    ]  # fmt: skip
    finished = ffmpeg.run(
        file.resolve(), output, input_options=["-v", "error", "-format_whitelist", FORMATS, "-fflags", "+genpts"],
        timeout=limits.seconds, task="cutting", limits=ffmpeg.ChildLimits(limits.memory_mb << 20, limits.segment_mb << 20),
        folder=folder,
    )  # fmt: skip
    if finished.code == -signal.SIGXFSZ:
        raise MediaError(f"it cannot be cut into segments of less than {limits.segment_mb} MiB", kind="too-large")
    if finished.code != 0:
        raise MediaError(f"it cannot be cut into segments: {finished.cause}")


def folder_name(source: Source, seconds: float) -> str:
    """A name that people recognise, of characters that are safe in every path; the stream's hash, by which `folders_of` finds
    all its folders; and a hash that no other source has."""
    file = source.path.resolve()
    facts = file.stat()
    parts = (source.stream_id, os.fsencode(file), facts.st_size, facts.st_mtime_ns, seconds)
    name = re.sub("[^A-Za-z0-9.-]+", "_", source.stream_id)[:60]
    return f"{name}-{_digest(source.stream_id)}-{_digest(repr(parts))}"


def folders_of(directory: Path, stream_id: str) -> list[Path]:
    """The folders in `directory` with segments that `cut` has made of a stream's files."""
    return sorted(directory.glob(f"*-{_digest(stream_id)}-{'?' * 16}"))


def note_announcements(segments: Sequence[CutSegment], began: float) -> None:
    """Give each segment's file the time at which it is announced: it is deleted so many hours after that (`FVQ_INGEST_HOURS`).

    began: when the source starts to play, seconds since 1970. A source of two days is cut when it starts.
    """
    for segment in segments:
        due = began + segment.start + segment.duration
        os.utime(segment.path, (due, due))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def _listed_segments(listing: Path, folder: Path, seconds: float) -> list[CutSegment]:
    """The segments in ffmpeg's list, whose lines are `name,start,end`, as they will be in `folder`. Empty ones are left out.

    A segment in which the file's clock jumps, or goes on by more than an event may last, is taken to last `seconds`, and those
    after it follow it.
    """
    segments = []
    jumped = 0.0
    for line in listing.read_text().splitlines():
        name, start, end = line.split(",")
        listed = float(end) - float(start)
        if listed == 0:
            continue
        duration = listed if 0 < listed <= LONGEST_SEGMENT else seconds
        segments.append(CutSegment(folder / name, float(start) - jumped, duration))
        jumped += listed - duration
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
