"""The state of a stream's alerts: plain values that are stored as JSON on the topic `alert-state`.

Workers of different versions read the same topic during an update. So a field that was renamed keeps its stored name as
its alias, which is read and written: `cusum` is stored as `fallen`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated

from pydantic import Field, TypeAdapter

from streams.events import AlertCause, AlertKind, Severity, Signals

INITIAL_NOISE = 6.0
"""Standard deviation that a new stream's scores are assumed to have, points: more than most have, until it is known."""


SIGNALS = (*Signals.model_fields, "face")
"""The signals whose averages a state has, in this order: those of a score, and the share of the picture that the face covers.

Stored states depend on the order: a new signal goes to the end.
"""

Levels = tuple[float, ...]
"""A value of each of `SIGNALS`; workers of other versions may know fewer of them or more."""


KEPT_APART: tuple[AlertKind, ...] = ("no-face", "silent")
"""Kinds whose watch is a field of its own, which older workers drop: they would not read a state with these among `watches`."""


MODEL_BEFORE = "f941046aa0bf"
"""Version of the model that was shipped when states did not name their model."""


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """An alert that has fired and is not resolved. All but `cause` is from when it fired.

    threshold: the limit that was crossed. cause: as far as it is known by now.
    """

    started_at: datetime
    value: float
    baseline: float | None
    labels: dict[str, str]
    threshold: float | None = None
    severity: Severity | None = None
    cause: AlertCause | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """One kind of alert in one rendition.

    pending_since: start of the present bad stretch, or, while an alert is open, of the present good one. ended_at: end of
    the last alert, for the cool-down.
    """

    pending_since: Annotated[datetime | None, Field(alias="since")] = None
    open_alert: Annotated[OpenAlert | None, Field(alias="opened")] = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Sound:
    """What is known of a rendition's sound.

    heard: seconds of segments with sound, counted no further than anything depends on. usual: the usual loudness of those, LUFS.
    silence: share of the latest segment's time without sound, 0-1. lost: the latest segment has no audio track.
    """

    heard: float = 0.0
    usual: float | None = None
    silence: float = 0.0
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """The longest stretch up to now in which segments came as fast as they play.

    start: of the first of them. received: when its score was written, by the broker's record.
    """

    start: datetime
    received: datetime


@dataclass(frozen=True, slots=True)
class UsualBefore:
    """What was usual of the scores by the model that scored a rendition before the present one. left: start of the first segment
    by the present one. The others are as in `RenditionState`."""

    model: str
    left: datetime
    baseline: float
    baseline_seconds: float
    variance: float


