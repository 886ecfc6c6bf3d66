"""What a look at a segment costs, against ffmpeg's full decode of the same segment and against what no decoder can undercut.

All figures are CPU time, user and system: another program on the machine changes them by some per cent, and the rates of a wall
clock by a factor. The yardstick is `ffmpeg -threads 1 -f null` with its start; the least that anybody pays is to demux a segment,
and, for pictures, to decode them with FFmpeg's libraries in a process that runs already (PyAV).
"""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import imageio_ffmpeg

from scorer.load import load_engine
from scorer.sampling import SamplerPool
from scorer.sampling.glance import glance, headers_only
from scorer.sampling.sampler import sample
from scorer.spec import SPECIFICATIONS
from tests.support.cpu import cpu_seconds
from tests.support.media import ffmpeg, live_segments
from tests.support.processes import ROOT

DEMO = ROOT / "examples/face.mp4"
FPS = 25
WARM, BATCH = 2, 4
"""Segments that are sampled before any is counted; clips that are scored at once."""

QUICK_ROUNDS = 10
"""How often each segment is glanced at: a glance takes a few ms."""


@dataclass(frozen=True)
class Content:
    """Segments of one kind. gop: seconds between their keyframes, which is also their length."""

    name: str
    height: int
    gop: float
    segments: list[Path]


@dataclass(frozen=True)
class Look:
    """CPU milliseconds of a segment. decode: ffmpeg's full decode. demux, keyframe, pictures: reading the packets alone, with the
    keyframe decoded, with all pictures decoded. sample, score: the full look's two halves. headers, glance: a glance of packets
    alone, and with a keyframe."""

    content: Content
    decode: float
    demux: float
    keyframe: float
    pictures: float
    sample: float
    score: float
    headers: float
    glance: float

    @property
    def full(self) -> float:
        """The full look, ms."""
        return self.sample + self.score


def footage(folder: Path, height: int, gop: float = 2.0, seconds: float = 16.0) -> Content:
    """The demo's face over the whole picture, with grain and at a live stream's bit rate, cut into segments of one GOP."""
    width = height * 16 // 9
    fill = f"scale={width}:{height}:force_original_aspect_ratio=increase,crop={width}:{height},noise=alls=5:allf=t,fps={FPS}"
    frames = str(round(gop * FPS))
    encode = ["-c:v", "libx264", "-preset", "veryfast", "-b:v", str(round(2.8e6 * (height / 720) ** 1.5)), "-pix_fmt", "yuv420p"]
    keys = ["-g", frames, "-keyint_min", frames, "-sc_threshold", "0"]
    return _content(folder, f"{height}p", height, gop, seconds, fill, [*encode, *keys])


def demo(folder: Path, height: int = 720) -> Content:
    """The demo clip as it is, padded to 16:9: few bits, and a background that hardly moves."""
    size = f"scale=-2:{height},crop=min(iw\\,{height * 16 // 9}):{height},pad={height * 16 // 9}:{height}:-1:-1"
    encode = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-g", "50", "-keyint_min", "50"]
    return _content(folder, f"demo clip, {height}p", height, 2.0, 8.0, size, encode)


def _content(folder: Path, name: str, height: int, gop: float, seconds: float, picture: str, encode: Sequence[str]) -> Content:
    place = folder / f"{name}-{gop:g}".replace(" ", "-").replace(",", "")
    place.mkdir()
    clip = place / "clip.mp4"
    ffmpeg("-stream_loop", "9", "-i", DEMO, "-t", str(seconds + gop / 2), "-an", "-vf", picture, *encode, clip)
    return Content(name, height, gop, live_segments(clip, place, gop))


def yardstick(segments: Sequence[Path]) -> float:
    """CPU milliseconds of ffmpeg's full decode of a segment, its start included."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-threads", "1", "-i"]
    before = _children_seconds()
    for path in segments:
        subprocess.run([*command, str(path), "-f", "null", "-"], check=True)
    return (_children_seconds() - before) / len(segments) * 1000


def look_at(content: Content, rounds: int = 2) -> Look:
    """The costs of a kind of segment; each segment is looked at as many times. The yardstick: the mean of before and after."""
    segments = content.segments * rounds
    before = yardstick(segments)
    own = {
        name: _own_milliseconds(read, segments) for name, read in (("demux", _demux), ("keyframe", _keyframe), ("all", _decode))
    }
    sample, score = full_look(segments)
    glances = [_glance_milliseconds(read, content.segments * QUICK_ROUNDS) for read in (headers_only, glance)]
    after = yardstick(segments)
    return Look(content, (before + after) / 2, own["demux"], own["keyframe"], own["all"], sample, score, *glances)


def full_look(segments: Sequence[Path]) -> tuple[float, float]:
    """CPU milliseconds of a segment's full look: of the sampling child, and of the model in this process."""
    engine = load_engine(device="cpu")
    with SamplerPool(engine.spec, workers=1, timeout=120, memory_mb=2048) as pool:
        for path in segments[:WARM]:
            pool.submit(path).result()
        (child,) = pool.pids()
        before = cpu_seconds(child)
        clips = [pool.submit(path).result()[0][1] for path in segments]
        sample = cpu_seconds(child) - before
    engine.score(clips[:BATCH])
    started = time.process_time()
    for first in range(0, len(clips), BATCH):
        engine.score(clips[first : first + BATCH])
    return sample / len(segments) * 1000, (time.process_time() - started) / len(segments) * 1000


def _own_milliseconds(read: Callable[[Path], object], segments: Sequence[Path]) -> float:
    read(segments[0])
    started = time.process_time()
    for path in segments:
        read(path)
    return (time.process_time() - started) / len(segments) * 1000


def _glance_milliseconds(read: Callable[[Path], object], segments: Sequence[Path]) -> float:
    """Of a function that glances, as in a sampling child.

    A child has made full looks before. After one the C library keeps the memory of a freed picture, before the kernel takes it.
    """
    cv2.setNumThreads(1)
    sample(segments[0], SPECIFICATIONS["standard"])
    return _own_milliseconds(read, segments)


def _demux(path: Path) -> None:
    with av.open(str(path)) as container:
        for _ in container.demux(video=0):
            pass


def _keyframe(path: Path) -> None:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count, stream.codec_context.skip_frame = 1, "NONKEY"
        next(container.decode(stream))


def _decode(path: Path) -> None:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        for _ in container.decode(stream):
            pass


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
