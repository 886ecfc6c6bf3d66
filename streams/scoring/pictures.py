"""Which segments get a picture for the wall, and how it is sent: beside the scores, which never wait for it.

A segment's picture is made while it is sampled, so that has to be decided before it has a score. Where the score then says that
the stream changed and no picture was made, the segment is sampled once more while its file is still there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from scorer.spec import Preview, SampledClip
from streams import metrics
from streams.events import SegmentEvent, SegmentScore, may_be_stored
from streams.pictures import PictureKind, StreamPicture
from streams.remembered import remember

if TYPE_CHECKING:
    from scorer.sampling.preview import FacesInPreviews

log = logging.getLogger(__name__)
State = Literal["good", "bad", "black", "frozen"]
SampleAgain = Callable[["FacesInPreviews"], Awaitable[SampledClip]]

BLACK, FROZEN = 0.95, 0.95
"""Share of black pixels, of repeated frames, from which a segment is black or frozen: the default limits of the alerts."""

BAD, GOOD_AGAIN = 40.0, 48.0
"""Points under which a stream is bad, and from which it is good again: the default limits of the alerts."""

MOST_STREAMS = 100_000
MOST_UNDER_WAY = 64
"""Most pictures that wait for a broker's acknowledgement; further ones are left out."""

WARN_SECONDS = 60.0


@dataclass(frozen=True)
class PictureLimits:
    """seconds: at most one picture of a stream in this time, and one at each change. faces: whether they are shown."""

    seconds: float
    faces: FacesInPreviews = "show"


class PicturePlan:
    """Decides. Knows no broker and no clock: times are seconds of one clock, and are passed in."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._asked: OrderedDict[str, float] = OrderedDict()
        self._states: OrderedDict[tuple[str, str | None], State] = OrderedDict()

    def is_due(self, event: SegmentEvent, now: float) -> bool:
        """Whether this segment gets the stream's next picture; it is taken as made."""
        last = self._asked.get(event.stream_id)
        if not may_be_stored(event.labels) or (last is not None and now - last < self._seconds):
            return False
        remember(self._asked, event.stream_id, now, MOST_STREAMS)
        return True

    def has_changed(self, score: SegmentScore) -> bool:
        """Whether a scored segment is in another state than the one before it of the same rendition."""
        key = score.stream_id, score.rendition
        before = self._states.get(key)
        state = state_of(score, before)
        remember(self._states, key, state, MOST_STREAMS)
        return before is not None and state != before and may_be_stored(score.labels)


class Pictures:
    """The pictures of a worker's streams. send: takes each picture, and never waits and never raises."""

    def __init__(self, limits: PictureLimits, send: Callable[[StreamPicture], None]) -> None:
        self._faces = limits.faces
        self._plan = PicturePlan(limits.seconds)
        self._send = send
        self._making: asyncio.Task[None] | None = None

    def wanted(self, event: SegmentEvent) -> FacesInPreviews | None:
        """Whether a segment that is about to be sampled gets a picture, and how faces are shown in it."""
        return self._faces if self._plan.is_due(event, time.monotonic()) else None

    def take(self, score: SegmentScore, preview: Preview | None, again: SampleAgain) -> asyncio.Task[None] | None:
        """Take in a scored segment in its turn, and send its picture.

        Where the stream changed and there is none, make it, but only one at a time: when all streams change at once, the sampling
        children have segments to sample. Returns the task that makes it. again: samples the segment once more, with a picture.
        """
        changed = self._plan.has_changed(score)
        if preview is not None:
            self._show(score, preview, "changed" if changed else "routine")
        elif changed and self._making is not None and not self._making.done():
            metrics.PICTURES.labels("left-out").inc()
        elif changed:
            self._making = asyncio.create_task(self._make(score, again))
            return self._making
        return None

    def close(self) -> None:
        """Give up the picture that is being made."""
        if self._making is not None:
            self._making.cancel()

    async def _make(self, score: SegmentScore, again: SampleAgain) -> None:
        try:
            clip = await again(self._faces)
            assert clip.preview is not None
            self._show(score, clip.preview, "changed")
        except Exception as error:
            metrics.PICTURES.labels("failed").inc()
            log.warning("no picture of a change: %s", error, extra={"segment_id": score.segment_id})

    def _show(self, score: SegmentScore, preview: Preview, kind: PictureKind) -> None:
        assert score.score is not None
        self._send(
            StreamPicture(
                stream_id=score.stream_id,
                segment_id=score.segment_id,
                start=score.start,
                score=score.score,
                width=preview.width,
                height=preview.height,
                kind=kind,
                rendition=score.rendition,
                jpeg=preview.jpeg,
            )
        )


class PictureSender:
    """Sends pictures by the Faust app's producer, and counts what becomes of them. Used in the app's event loop.

    topic: the name of the pictures' topic.
    """

    def __init__(self, producer: Any, topic: str) -> None:
        self._producer, self._topic = producer, topic
        self._under_way: set[asyncio.Task[None]] = set()
        self._warned = -WARN_SECONDS

    def send(self, picture: StreamPicture) -> None:
        """Start to send a picture. It is left out where too many wait already: a newer one comes soon."""
        if len(self._under_way) >= MOST_UNDER_WAY:
            metrics.PICTURES.labels("left-out").inc()
            return
        task = asyncio.get_running_loop().create_task(self._deliver(picture))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _deliver(self, picture: StreamPicture) -> None:
        try:
            acknowledgement = await self._producer.send(
                self._topic, picture.key, picture.jpeg, partition=None, timestamp=None, headers=picture.headers()
            )
            await acknowledgement
        except Exception as error:
            metrics.PICTURES.labels("failed").inc()
            if time.monotonic() - self._warned >= WARN_SECONDS:
                self._warned = time.monotonic()
                log.warning("pictures cannot be sent to %s: %s: %s", self._topic, type(error).__name__, error)
        else:
            metrics.PICTURES.labels("sent").inc()


def state_of(score: SegmentScore, before: State | None) -> State:
    """The state of a scored segment. before: of the segment before it; between both limits of the score it stays."""
    assert score.score is not None
    if score.signals is not None and score.signals.black >= BLACK:
        return "black"
    if score.signals is not None and score.signals.freeze >= FROZEN:
        return "frozen"
    return "bad" if score.score < (GOOD_AGAIN if before == "bad" else BAD) else "good"
