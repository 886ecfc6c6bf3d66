"""From a file to `SampledClip`s: one pass over the frames, keeping only what a clip needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from scorer.errors import MediaError
from scorer.sampling.decode import VideoFacts, frames, probe
from scorer.sampling.faces import FaceFinder, aligned_crop
from scorer.sampling.portrait import PersonMatte, portrait_fragment
from scorer.sampling.statistics import MeasuredFrame, clip_statistics
from scorer.spec import Faces, MediaInfo, SampledClip, SamplerSpec, Window

Image = NDArray[Any]
"""uint8 pictures; OpenCV's stubs promise no more than numbers."""
THUMBNAIL_HEIGHT = 72
COURSE_SIZE = (64, 36)
"""Size of the small grey picture of every frame, from which freezes and motion are read."""

EIGHT_BIT_LUMA = {
    "yuv420p",
    "yuvj420p",
    "yuv422p",
    "yuvj422p",
    "yuv444p",
    "yuvj444p",
    "nv12",
    "nv21",
    "yuv410p",
    "yuv411p",
    "yuva420p",
}
"""Pixel formats whose first plane is 8-bit luma."""

SHORTEST = 0.25
"""A last window shorter than this share of the others joins the one before: too few frames to rate by themselves."""


class Detectors:
    """The face detector and the person segmenter, loaded: loading them takes longer than a segment does."""

    def __init__(self) -> None:
        self.faces = FaceFinder()
        self.person = PersonMatte()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Free both: MediaPipe complains at the interpreter's end otherwise."""
        self.faces.close()
        self.person.close()


def sample(
    path: Path, spec: SamplerSpec, detectors: Detectors, window_seconds: float | None = None, start: float = 0.0, limit: int = 16
) -> list[tuple[Window, SampledClip]]:
    """The clips of a file from `start` seconds on, in one pass.

    window_seconds: length of the clips, None for all the rest of the file as one. limit: at most that many. A last clip
    shorter than a quarter of the others joins the one before. Past the end the list is empty. The same file and
    arguments give the same bytes. Raises `MediaError` where nothing can be decoded.
    """
    facts = probe(path)
    windows = _plan(facts, window_seconds, start, limit)
    if not windows:
        return []
    clips: list[tuple[Window, SampledClip]] = []
    collectors = [_Collector(facts, spec, window) for window in windows]
    for collector in _filled(path, collectors):
        if collector.course:
            clips.append((collector.window, collector.finish(detectors)))
    if not clips and start == 0:
        raise MediaError("no picture of the video stream can be decoded")
    return clips


def _plan(facts: VideoFacts, seconds: float | None, start: float, limit: int) -> list[Window]:
    end = facts.duration
    if start >= end:
        return []
    if seconds is None:
        return [Window(start, end - start)]
    count = max(1, int((end - start) / seconds + 1 - SHORTEST))
    edges = [start + i * seconds for i in range(count)] + [end]
    if start > 0 and end - start < SHORTEST * seconds:
        return []  # it has joined the window before
    return [Window(a, b - a) for a, b in pairwise(edges)][:limit]


def _filled(path: Path, collectors: list[_Collector]) -> Iterator[_Collector]:
    """Feed the frames to the window that they belong to; yields each window when it is complete."""
    waiting = iter(collectors)
    current = next(waiting)
    stream = frames(path, current.window.start)
    for time, frame in stream:
        while time >= current.end - 1e-4:
            yield current
            following = next(waiting, None)
            if following is None:
                stream.close()
                return
            current = following
        current.take(time, frame)
    yield current
    # Fewer frames than the packets promised: the windows that got none stay empty.
    yield from waiting


@dataclass
class _Wanted:
    """A frame that is sampled: the picture, and the frame after it."""

    image: Image
    following: Image | None = None


