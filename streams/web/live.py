"""The live state: every stream as it is now, made from the topics' messages. No client, no clock: times are given to it.

It belongs to one thread. Each method takes one message; `changes` gives what has changed since it was last called.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from streams.alerts.detector import open_alerts
from streams.alerts.state import StreamState
from streams.events import AlertAcknowledgement, ModelUpdate, QualityAlert, may_be_stored
from streams.web.courses import Courses
from streams.web.maintenance import Works
from streams.web.pictures import Picture, Pictures
from streams.web.pulse import Pulse
from streams.web.reading import ScoreReading
from streams.web.rendition import (
    BACK_SECONDS,
    BEHIND_SECONDS,
    Rendition,
    is_before_end,
    smooth,
    take_state,
    take_values,
    takes,
)
from streams.web.stream import Row, Stream, is_acknowledged, row_of, turns_stale

MOST_STREAMS = 20_000
"""Streams that are known; the one that was silent for longest is forgotten first."""

MOST_RENDITIONS = 32

MOST_ALERTS = 20_000
"""Alerts, and acknowledgements, that are known; the oldest that is over is forgotten first."""

FORGET_SECONDS = 86400.0
"""After this silence a stream is forgotten, as the alert agent does."""

ORPHAN_SECONDS = 2 * FORGET_SECONDS
"""An acknowledgement so old, of a stream that is not known any more, is of no alert that could still fire."""

SWEEP_SECONDS = 60.0
"""Between two looks for pictures and renditions that are too old."""

NO_PICTURES = Pictures()

LOW = 40.0
DROP = 15.0
"""A picture is a bad one where the score is under LOW, or so far under the usual one, points; or while an alert fires for its
rendition or for the whole stream."""


@dataclass
class Changes:
    """What changed: ids of streams that have another row, of streams that are gone (and perhaps there again), and of alerts."""

    streams: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    alerts: list[str] = field(default_factory=list)


class Live:
    """The fleet.

    streams: by id. alerts: by id, those that are over too, oldest first. acks: acknowledgements by alert id. watched: for each
    stream whose whole scores somebody wants, those that came; who wants them takes them out. works: the policy's maintenance.
    """

    def __init__(self, picture_seconds: float = FORGET_SECONDS) -> None:
        self._picture_seconds, self._swept = picture_seconds, -math.inf
        self.streams: dict[str, Stream] = {}
        self.alerts: OrderedDict[str, QualityAlert] = OrderedDict()
        self.acks: dict[str, AlertAcknowledgement] = {}
        self.courses = Courses()
        self.pulse = Pulse()
        self.works = Works()
        self.watched: dict[str, list[bytes]] = {}
        self._ticked = -math.inf
        self._changes = Changes()

    def changes(self) -> Changes:
        """What changed since the last call."""
        changes, self._changes = self._changes, Changes()
        return changes

    def row(self, stream: Stream, now: float) -> Row:
        """A stream's row; it is made anew where the stream has changed."""
        if stream.row is None:
            stream.row = row_of(stream, self.acks, now, self.works.until(stream.labels))
        return stream.row

    def rows(self, now: float) -> Iterator[Row]:
        """The rows of all streams, in no order."""
        return (self.row(stream, now) for stream in self.streams.values())

    def add_score(self, score: ScoreReading, data: bytes, received: float) -> bool:
        """Take a score; False for one that is not newer than the rendition's last.

        data: its bytes. received: when it was written, seconds since 1970.
        """
        start = score.start.timestamp()
        stream = self._stream(score.stream_id)
        name = score.rendition or ""
        rendition = stream.renditions.get(name)
        if rendition is None:
            rendition = self._rendition(stream, name)
        elif not takes(rendition, score, received, stream.judged):
            if score.ended and score.segment_id == rendition.segment_id:
                # The packager learned of the end too late, and announced the last segment once more.
                stream.ended = rendition.ended = True
                self._touch(stream)
            return False
        take_values(rendition, score, start, received)
        if score.status == "scored" and score.small_score is not None:
            smooth(rendition, score.small_score, score.duration, start, not stream.knows_usual)
        stream.labels = score.labels
        stream.ended = score.ended or any(is_before_end(rendition, start) for rendition in stream.renditions.values())
        if not may_be_stored(score.labels):
            stream.pictures = NO_PICTURES  # of the time before it had the label
        rendition.last = data
        if (watched := self.watched.get(stream.id)) is not None:
            watched.append(data)
        self.courses.add(rendition.row, start, math.nan if score.score is None else score.score, score.signal_values())
        self.pulse.count(received, score.status == "skipped")
        self._touch(stream)
        return True

    def add_state(self, stream_id: str, state: StreamState | None, first: bool = False) -> None:
        """Take the alert agent's state of a stream; None where it has forgotten the stream.

        first: at the start, before any score: its labels are taken too. The first state of a stream brings its open alerts; later
        `quality-alerts` tells them.
        """
        if state is None:
            self._forget(stream_id)
            return
        stream = self._stream(stream_id)
        is_new, stream.knows_usual = not stream.knows_usual, True
        if is_new and state.received is not None:
            stream.judged = state.received.timestamp()
        for name, told in state.renditions.items():
            rendition = stream.renditions.get(name) or self._rendition(stream, name)
            take_state(rendition, told, state)
        if first:
            stream.labels, stream.ended = state.labels, state.ended
        if is_new:
            for alert in open_alerts(state):
                if alert.alert_id not in self.alerts:
                    self.add_alert(alert)
        self._touch(stream)

    def add_alert(self, alert: QualityAlert) -> None:
        """Take an alert that fires or is over; a repeated one changes nothing."""
        known = self.alerts.get(alert.alert_id)
        if known == alert or (known is not None and known.state == "resolved" and alert.state == "firing"):
            return
        stream = self.streams.get(alert.stream_id)
        if stream is None and alert.state == "firing":
            # `fvq forget` left it on its topic, and nobody ends it. Of a stream that is not forgotten, the first state brings it.
            return
        self.alerts[alert.alert_id] = alert
        if stream is not None:
            if alert.state == "firing":
                stream.alerts[alert.alert_id] = alert
            else:
                stream.alerts.pop(alert.alert_id, None)
            self._touch(stream)
        self._changes.alerts.append(alert.alert_id)
        if len(self.alerts) > MOST_ALERTS:
            over = next((id for id, alert in self.alerts.items() if alert.state == "resolved"), next(iter(self.alerts)))
            del self.alerts[over]

    def set_ack(self, alert_id: str, ack: AlertAcknowledgement | None) -> None:
        """Take an acknowledgement; None where it was taken back."""
        if self.acks.get(alert_id) == ack:
            return
        if ack is None:
            self.acks.pop(alert_id, None)
        else:
            self.acks[alert_id] = ack
            if len(self.acks) > MOST_ALERTS:
                del self.acks[next(iter(self.acks))]
        self._changes.alerts.append(alert_id)
        alert = self.alerts.get(alert_id)
        if alert is not None and (stream := self.streams.get(alert.stream_id)) is not None:
            self._touch(stream)

    def add_update(self, update: ModelUpdate) -> None:
        """Take a model's change."""
        self.pulse.note_update(update)

    def add_picture(self, stream_id: str, picture: Picture | None) -> None:
        """Take a stream's picture; None where the stream's pictures were deleted."""
        if picture is None:
            if stream_id in self.streams:
                self.streams[stream_id].pictures = NO_PICTURES
            return
        stream = self._stream(stream_id)
        if not may_be_stored(stream.labels):
            return
        last = stream.pictures.last
        known = stream.renditions.get(last.rendition or "") if last is not None else None
        # A last picture that is later than its rendition's last segment is of before a clock was set back, or strayed.
        latest = known.until + BACK_SECONDS if known is not None else math.inf
        stream.pictures = stream.pictures.with_picture(picture, _is_good(stream, picture), latest)

    def tick(self, now: float) -> None:
        """Let time pass, once a second: scores grow old, acknowledgements end, maintenance begins and ends, silent
        streams and old pictures are forgotten.
        """
        if now - self._swept >= SWEEP_SECONDS:
            self._swept = now
            for stream in self.streams.values():
                stream.pictures = stream.pictures.since(now - self._picture_seconds)
                self._forget_renditions(stream, now)
        for stream in list(self.streams.values()):
            # Without a state the alert agent does not know the stream any more: nobody ends its alerts.
            if now - stream.received > FORGET_SECONDS and not (stream.alerts and stream.knows_usual):
                self._forget(stream.id)
            elif stream.row is not None and turns_stale(stream, stream.row, now):
                self._touch(stream)
        self._tell_ended_acks(now)
        for work in self.works.look(now):
            for stream in self.streams.values():
                if work.concerns(stream.labels):
                    self._touch(stream)
        self._ticked = now
        self.pulse.note_median(now, self.median(now))

    def _tell_ended_acks(self, now: float) -> None:
        """The alerts whose acknowledgement has ended since the last tick have changed, and so have their streams."""
        for alert_id, ack in self.acks.items():
            if ack.until is not None and self._ticked < ack.until.timestamp() <= now:
                self._changes.alerts.append(alert_id)
                if (stream := self.streams.get(ack.stream_id)) is not None:
                    self._touch(stream)

    def median(self, now: float) -> float | None:
        """The median of the smoothed scores of all streams whose score is of now, points; None without any."""
        scores = [
            row.smoothed
            for row in self.rows(now)
            if row.smoothed is not None and row.state not in ("stale", "ended", "no-segments", "unknown")
        ]
        return float(np.median(scores)) if scores else None

    def firing(self) -> list[QualityAlert]:
        """The alerts that fire, in no order."""
        return [alert for stream in self.streams.values() for alert in stream.alerts.values()]

    def acknowledged(self, alert_id: str, now: float) -> bool:
        """Whether an acknowledgement of this alert holds now."""
        return is_acknowledged(self.acks.get(alert_id), now)

    def orphaned_acks(self, now: float) -> list[str]:
        """The alerts whose acknowledgements no worker takes off the topic, because it does not know their streams any more."""
        if len(self.streams) >= MOST_STREAMS:
            return []  # a stream may be forgotten here alone
        return [
            alert_id
            for alert_id, ack in self.acks.items()
            if ack.stream_id not in self.streams and now - ack.at.timestamp() > ORPHAN_SECONDS
        ]

    def _touch(self, stream: Stream) -> None:
        stream.row = None
        self._changes.streams.add(stream.id)

    def _stream(self, stream_id: str) -> Stream:
        stream = self.streams.get(stream_id)
        if stream is None:
            if len(self.streams) >= MOST_STREAMS:
                self._forget(min(self.streams.values(), key=lambda known: known.received).id)
            stream = self.streams[stream_id] = Stream(stream_id)
        return stream

    def _rendition(self, stream: Stream, name: str) -> Rendition:
        if len(stream.renditions) >= MOST_RENDITIONS:
            oldest = min(stream.renditions.values(), key=lambda rendition: rendition.received)
            self.courses.free(stream.renditions.pop(oldest.name).row)
        rendition = stream.renditions[name] = Rendition(name, self.courses.take())
        return rendition

    def _forget_renditions(self, stream: Stream, now: float) -> None:
        """Forget the renditions that were taken off the ladder; the last one goes with its stream."""
        over = [known for known in stream.renditions.values() if now - known.received > FORGET_SECONDS]
        if not over or len(over) == len(stream.renditions):
            return
        for rendition in over:
            self.courses.free(stream.renditions.pop(rendition.name).row)
        self._touch(stream)

    def _forget(self, stream_id: str) -> None:
        if (stream := self.streams.pop(stream_id, None)) is None:
            return
        for rendition in stream.renditions.values():
            self.courses.free(rendition.row)
        for alert_id in stream.alerts:
            self.alerts.pop(alert_id, None)
        self._changes.streams.discard(stream_id)
        self._changes.gone.add(stream_id)


def _is_good(stream: Stream, picture: Picture) -> bool | None:
    """Whether a stream is good at a picture's segment; None where the picture is good and another rendition is not."""
    rendition = stream.renditions.get(picture.rendition or "")
    firing = [alert.rendition for alert in stream.alerts.values()]
    if not _is_fine(picture.score, rendition) or None in firing or picture.rendition in firing:
        return False
    others = (known for known in stream.renditions.values() if known is not rendition)
    # Only within a bad stretch: a good picture of the moment in which another one turns bad is the one before that.
    is_bad = stream.pictures.last_bad is not None and any(
        other.until + BEHIND_SECONDS > picture.start and _is_bad(other) for other in others
    )
    return None if firing or is_bad else True


def _is_bad(rendition: Rendition) -> bool:
    """Whether a rendition's last scored segment was bad: a skipped one says nothing, and nor does a rendition without a score."""
    score = rendition.smoothed if rendition.score is None else rendition.score
    return score is not None and not _is_fine(score, rendition)


def _is_fine(score: float | None, rendition: Rendition | None) -> bool:
    usual = rendition.usual if rendition is not None else None
    return score is not None and score >= LOW and (usual is None or score >= usual - DROP)
