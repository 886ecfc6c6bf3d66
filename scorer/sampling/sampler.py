"""From a file to `SampledClip`s: one pass over the frames, keeping only what a clip needs."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from scorer.errors import MediaError
from scorer.sampling.decode import Timeline, Video, open_video
from scorer.sampling.faces import Face, FaceFinder, aligned_crop
from scorer.sampling.portrait import PersonMatte, portrait_fragment
from scorer.sampling.statistics import LONGEST_HOLD, MeasuredFrame, clip_statistics, following_luma, measured_frame
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

EPSILON = 1e-4
"""Seconds by which times that should be equal may differ: containers round them to their clock."""

LONGEST_GAP = 10.0
"""Seconds without a frame after which the clock has jumped rather than the picture stood still."""

SHORTEST = 0.25
"""A last window shorter than this share of the others joins the one before: too few frames to rate by themselves."""


class Detectors:
    """The face detector and the person segmenter, loaded. `sample` has its own; others close theirs."""

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


@cache
def _detectors() -> Detectors:
    """This process's own: loading them takes longer than sampling a segment does."""
    detectors = Detectors()
    # MediaPipe raises at the interpreter's end where they are still open, and by the time of `atexit` the thread that
    # closes them is gone; these callbacks run before that.
    threading._register_atexit(detectors.close)  # type: ignore[attr-defined]
    return detectors


def warm_up() -> None:
    """Load the models of this process now rather than with the first frame."""
    _detectors()


def sample(
    path: Path, spec: SamplerSpec, window_seconds: float | None = None, start: float = 0.0, limit: int = 16
) -> list[tuple[Window, SampledClip]]:
    """The clips of a file from `start` seconds on, in one pass.

    window_seconds: length of the clips, None for all the rest of the file as one. limit: at most that many. A last clip
    shorter than a quarter of the others joins the one before; windows in which no frame decodes are left out. Past the
    end the list is empty. The same file and arguments give the same bytes. Raises `MediaError` where the file is not a
    video that can be read, or nothing of it can be decoded.
    """
    start = float(start)
    seconds = math.inf if window_seconds is None else window_seconds
    with open_video(path) as video:
        timeline = video.timeline(start, start + (limit + SHORTEST) * seconds)
        collectors = [_Collector(video.codec, spec, window, timeline) for window in _plan(timeline, window_seconds, start, limit)]
        clips = [(one.window, one.finish()) for one in _filled(video, collectors) if one.course]
    if not clips and start == 0:
        raise MediaError("no picture of the video stream can be decoded; is the file damaged, or its first part missing?")
    return clips


def _plan(timeline: Timeline, seconds: float | None, start: float, limit: int) -> list[Window]:
    if timeline.end is None:
        # The file goes on past all windows.
        assert seconds is not None
        return [Window(start + i * seconds, seconds) for i in range(limit)]
    rest = timeline.end - start
    if rest <= 0:
        return []
    if seconds is None:
        return [Window(start, rest)]
    if start > 0 and rest < SHORTEST * seconds:
        return []  # it has joined the window before
    count = max(1, int(rest / seconds + 1 - SHORTEST))
    edges = [*(start + i * seconds for i in range(count)), timeline.end]
    return [Window(a, b - a) for a, b in pairwise(edges)][:limit]


def _filled(video: Video, collectors: list[_Collector]) -> Iterator[_Collector]:
    """Feed the frames to the window that they belong to; yields each window when it is complete.

    Where a frame is on show for long (variable rates), the windows that begin meanwhile begin with it.
    """
    if not collectors:
        return
    waiting = iter(collectors)
    current = next(waiting)
    shown_time, shown = -math.inf, None
    for time, frame in video.frames(current.window.start):
        while True:
            late = min(time, current.end) - current.window.start
            if not current.course and late > LONGEST_HOLD and time - shown_time < LONGEST_GAP:
                current.take(current.window.start, shown)
            if time < current.end - EPSILON:
                break
            yield current
            following = next(waiting, None)
            if following is None:
                return
            current = following
        if time >= current.window.start - EPSILON:
            current.take(time, frame)
        shown_time, shown = time, frame
    yield current