@dataclass(frozen=True, slots=True)
class RenditionState:
    """The state of one rendition of a stream.

    sequence: number of the latest segment. numbered_since: start of the first segment since the packager last restarted its
    numbers. until: latest end of a segment. smoothed: the smoothed score, points. baseline: the usual score, points.
    baseline_seconds: seconds of scores in the baseline; counted no further than anything depends on. variance: of the scores
    around the baseline, points squared. cusum: the cumulative sum of what the scores are below the baseline, points.
    cusum_since: start of the segment in which the sum left zero. ahead: seconds by which the packager's clock is ahead, taken off
    all times here, less than 0 where it was set back; None where they were not held against the broker's clock. began_ahead: all
    segments so far came from a clock that was ahead. before: the state before the latest segment, where that one may be a stray
    (`streams.alerts.clock`). behind: the last segments, where they came too late: repeated ones, those of a rendition behind the
    others, or of a clock set back; None where the latest one did not. live: the last segments that were judged.
    received: when the score of the latest segment was written, by the broker. durations: seconds of the last three segments.
    recent, usual: averages of the signals over the last seconds and over the time of the baseline; empty without any.
    usual_seconds: seconds of scores in `usual`, counted like `baseline_seconds`. missing: share of the last seconds without a
    segment, 0-1. no_face, silent: the watches of these kinds, outside of `watches`, where older workers would not read the state.
    glanced: whether the latest segment had only a glance. sound: of the segments whose sound was measured. signals_version: by
    which definition the averages' signals are measured. model: version of the model that gave the scores in the averages.
    usual_before: of the model before it, for a while.
    """

    sequence: int
    numbered_since: Annotated[datetime, Field(alias="begun")]
    until: datetime
    smoothed: Annotated[float | None, Field(alias="smooth")] = None
    baseline: float | None = None
    baseline_seconds: Annotated[float, Field(alias="seen")] = 0.0
    variance: float = INITIAL_NOISE**2
    cusum: Annotated[float, Field(alias="fallen")] = 0.0
    cusum_since: Annotated[datetime | None, Field(alias="fallen_since")] = None
    watches: dict[AlertKind, Watch] = field(default_factory=dict)
    ahead: float | None = None
    began_ahead: bool = False
    before: RenditionState | None = None
    recent: Levels = ()
    usual: Levels = ()
    usual_seconds: float = 0.0
    missing: float = 0.0
    no_face: Watch = field(default_factory=Watch)
    glanced: bool = False
    silent: Watch = field(default_factory=Watch)
    sound: Sound = field(default_factory=Sound)
    signals_version: int = 1
    model: str = MODEL_BEFORE
    behind: Run | None = None
    received: datetime | None = None
    live: Run | None = None
    durations: tuple[float, ...] = ()
    usual_before: UsualBefore | None = None

    @property
    def duration(self) -> float:
        """Seconds of a whole segment, as the next one may be: some are cut short, as where a recorder begins anew.

        0 where an older worker has stored the state.
        """
        return max(self.durations, default=0.0)

    def every_watch(self) -> dict[AlertKind, Watch]:
        """The watches of all kinds."""
        return self.watches | {"no-face": self.no_face, "silent": self.silent}

    def watching(self, watches: dict[AlertKind, Watch]) -> RenditionState:
        """The state with these watches; those that are missing start anew."""
        others = {kind: watch for kind, watch in watches.items() if kind not in KEPT_APART}
        no_face, silent = watches.get("no-face", Watch()), watches.get("silent", Watch())
        return replace(self, watches=others, no_face=no_face, silent=silent)

    def without_drop(self) -> RenditionState:
        """The state with nothing summed of a drop: an old one must not count towards the next, which would have its start and its
        id."""
        return replace(self, cusum=0.0, cusum_since=None)

    def interrupted(self) -> RenditionState:
        """The state after a time of which nobody knows what was in it: bad and good stretches before it are not continued."""
        watches = {kind: replace(watch, pending_since=None) for kind, watch in self.every_watch().items()}
        return replace(self.watching(watches).without_drop(), smoothed=None, recent=(), missing=0.0)


@dataclass(frozen=True, slots=True)
class StreamState:
    """The state of one stream.

    renditions: by name, '' for segments that name none. until: latest end of a segment. segment_id, labels: of the latest
    segment. ended: the stream ended on purpose. silence: the open alert of kind no-segments. silence_started_at,
    silence_ended_at: start of the last such alert, and the end of the last one that is over. received: the latest time at which a
    segment's score was written, by the broker's record.
    """

    stream_id: str
    renditions: Annotated[dict[str, RenditionState], Field(alias="courses")] = field(default_factory=dict)
    until: datetime | None = None
    segment_id: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    ended: bool = False
    silence: OpenAlert | None = None
    silence_started_at: Annotated[datetime | None, Field(alias="judged")] = None
    silence_ended_at: Annotated[datetime | None, Field(alias="back")] = None
    received: datetime | None = None

    @property
    def duration(self) -> float:
        """As of the rendition with the latest segment; 0 without any."""
        latest = max(self.renditions.values(), key=lambda rendition: rendition.until, default=None)
        return latest.duration if latest is not None else 0.0

    def with_rendition(self, name: str, rendition: RenditionState) -> StreamState:
        """The state with this state of one rendition in it."""
        return replace(self, renditions=self.renditions | {name: rendition})


_JSON = TypeAdapter(StreamState)


def to_json(state: StreamState) -> bytes:
    """The state as JSON; fields that have their default are left out."""
    return _JSON.dump_json(state, exclude_defaults=True, by_alias=True)


def from_json(data: bytes) -> StreamState:
    """The state of its JSON. Raises `ValueError` where the bytes are no state."""
    return _JSON.validate_json(data)
