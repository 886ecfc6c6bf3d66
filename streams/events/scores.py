"""Scores: the answers on `segment-scores`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from streams.events.base import Event, UtcTime
from streams.events.segments import SegmentEvent, SegmentKey, words_of

Level = Literal["bad", "poor", "fair", "good", "excellent"]


class FaceSummary(Event):
    """Faces in a segment."""

    count: int = Field(ge=0, description="Median number of faces over the sampled frames.")
    area: float = Field(ge=0, le=1, description="Share of the picture under the largest face's box, 0-1.")


class Signals(Event):
    """Technical measurements of a segment, for people and for alerts; the same for all models and sizes of the picture."""

    black: float = Field(ge=0, le=1, description="Share of black pixels, 0-1, the mean over the segment's time.")
    freeze: float = Field(ge=0, le=1, description="Share of the time in which the picture stands still, 0-1.")
    blur: float = Field(
        ge=0, le=1, description="Share of the contrast of fine detail that edges have lost, 0 sharp to 1; scale of 360 lines."
    )
    blockiness: float = Field(ge=0, description="Strength of the coding grid, 0 none, relative to the mean step between pixels.")
    noise: float = Field(ge=0, description="Standard deviation of noise in flat parts, 8-bit levels, at a scale of 360 lines.")
    luma: float = Field(ge=0, le=255, description="Mean luma of the picture, 8-bit levels.")
    contrast: float = Field(ge=0, description="Standard deviation of the picture's luma, 8-bit levels.")


class BitstreamSummary(Event):
    """What the packets of a segment's video say; nothing of it is decoded."""

    codec: str = Field(description="FFmpeg's name of the codec, e.g. h264.")
    width: int = Field(ge=0, description="Pixels, as they are coded.")
    height: int = Field(ge=0, description="Pixels, as they are coded.")
    fps: float = Field(ge=0, description="Pictures a second.")
    bitrate: float = Field(ge=0, description="Bit/s of the video track.")
    qp_mean: float | None = Field(
        default=None, description="Mean quantiser of the slices, 0-51 (H.264, HEVC); a higher one leaves less of the picture."
    )


class AudioSummary(Event):
    """A segment's sound: its first audio track. What is not known is not set; without a track only `present` is."""

    present: bool = Field(description="Whether there is an audio track with something in it.")
    codec: str | None = Field(default=None, description="FFmpeg's name, e.g. aac.")
    sample_rate: int | None = Field(default=None, ge=0, description="Hz.")
    channels: int | None = Field(default=None, ge=0, description="Number of channels.")
    loudness: float | None = Field(
        default=None,
        description="Integrated loudness after ITU-R BS.1770 (EBU R 128), LUFS; at least -70. Not in a glance.",
    )
    peak: float | None = Field(default=None, description="The largest sample, dBFS; at least -120. Not in a glance.")
    silent: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of the time in which no channel is over -60 dBFS, or without sound, 0-1. Of a glance: the share of "
        "a few spots, where more than half of them are heard.",
    )
    clipped: float | None = Field(
        default=None, ge=0, le=1, description="Share of the samples at full scale in runs of three or more, 0-1. Not in a glance."
    )
    offset_ms: float | None = Field(
        default=None, description="From the first picture to the first sound by their stamps, ms; below 0 the sound is first."
    )


class ModelRef(Event):
    """Which model made a score."""

    name: str = Field(description="As `FVQ_MODEL` names it, without its version.")
    version: str = Field(description="Of the registry, or the first digits of a shipped model's hash.")


class SecondOpinion(Event):
    """Another model's score of the same segment."""

    score: float = Field(ge=0, le=100, description="Points.")
    model: ModelRef = Field(description="Which model made it.")
    uncertainty: float | None = Field(default=None, ge=0, description="Expected absolute error of this score, points.")


Tier = Literal["glance", "full", "deep"]
"""Which look a segment got: a `glance` found it as it was, `full` is the small model's, `deep` the large model's after it."""

TierReason = Literal["control", "alert", "changing", "low", "uncertain"]
"""Why a segment was looked at by the large model."""

FullReason = Literal[
    "start", "gap", "model", "format", "due", "changed", "black", "frozen", "no-picture", "alert", "uncertain", "again",
    "repeat", "unread", "unanswered",
]  # fmt: skip
"""Why a segment got a full look where most get a glance (docs/tiers.md)."""


