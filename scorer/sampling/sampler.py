"""From a file to `SampledClip`s: one pass over the frames, keeping only what a clip needs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.errors import MediaError
from scorer.sampling.audio.facts import AudioFacts
from scorer.sampling.audio.measure import audio_facts
from scorer.sampling.bitstream.packets import bitstream_of
from scorer.sampling.clock import LONGEST_GAP, evened, gap_that_fits
from scorer.sampling.course import Course, Timed, keep, kept_course
from scorer.sampling.decode import Video, open_video
from scorer.sampling.detectors import process_detectors
from scorer.sampling.faces import aligned_crop
from scorer.sampling.facts import EPSILON, Timeline
from scorer.sampling.fragments import fragments
from scorer.sampling.images import Image, scaled_down
from scorer.sampling.pictures import Pictures
from scorer.sampling.places import evenly, places_of
from scorer.sampling.portrait import portrait_fragment
from scorer.sampling.preview import FacesInPreviews, PreviewMaker
from scorer.sampling.signals import ClipSignals
from scorer.sampling.statistics import (
    FIRST_WITH_STEADINESS,
    NAMES,
    SIDES,
    MeasuredFrame,
    clip_statistics,
    following_luma,
    measured_frame,
)
from scorer.sampling.temporal import LONGEST_HOLD, frozen_share, seconds_held, without_doubles
from scorer.spec import Faces, MediaInfo, SampledClip, SamplerSpec, Window

THUMBNAIL_HEIGHT = 72

SHORTEST = 0.25
"""A last window shorter than this share of the others is joined to the one before: it has too few frames to rate."""


def sample(
    path: Path,
    spec: SamplerSpec,
    window_seconds: float | None = None,
    start: float = 0.0,
    limit: int = 16,
    duration: float | None = None,
    preview: FacesInPreviews | None = None,
) -> list[tuple[Window, SampledClip]]:
    """The clips of a file from `start` seconds on, in one pass.

    window_seconds: length of the clips; None takes the rest of the file as one clip. limit: maximum number of clips. A
    last clip shorter than a quarter of the others is joined to the one before; windows in which no frame decodes are left
    out. Past the file's end the list is empty. duration: seconds that the whole file lasts, as its event states; where the
    stamps claim more, their longest gaps are taken for jumps of the clock, and a lone picture is shown for so long.
    preview: whether faces are shown or blurred in the clips' previews; None makes none. The same file and arguments give the
    same bytes.
    Raises `MediaError` where the file is not a video that can be read, or nothing of it can be decoded.
    """
    start = float(start)
    seconds = math.inf if window_seconds is None else window_seconds
    with ExitStack() as opened:
        video = opened.enter_context(open_video(path, references_only=spec.decoded == "references"))
        end = start + (limit + SHORTEST) * seconds
        timeline = video.timeline(start, end)
        if duration is not None and timeline.end is not None and start == 0:
            fitting = gap_that_fits(timeline.times, timeline.end, duration)
            if fitting is not None:
                video.longest_gap = min(video.longest_gap, fitting)
                timeline = video.timeline(start, end)
            elif len(timeline.times) == 1:
                timeline = timeline.lasting(duration)
        windows = plan(timeline, window_seconds, start, limit)
        heard = _heard(video, windows, is_whole=start == 0 and len(windows) == 1 and timeline.end is not None)
        # Taken before a new decoder is made: two would need memory for the pictures of both.
        with ExitStack() as went_on:
            course = kept_course(video.key, timeline.began, start, went_on)
            course, used = (video.course(start), opened) if course is None else (course, went_on)
            collectors = [
                _Collector(video, spec, window, timeline, preview, audio) for window, audio in zip(windows, heard, strict=True)
            ]
            filled = _filled(course, collectors)
            clips = [(collector.window, collector.finish()) for collector in filled if collector.small_lumas]
            if timeline.end is None or (collectors and collectors[-1].end < timeline.end - EPSILON):
                keep(video.key, course, used)
    if not clips and start == 0:
        raise MediaError("no picture of the video stream can be decoded; is the file damaged, or its first part missing?")
    return clips


def plan(timeline: Timeline, seconds: float | None, start: float, limit: int) -> list[Window]:
    """The windows of `seconds` each from `start` on, at most `limit`; see `sample`."""
    if timeline.end is None:
        # The file goes on after the last window.
        assert seconds is not None
        return [Window(start + i * seconds, seconds) for i in range(limit)]
    rest = timeline.end - start
    if rest <= 0:
        return []
    if seconds is None:
        return [Window(start, rest)]
    if start > 0 and rest < SHORTEST * seconds:
        return []  # the call for the window before has taken this rest
    count = max(1, int(rest / seconds + 1 - SHORTEST))
    edges = [*(start + i * seconds for i in range(count)), timeline.end]
    return [Window(a, b - a) for a, b in pairwise(edges)][:limit]


def _heard(video: Video, windows: list[Window], is_whole: bool) -> list[AudioFacts]:
    """What was heard in each window, of the packets that the timeline's reading gave."""
    facts = audio_facts(video.audio, windows, video.began, is_whole, has_jumps=video.running.jumped)
    video.audio.close()
    return facts