class _Collector:
    """What one window needs, gathered while its frames pass by; of the pictures it keeps crops and the last frame only."""

    def __init__(self, codec: str, spec: SamplerSpec, window: Window, timeline: Timeline) -> None:
        assert window.duration is not None
        self.spec, self.window, self.codec = spec, window, codec
        self.end = window.start + window.duration
        self.course: list[Image] = []
        inside = (timeline.times >= window.start - EPSILON) & (timeline.times < self.end - EPSILON)
        self._bytes = int(timeline.sizes[inside].sum())
        self._frame_times = _shown_at(spec.frames, window, timeline.times[inside])
        self._clip_times = _shown_at(spec.clip_frames, window, timeline.times[inside])
        self._portrait_at = _spread(spec.portrait_frames, spec.frames)
        self._face_at = _spread(spec.face_frames, spec.frames)
        self._times: list[float] = []
        self._frames: list[Image] = []
        self._clip: list[Image] = []
        self._portraits: list[tuple[Image, bool]] = []
        self._crops: list[tuple[Image, bool]] = []
        self._faces: list[list[Face]] = []
        self._measured: list[MeasuredFrame] = []
        self._size = (0, 0)
        self._last: Any = None
        # Each keeps its scaler: setting one up for every frame takes longer than scaling.
        self._to_picture, self._to_small = VideoReformatter(), VideoReformatter()

    def take(self, time: float, frame: Any) -> None:
        """Look at the next frame of the window."""
        self._last = frame
        self._times.append(time)
        self.course.append(_small_grey(frame))
        due = sum(time >= wanted - EPSILON for wanted in self._frame_times[len(self._frames) :])
        picture = self._picture(frame) if due or self._follows() else None
        if picture is not None:
            if self._follows():
                self._measured[-1].following = following_luma(picture)
            self._look(picture, due)
        self._shrink(frame, sum(time >= wanted - EPSILON for wanted in self._clip_times[len(self._clip) :]))

    def _follows(self) -> bool:
        return bool(self._measured) and self._measured[-1].following is None

    def _look(self, picture: Image, times: int) -> None:
        """Take what is wanted of a sampled picture, which stands for so many sampled frames (of a short clip)."""
        if not times:
            return
        faces = _detectors().faces.find(picture)
        box = faces[0].box if faces else None
        for _ in range(times):
            i = len(self._frames)
            if i == self.spec.frames // 2:
                self._thumbnail = _thumbnail(picture)
            self._frames.append(fragments(picture, self.spec, i))
            self._faces.append(faces)
            self._measured.append(measured_frame(picture, box))
            for _ in range(self._portrait_at.count(i)):
                mask = _detectors().person.mask(picture)
                self._portraits.append(portrait_fragment(picture, mask, box, self.spec.portrait_size))
            for _ in range(self._face_at.count(i)):
                side = self.spec.face_size
                blank = np.zeros((side, side, 3), np.uint8)
                self._crops.append((aligned_crop(picture, faces[0], side) if faces else blank, bool(faces)))
        self._size = picture.shape[1], picture.shape[0]

    def _shrink(self, frame: Any, times: int) -> None:
        if times:
            side = self.spec.clip_size
            small = self._to_small.reformat(frame, side, side, "rgb24", interpolation="AREA", threads=1).to_ndarray()
            self._clip += [_turned(small, frame.rotation)] * times

    def _picture(self, frame: Any) -> Image:
        """The frame as a viewer sees it: (H, W, 3) RGB, turned as the file says."""
        return _turned(self._to_picture.reformat(frame, format="rgb24", threads=1).to_ndarray(), frame.rotation)

    def finish(self) -> SampledClip:
        """The clip, from what has been gathered; a stream that ended early repeats its last frame."""
        spec = self.spec
        self._shrink(self._last, spec.clip_frames - len(self._clip))
        if len(self._frames) < spec.frames:
            self._look(self._picture(self._last), spec.frames - len(self._frames))
        duration = self.end - self.window.start
        fps = len(self.course) / duration
        statistics, signals = clip_statistics(
            self._measured, np.stack(self.course), np.array([*self._times, max(self.end, self._times[-1])]), fps
        )
        width, height = self._size
        shares = [found[0].area / (height * width) for found in self._faces if found]
        return SampledClip(
            frames=np.stack(self._frames),
            portrait=_stacked([image for image, _ in self._portraits], spec.portrait_size),
            portrait_mask=np.array([present for _, present in self._portraits], np.bool_),
            faces=_stacked([image for image, _ in self._crops], spec.face_size),
            faces_mask=np.array([present for _, present in self._crops], np.bool_),
            clip=_stacked(self._clip, spec.clip_size),
            statistics=statistics,
            signals=signals,
            face_summary=Faces(int(np.median([len(found) for found in self._faces])), float(np.mean(shares)) if shares else 0.0),
            info=MediaInfo(
                width=width,
                height=height,
                fps=fps,
                frames=len(self.course),
                duration=duration,
                codec=self.codec,
                bits_per_pixel=self._bytes * 8 / (width * height * len(self.course)),
            ),
            thumbnail=self._thumbnail,
        )


def _shown_at(count: int, window: Window, times: NDArray[np.float64]) -> list[float]:
    """Times of the frames that are on show at `count` moments spread evenly over the window, ascending.

    By time, not by number: frames of a variable rate stand for as long as they are shown.
    """
    assert window.duration is not None
    moments = window.start + (np.arange(count) + 0.5) / count * window.duration
    if not len(times):
        return moments.tolist()
    return times[np.maximum(np.searchsorted(times, moments + EPSILON, side="right") - 1, 0)].tolist()


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


def _stacked(images: list[Image], side: int) -> Image:
    return np.stack(images) if images else np.zeros((0, side, side, 3), np.uint8)


def _thumbnail(picture: Image) -> Image:
    height, width = picture.shape[:2]
    # A panorama is squeezed: nobody reads a picture of that shape in a table.
    return _resized(picture, (max(1, min(4 * THUMBNAIL_HEIGHT, round(width * THUMBNAIL_HEIGHT / height))), THUMBNAIL_HEIGHT))


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


def _turned(image: Image, degrees: int) -> Image:
    quarter_turns = round(degrees / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image