@dataclass
class _Collector:
    """What one window needs, gathered while its frames pass by; memory does not grow with the window's length."""

    facts: VideoFacts
    spec: SamplerSpec
    window: Window
    course: list[Image] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    _wanted: list[_Wanted] = field(default_factory=list)
    _clip: list[Image] = field(default_factory=list)
    _last: Any = None

    def __post_init__(self) -> None:
        duration = self.window.duration or 0.0
        self.end = self.window.start + duration
        self._frame_times = [self.window.start + (i + 0.5) / self.spec.frames * duration for i in range(self.spec.frames)]
        self._clip_times = [
            self.window.start + (i + 0.5) / self.spec.clip_frames * duration for i in range(self.spec.clip_frames)
        ]

    def take(self, time: float, frame: Any) -> None:
        """Look at the next frame. A sampled frame is the first at or after its time, so VFR is sampled by time."""
        self.times.append(time)
        self.course.append(_small_grey(frame))
        if self._wanted and self._wanted[-1].following is None:
            self._wanted[-1].following = _picture(frame)
        if len(self._clip) < len(self._clip_times) and time >= self._clip_times[len(self._clip)] - 1e-4:
            small = _small(frame, self.spec.clip_size)
            while len(self._clip) < len(self._clip_times) and time >= self._clip_times[len(self._clip)] - 1e-4:
                self._clip.append(small)
        due = len(self._wanted)
        if due < len(self._frame_times) and time >= self._frame_times[due] - 1e-4:
            picture = _picture(frame)
            while len(self._wanted) < len(self._frame_times) and time >= self._frame_times[len(self._wanted)] - 1e-4:
                self._wanted.append(_Wanted(picture))
        self._last = frame

    def finish(self, detectors: Detectors) -> SampledClip:
        """The clip, from what has been gathered; a stream that ended early repeats its last frame."""
        spec = self.spec
        while len(self._clip) < spec.clip_frames:
            self._clip.append(_small(self._last, spec.clip_size))
        while len(self._wanted) < spec.frames:
            self._wanted.append(_Wanted(_picture(self._last)))
        images = [one.image for one in self._wanted]
        faces = [detectors.faces.find(image) for image in images]
        portrait_at = _spread(spec.portrait_frames, spec.frames)
        face_at = _spread(spec.face_frames, spec.frames)
        portraits = [
            portrait_fragment(
                images[i], detectors.person.mask(images[i]), faces[i][0].box if faces[i] else None, spec.portrait_size
            )
            for i in portrait_at
        ]
        blank = np.zeros((spec.face_size, spec.face_size, 3), np.uint8)
        course = np.stack(self.course).astype(np.float32)
        duration = self.window.duration or 0.0
        fps = len(self.course) / duration if duration else 0.0
        measured = [
            MeasuredFrame(one.image, one.following, found[0].box if found else None)
            for one, found in zip(self._wanted, faces, strict=True)
        ]
        statistics, signals = clip_statistics(measured, course, fps)
        height, width = images[0].shape[:2]
        shares = [found[0].area / (height * width) for found in faces if found]
        inside = (self.facts.times >= self.window.start - 1e-4) & (self.facts.times < self.end - 1e-4)
        thumbnail_width = max(1, min(4 * THUMBNAIL_HEIGHT, round(width * THUMBNAIL_HEIGHT / height)))
        return SampledClip(
            frames=np.stack([fragments(image, spec, i) for i, image in enumerate(images)]),
            portrait=np.stack([image for image, _ in portraits]),
            portrait_mask=np.array([present for _, present in portraits]),
            faces=np.stack([aligned_crop(images[i], faces[i][0], spec.face_size) if faces[i] else blank for i in face_at]),
            faces_mask=np.array([bool(faces[i]) for i in face_at]),
            clip=np.stack(self._clip),
            statistics=statistics,
            signals=signals,
            face_summary=Faces(int(np.median([len(found) for found in faces])), float(np.mean(shares)) if shares else 0.0),
            info=MediaInfo(
                width=width,
                height=height,
                fps=fps,
                frames=len(self.course),
                duration=duration,
                codec=self.facts.codec,
                bits_per_pixel=float(self.facts.sizes[inside].sum() * 8 / (width * height * max(1, len(self.course)))),
            ),
            thumbnail=_resized(images[len(images) // 2], (thumbnail_width, THUMBNAIL_HEIGHT)),
        )


def fragments(image: Image, spec: SamplerSpec, index: int) -> Image:
    """(frame_size, frame_size, 3): a grid of native fragments, one of each cell of the picture.

    The place in the cell follows the R2 sequence (Roberts, 2018) in the frame's number, so that the frames of a clip
    look at different places; a picture smaller than its fragments is continued by reflection.
    """
    side = spec.frame_size // spec.grid
    height, width = image.shape[:2]
    share_x, share_y = (0.5 + index * 0.7548776662) % 1, (0.5 + index * 0.5698402910) % 1
    rows = []
    for row in range(spec.grid):
        tiles = []
        for column in range(spec.grid):
            top, bottom = height * row // spec.grid, height * (row + 1) // spec.grid
            left, right = width * column // spec.grid, width * (column + 1) // spec.grid
            y = top + round(max(0, bottom - top - side) * share_y)
            x = left + round(max(0, right - left - side) * share_x)
            y, x = min(y, max(0, height - side)), min(x, max(0, width - side))
            tile = image[y : y + side, x : x + side]
            below, beside = side - tile.shape[0], side - tile.shape[1]
            tiles.append(np.pad(tile, ((0, below), (0, beside), (0, 0)), mode="symmetric") if below or beside else tile)
        rows.append(np.concatenate(tiles, axis=1))
    return np.ascontiguousarray(np.concatenate(rows, axis=0))


def _spread(count: int, total: int) -> list[int]:
    """`count` of `total` places, evenly."""
    return [int((i + 0.5) * total / count) for i in range(count)]


def _picture(frame: Any) -> Image:
    """The frame as a viewer sees it: (H, W, 3) RGB, turned as the file says."""
    return _turned(frame.to_ndarray(format="rgb24"), frame.rotation)


def _small_grey(frame: Any) -> Image:
    if frame.format.name in EIGHT_BIT_LUMA:
        # Every frame passes here: reading the luma plane in place is ten times faster than a conversion.
        plane = frame.planes[0]
        luma = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]
    else:
        luma = frame.to_ndarray(format="gray")
    return _resized(luma, COURSE_SIZE)


def _resized(image: Image, size: tuple[int, int]) -> Image:
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _small(frame: Any, side: int) -> Image:
    return _turned(frame.reformat(width=side, height=side, format="rgb24", interpolation="AREA").to_ndarray(), frame.rotation)


def _turned(image: Image, degrees: int) -> Image:
    quarter_turns = round(degrees / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image