class SegmentScore(Event):
    """The answer to one `SegmentEvent`. Key: `stream_id`."""

    stream_id: str = Field(description=words_of("stream_id"))
    segment_id: str = Field(description=words_of("segment_id"))
    sequence: int = Field(description=words_of("sequence"))
    uri: str = Field(description=words_of("uri"))
    init_uri: str | None = Field(default=None, description=words_of("init_uri"))
    byte_range: str | None = Field(default=None, description=words_of("byte_range"))
    init_byte_range: str | None = Field(default=None, description=words_of("init_byte_range"))
    key: SegmentKey | None = Field(default=None, description=words_of("key"))
    init_key: SegmentKey | None = Field(default=None, description=words_of("init_key"))
    start: UtcTime = Field(description=words_of("start"))
    duration: float = Field(description=words_of("duration"))
    rendition: str | None = Field(default=None, description=words_of("rendition"))
    labels: dict[str, str] = Field(default_factory=dict, description=words_of("labels"))
    ended: bool = Field(default=False, description=words_of("ended"))
    status: Literal["scored", "skipped"] = Field(description="Whether there is a score; a skipped segment has only `reason`.")
    reason: str | None = Field(default=None, description="Why a segment was skipped.")
    score: float | None = Field(default=None, ge=0, le=100, description="Quality on the MOS scale, 0-100.")
    level: Level | None = Field(default=None, description="The model's word for the quality: the likeliest of the five.")
    level_probs: dict[Level, float] | None = Field(default=None, description="Probability of each level; sums to 1.")
    uncertainty: float | None = Field(default=None, ge=0, description="Expected absolute error of the score, points.")
    faces: FaceSummary | None = Field(default=None, description="Faces in the segment; not set if it was skipped.")
    signals: Signals | None = Field(default=None, description="What was measured of the picture; not set if it was skipped.")
    signals_version: int | None = Field(
        default=None, description="How the signals are defined: values of two versions cannot be compared. Not set: version 1."
    )
    bitstream: BitstreamSummary | None = Field(
        default=None, description="What the video's packets say; not set where they were not read."
    )
    audio: AudioSummary | None = Field(default=None, description="The sound; not set where it was not looked at.")
    model: ModelRef | None = Field(default=None, description="Which model made the score; not set if it was skipped.")
    fallback: bool = Field(default=False, description="True where `FVQ_SCORER_FALLBACK` answered, because no scorer did.")
    second: SecondOpinion | None = Field(default=None, description="The second model's score, if a second model is set.")
    tier: Tier | None = Field(
        default=None,
        description="What the score comes from: full is the small model, deep the large one, a glance found the segment as that "
        "of `rests_on` and has its score. Not set if skipped.",
    )
    tier_reason: TierReason | FullReason | None = Field(
        default=None,
        description="Why the large model was asked, for a deep score; with glances, why the small one, for a full one.",
    )
    rests_on: str | None = Field(
        default=None,
        description="For a glance: the segment whose full look it rests on. Score, level, faces and signals are that one's, but "
        "`black`, where a keyframe was decoded; `uncertainty` is larger by what unchanged segments differ. `bitstream` and "
        "`audio` are the segment's own.",
    )
    shallow: SecondOpinion | None = Field(default=None, description="The small model's score, where the score is a deep one.")
    fingerprint: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{16}$",
        description="Perceptual hash (64 bits) of the middle picture: similar pictures differ in few bits.",
    )
    timing: dict[str, float] = Field(default_factory=dict, description="Milliseconds per stage, and lag_s behind event time.")

    @classmethod
    def identity(cls, event: SegmentEvent) -> dict[str, object]:
        """The fields that a score copies from its segment."""
        return {name: getattr(event, name) for name in SegmentEvent.model_fields}

    @property
    def small_score(self) -> float | None:
        """The small model's score, points, also where the large one's replaced it; None for a skipped segment.

        It is the one measure that all segments of a stream have. Only these can be compared over time: the two models differ by
        an offset, and which of them answered depends on the load.
        """
        return self.score if self.shallow is None else self.shallow.score

    @property
    def small_model(self) -> ModelRef | None:
        """The model that gave `small_score`."""
        return self.model if self.shallow is None else self.shallow.model
