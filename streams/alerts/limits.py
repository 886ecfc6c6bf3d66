"""The limits of each kind of alert: what the policy can say of a stream, with defaults, units and bounds."""

from __future__ import annotations

from typing import Self

from pydantic import ConfigDict, Field, PrivateAttr

from scorer.written import WrittenValues
from streams.events import Severity

_SEVERITY = "How urgent an alert of this kind is: `info`, `warning` or `critical`."


class Part(WrittenValues):
    """A group of settings of the policy. An unknown name is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Timing(Part):
    """How long something must last, in event time: a backlog is judged as it would have been live."""

    enabled: bool = Field(True, description="Whether this kind of alert is raised.")
    minimum: float = Field(5.0, ge=0, le=3600, description="Seconds that it must last before the alert fires.")
    clear: float = Field(6.0, ge=0, le=3600, description="Seconds that it must be gone before the alert resolves.")
    cool_down: float = Field(60.0, ge=0, le=86400, description="Seconds after an alert's end in which none of its kind fires.")
    severity: Severity = Field("warning", description=_SEVERITY)


class LowQuality(Timing):
    """The smoothed score is under a fixed limit, whatever is usual for the stream."""

    threshold: float = Field(40.0, ge=0, le=100, description="The smoothed score under which quality is low, points.")
    hysteresis: float = Field(
        8.0,
        ge=0,
        le=50,
        description="Points over the threshold that it takes to be good again; at most half of what is left to 100.",
    )
    minimum: float = Field(10.0, ge=0, le=3600, description="Seconds that it must last before the alert fires.")

    @property
    def good_from(self) -> float:
        """The smoothed score from which quality is good again, points: one that a stream can have."""
        return self.threshold + min(self.hysteresis, (100.0 - self.threshold) / 2)


class QualityDrop(Timing):
    """The score fell against the stream's own baseline (CUSUM)."""

    slack: float = Field(7.5, ge=0, le=50, description="Points under the baseline that are no drop; half of the drop to find.")
    limit: float = Field(12.0, gt=0, le=500, description="Points beyond the slack, summed over segments, that are a drop.")
    noise_slack: float = Field(
        1.5,
        ge=0,
        le=10,
        description="Or so many times the stream's noise (the standard deviation of its scores), if that is more.",
    )
    noise_limit: float = Field(6.0, ge=0, le=100, description="The same for the limit.")
    noise: float = Field(1800.0, gt=0, le=86400, description="Half-life of the noise, seconds.")
    minimum: float = Field(4.0, ge=0, le=3600, description="Seconds that it must last before the alert fires.")
    baseline: float = Field(600.0, gt=0, le=86400, description="Half-life of the baseline, seconds.")
    adapt: float = Field(1800.0, gt=0, le=86400, description="The same while the alert is open: a lasting drop becomes usual.")
    warm_up: float = Field(8.0, ge=0, le=3600, description="Seconds of scores that the baseline needs before drops are judged.")


class Share(Timing):
    """A share of a segment, 0-1, is too high."""

    threshold: float
    hysteresis: float

    @property
    def good_under(self) -> float:
        """The share under which a segment is good again: one that a stream can have."""
        return self.threshold - min(self.hysteresis, self.threshold / 2)


class Black(Share):
    """The picture is black."""

    threshold: float = Field(0.95, gt=0, le=1, description="Share of black pixels from which a segment is black.")
    hysteresis: float = Field(
        0.1, ge=0, le=1, description="How much less it must be to be a picture again; at most half of the threshold."
    )
    severity: Severity = Field("critical", description=_SEVERITY)


class Frozen(Share):
    """The picture does not move."""

    threshold: float = Field(0.95, gt=0, le=1, description="Share of repeated frames from which a segment is frozen.")
    hysteresis: float = Field(
        0.1, ge=0, le=1, description="How much less it must be to be moving again; at most half of the threshold."
    )
    severity: Severity = Field("critical", description=_SEVERITY)


class NoFace(Timing):
    """No face is in the picture: a slate, colour bars, a turned picture, or nobody is there."""

    minimum: float = Field(30.0, ge=0, le=3600, description="Seconds without a face after which the alert fires.")
    clear: float = Field(4.0, ge=0, le=3600, description="Seconds with a face that it takes for the alert to resolve.")
    severity: Severity = Field("info", description=_SEVERITY)
    judge_quality: bool = Field(
        False, description="Whether segments without a face raise `low-quality` and `quality-drop` like all others."
    )


class Silent(Share):
    """A stream that had sound has none: its audio track is silent, or gone."""

    threshold: float = Field(0.95, gt=0, le=1, description="Share of its time without sound from which a segment is silent.")
    hysteresis: float = Field(
        0.1, ge=0, le=1, description="How much less it must be to have sound again; at most half of the threshold."
    )
    minimum: float = Field(20.0, ge=0, le=3600, description="Seconds that it must last before the alert fires.")
    clear: float = Field(4.0, ge=0, le=3600, description="Seconds with sound that it takes for the alert to resolve.")
    warm_up: float = Field(10.0, ge=0, le=3600, description="Seconds of sound that a stream must have had before.")


class NoSegments(Part):
    """A stream that did not end on purpose sends no more segments."""

    enabled: bool = Field(True, description="Whether this kind of alert is raised.")
    after: float = Field(
        20.0,
        ge=2,
        le=86400,
        description="Seconds without a segment after which the alert fires; half of it after the next one was due, if later.",
    )
    cool_down: float = Field(60.0, ge=0, le=86400, description="Seconds after an alert's end in which none of its kind fires.")
    forget_after: float = Field(
        86400.0,
        ge=60,
        le=31 * 86400,
        description="Seconds after which a silent stream is gone for good: its alerts resolve. "
        "Counts as twice the time after which the alert fires where it is less.",
    )
    severity: Severity = Field("critical", description=_SEVERITY)

    def patience(self, duration: float) -> float:
        """Seconds without a segment after which a stream is silent. duration: of a whole segment of it, seconds.

        A segment comes when it is over: a stream whose segments last longer than `after` is without one for so long each time.
        """
        return max(self.after, duration + self.after / 2)

    def given_up_after(self, duration: float) -> float:
        """Seconds after which a silent stream is given up: `forget_after`, but not before its silence could be told.

        duration: as of `patience`.
        """
        return max(self.forget_after, 2 * self.patience(duration))


class Alerts(Part):
    """The limits of one stream."""

    smoothing: float = Field(2.0, ge=0, le=3600, description="Half-life of the smoothed score, seconds; 0 does not smooth.")
    low_quality: LowQuality = Field(default_factory=LowQuality)
    quality_drop: QualityDrop = Field(default_factory=QualityDrop)
    black: Black = Field(default_factory=Black)
    frozen: Frozen = Field(default_factory=Frozen)
    no_segments: NoSegments = Field(default_factory=NoSegments)
    no_face: NoFace = Field(default_factory=NoFace)
    silent: Silent = Field(default_factory=Silent)
    _in_maintenance: bool = PrivateAttr(False)

    @property
    def in_maintenance(self) -> bool:
        """Whether somebody is at work on the stream: then no alert fires."""
        return self._in_maintenance

    def for_maintenance(self) -> Self:
        """The same limits while somebody is at work on the stream."""
        quiet = self.model_copy()
        quiet._in_maintenance = True
        return quiet
