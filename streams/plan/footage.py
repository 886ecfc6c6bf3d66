"""The media that costs are measured on: pieces of the user's own clips, or pictures that are made up here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from scorer.sampling import VideoFacts
from streams.errors import MediaError
from streams.media import ffmpeg
from streams.media.videos import check_file

SHORT, LONG = 2.0, 6.0
"""Seconds of the two pieces of each clip: their difference tells what a second of video costs."""

MADE_UP_HEIGHTS = (360, 720, 1080)
FRAMES_PER_SECOND = 25
CUT_SECONDS = 60.0


@dataclass(frozen=True)
class Piece:
    """A part of a clip, as a segment has it. seconds: its length. size: bytes."""

    path: Path
    height: int
    seconds: float
    size: int


def cut_pieces(clip: Path, folder: Path, prober: Callable[[Path], VideoFacts]) -> tuple[Piece, Piece]:
    """The first 2 s and the first 6 s of a clip, as they are encoded.

    prober: `scorer.sampling.probe`, in a child process where the file comes from outside. Raises `MediaError` where the clip
    cannot be read or is too short.
    """
    try:
        check_file(clip)
        facts = prober(clip)
    except MediaError as error:
        raise MediaError(f"{clip}: {error}", error.kind) from None
    if not 2 * SHORT <= facts.duration < math.inf:
        raise MediaError(f"{clip}: lasts {facts.duration:.1f} s; give a clip of at least {2 * SHORT:g} s")
    return _piece(clip, folder, SHORT, facts, prober), _piece(clip, folder, min(LONG, facts.duration), facts, prober)


def _piece(clip: Path, folder: Path, seconds: float, facts: VideoFacts, prober: Callable[[Path], VideoFacts]) -> Piece:
    path = folder / f"{clip.stem[:60]}-{facts.height}-{seconds:g}.mkv"
    output = ["-map", f"0:{facts.index}", "-c", "copy", "-t", str(seconds), str(path)]
    finished = ffmpeg.run(clip.resolve(), output, input_options=["-v", "error"], timeout=CUT_SECONDS, task=f"cutting {clip}")
    if finished.code != 0:
        raise MediaError(f"{clip}: no piece of {seconds:g} s can be cut: {finished.cause}")
    duration = prober(path).duration
    if duration <= 0:
        raise MediaError(f"{clip}: a piece of {seconds:g} s has no duration")
    return Piece(path, facts.height, duration, path.stat().st_size)


def make_up(folder: Path, heights: Sequence[int] = MADE_UP_HEIGHTS) -> list[Path]:
    """Clips of 6 s with a moving, grainy picture, H.264 at 25 frames per second: 2.8 Mbit/s at 720p, others in proportion.

    There is no face in them, so crops of faces and persons are not paid for: a clip of the user's own measures better.
    """
    clips = []
    for height in heights:
        path = folder / f"made-up-{height}.mkv"
        _encode(path, height)
        clips.append(path)
    return clips


def _encode(path: Path, height: int) -> None:
    width = height * 16 // 9 // 2 * 2
    grain = np.random.default_rng(0).normal(0, 6, (4, height, width, 1)).astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = round(2.8e6 * (height / 720) ** 1.5)
        stream.gop_size = 2 * FRAMES_PER_SECOND
        stream.time_base = Fraction(1, FRAMES_PER_SECOND)
        for number in range(round(LONG * FRAMES_PER_SECOND)):
            picture = np.clip(_picture(width, height, number) + grain[number % 4], 0, 255).astype(np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)


def _picture(width: int, height: int, number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """(height, width, 3) a head and shoulders of one colour that move before a slope of light."""
    picture = np.empty((height, width, 3), np.float32)
    picture[:] = np.linspace(60, 190, width, dtype=np.float32)[None, :, None]
    turn = 2 * np.pi * number / FRAMES_PER_SECOND / 3
    x, y = int(width * (0.5 + 0.05 * np.sin(turn))), int(height * (0.45 + 0.03 * np.cos(turn)))
    cv2.ellipse(picture, (x, int(height * 1.05)), (height // 3, height // 3), 0, 0, 360, (70, 60, 120), -1)
    cv2.ellipse(picture, (x, y), (height // 6, height // 4), 0, 0, 360, (210, 160, 130), -1)
    return picture