def _filled(course: Course, collectors: list[_Collector]) -> Iterator[_Collector]:
    """Give each frame to the collector of its window; yields each collector when its window is complete.

    Where one frame is shown for long (variable frame rates) and windows start meanwhile, it is their first frame too. Windows
    in a longer gap, in which no packet can be decoded, get no frame.
    """
    if not collectors:
        return
    waiting = iter(collectors)
    current = next(waiting)
    shown: Timed | None = None
    for timed in course.frames(current.window.start):
        while True:
            late = min(timed.seconds, current.end) - current.window.start
            is_held = not current.small_lumas and late > LONGEST_HOLD
            if is_held and shown is not None and timed.seconds - shown.seconds <= LONGEST_GAP:
                current.take(shown._replace(seconds=current.window.start))
            if timed.seconds < current.end - EPSILON:
                break
            yield current
            following = next(waiting, None)
            if following is None:
                return
            current = following
        if timed.seconds >= current.window.start - EPSILON:
            current.take(timed)
        shown = timed
    yield current


class _Collector:
    """Collects what one window's clip needs, frame by frame. Of the pictures it keeps only crops and the last frame."""

    def __init__(
        self,
        video: Video,
        spec: SamplerSpec,
        window: Window,
        timeline: Timeline,
        preview: FacesInPreviews | None,
        audio: AudioFacts,
    ) -> None:
        assert window.duration is not None
        self._audio = audio
        self._preview = PreviewMaker(preview) if preview is not None else None
        self.spec, self.window = spec, window
        self.end = window.start + window.duration
        self.small_lumas: list[Image] = []
        inside = (timeline.times >= window.start - EPSILON) & (timeline.times < self.end - EPSILON)
        self._bytes = int(timeline.sizes[inside].sum())
        self._packets = timeline.packets.inside(window.start - EPSILON, self.end - EPSILON)
        # The video may go on with another one.
        self.codec = next((codec for codec in self._packets.codecs if codec is not None), video.codec)
        self._coded_size = video.width, video.height
        self._listed = timeline.times[inside]
        self._places = places_of(spec)
        self._picture_times = _shown_at(self._places.moments, window, self._listed)
        self._clip_times = _shown_at(evenly(spec.clip_frames), window, self._listed)
        self._sampled = 0
        """How many of the pictures of `_places` have been taken."""
        self._sides = SIDES[spec.statistics_version]
        self._times: list[float] = []
        self._guessed: list[bool] = []
        self._frames: list[Image] = []
        self._clip: list[Image] = []
        self._portraits: list[tuple[Image, bool]] = []
        self._crops: list[tuple[Image, bool]] = []
        self._counts: list[int] = []
        """Faces in each searched frame."""
        self._shares: list[float] = []
        """Of each searched frame with a face: the share of the picture that the largest one's box covers."""
        self._signals = ClipSignals()
        self._measured: list[MeasuredFrame] = []
        self._size = (0, 0)
        self._pixels = 0
        self._last: Any = None
        self._pictures = Pictures(None, spec.thinning)

    def take(self, timed: Timed) -> None:
        """Take what is needed of the window's next frame."""
        time, frame = timed.seconds, timed.frame
        if self._last is None and self.window.start > 0:
            # The size may have changed since. Of a file's beginning a glance knows the header's alone, and is compared with this.
            self._coded_size = frame.width, frame.height
        self._last = frame
        self._times.append(time)
        self._guessed.append(timed.is_guessed)
        self._pictures.pixel_aspect = timed.pixel_aspect
        self.small_lumas.append(self._pictures.small_luma(frame))
        self._pixels += frame.width * frame.height
        due = sum(time >= wanted - EPSILON for wanted in self._picture_times[self._sampled :])
        picture = self._pictures.picture(frame) if due or self._needs_following() else None
        if picture is not None:
            if self._needs_following():
                self._measured[-1].following = following_luma(picture, self._sides)
            self._sample_picture(picture, due)
        self._add_to_clip(frame, sum(time >= wanted - EPSILON for wanted in self._clip_times[len(self._clip) :]))

    def finish(self) -> SampledClip:
        """The clip, from what has been collected; where the video ended early, its last frame is repeated."""
        spec = self.spec
        self._add_to_clip(self._last, spec.clip_frames - len(self._clip))
        missing = len(self._picture_times) - self._sampled
        if missing:
            self._sample_picture(self._pictures.picture(self._last), missing)
        duration = self.end - self.window.start
        times = np.array([*self._times, max(self.end, self._times[-1])])
        count, held = len(self.small_lumas), None
        if spec.decoded != "all":
            # Only of all pictures is it sure in which order they are shown.
            times = evened(times, self._guessed)
        small_lumas, times = without_doubles(np.stack(self.small_lumas), times)
        if spec.decoded != "all":
            count, held = max(count, len(self._listed)), seconds_held(times, self._listed)
        fps = count / duration
        packets = self._packets if spec.statistics_version >= FIRST_WITH_STEADINESS else None
        statistics = clip_statistics(self._measured, small_lumas, times, fps, held, packets)
        # The collectors of all windows live until the last one is full: a decoded frame of each would be held.
        self._last, self._pictures = None, Pictures(None)
        # The model's own number knows of the decoded frames alone, and is what the model was trained on.
        freeze = float(statistics[NAMES.index("freeze")]) if held is None else frozen_share(small_lumas, times, self._listed)
        width, height = self._size
        return SampledClip(
            frames=np.stack(self._frames),
            portrait=_stacked([image for image, _ in self._portraits], spec.portrait_size),
            portrait_mask=np.array([present for _, present in self._portraits], np.bool_),
            faces=_stacked([image for image, _ in self._crops], spec.face_size),
            faces_mask=np.array([present for _, present in self._crops], np.bool_),
            clip=_stacked(self._clip, spec.clip_size),
            statistics=statistics,
            signals=self._signals.finish(freeze),
            face_summary=Faces(
                int(np.median(self._counts)) if self._counts else 0, float(np.mean(self._shares)) if self._shares else 0.0
            ),
            info=MediaInfo(
                width=width,
                height=height,
                fps=fps,
                frames=count,
                duration=duration,
                codec=self.codec,
                bits_per_pixel=self._bytes * 8 / (self._pixels * count / len(self.small_lumas)),
            ),
            thumbnail=self._thumbnail,
            bitstream=bitstream_of(self._packets, self.codec, *self._coded_size) if self._packets.sizes else None,
            audio=self._audio,
            preview=self._preview.finish() if self._preview is not None else None,
        )

    def _needs_following(self) -> bool:
        """Whether the frame before was sampled, so that its statistics need this frame's luma."""
        return bool(self._measured) and self._measured[-1].following is None

    def _sample_picture(self, picture: Image, count: int) -> None:
        """Take from a picture all that the next `count` sampled ones need; in a short clip it stands for several of them."""
        if not count:
            return
        places, numbers = self._places, range(self._sampled, self._sampled + count)
        self._sampled += count
        is_searched = not places.searched.isdisjoint(numbers)
        # What is searched for a preview alone changes nothing that the model gets.
        found = process_detectors().faces.find(picture) if is_searched or self._preview is not None else []
        if self._preview is not None:
            self._preview.add_faces(found, picture)
        self._signals.add(picture, has_detail=not places.detailed.isdisjoint(numbers), times=count)
        faces = found if is_searched else []
        box = faces[0].box if faces else None
        for number in numbers:
            if number == len(places.moments) // 2:
                self._thumbnail = _thumbnail(picture)
                if self._preview is not None:
                    self._preview.take(picture)
            if number in places.cut:
                self._frames.append(fragments(picture, self.spec, len(self._frames)))
            if number in places.searched:
                self._counts.append(len(faces))
                # By this picture's size, which may change within a segment.
                self._shares += [face.area / (picture.shape[0] * picture.shape[1]) for face in faces[:1]]
            if number in places.measured:
                self._measured.append(measured_frame(picture, box, self._sides))
            for _ in range(places.portraits.count(number)):
                mask = process_detectors().person.mask(picture)
                self._portraits.append(portrait_fragment(picture, mask, box, self.spec.portrait_size))
            for _ in range(places.faces.count(number)):
                side = self.spec.face_size
                blank = np.zeros((side, side, 3), np.uint8)
                self._crops.append((aligned_crop(picture, faces[0], side) if faces else blank, bool(faces)))
        self._size = picture.shape[1], picture.shape[0]

    def _add_to_clip(self, frame: Any, count: int) -> None:
        """Append the frame `count` times to the low-resolution clip."""
        if count:
            self._clip += [self._pictures.square(frame, self.spec.clip_size)] * count


def _shown_at(shares: Sequence[float], window: Window, times: NDArray[np.float64]) -> list[float]:
    """Times of the frames that are shown at moments of the window, ascending. shares: the moments as shares of its duration.

    The moments are spread over time and not over frame numbers: at a variable rate each frame is shown for another time.
    """
    assert window.duration is not None
    moments = window.start + np.array(shares) * window.duration
    if not len(times):
        return moments.tolist()
    return times[np.maximum(np.searchsorted(times, moments + EPSILON, side="right") - 1, 0)].tolist()


def _stacked(images: list[Image], side: int) -> Image:
    return np.stack(images) if images else np.zeros((0, side, side, 3), np.uint8)


def _thumbnail(picture: Image) -> Image:
    height, width = picture.shape[:2]
    # Very wide pictures are squeezed to 4:1: a thumbnail is shown in a table.
    return scaled_down(picture, (max(1, min(4 * THUMBNAIL_HEIGHT, round(width * THUMBNAIL_HEIGHT / height))), THUMBNAIL_HEIGHT))
