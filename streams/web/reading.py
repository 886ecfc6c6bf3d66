"""Messages of `segment-scores` as far as the wall needs them.

A whole `SegmentScore` costs six times as much to parse, and the wall reads every score there is.
"""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from streams.errors import EventError
from streams.events import MAX_EVENT_BYTES, YEARS

SIGNALS = ("blur", "blockiness", "noise", "black", "freeze", "luma", "contrast", "face")
"""The signals whose course is kept: fields of `Signals`, and the face's share of the picture."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class _Signals(_Part):
    black: float
    freeze: float
    blur: float
    blockiness: float
    noise: float
    luma: float
    contrast: float


class _Faces(_Part):
    count: int
    area: float


class _Model(_Part):
    name: str
    version: str


class _Opinion(_Part):
    score: float


class _Timing(_Part):
    lag_s: float | None = None


class ScoreReading(_Part):
    """One score; the fields have the names and meanings of `SegmentScore`."""

    stream_id: str = Field(min_length=1, max_length=256)
    segment_id: str = Field(max_length=256)
    sequence: int = 0
    start: AwareDatetime
    duration: float = Field(gt=0, le=3600)
    status: Literal["scored", "skipped"]
    rendition: str | None = Field(default=None, max_length=256)
    labels: dict[str, str] = Field(default_factory=dict, max_length=32)
    ended: bool = False
    score: float | None = Field(default=None, ge=0, le=100)
    uncertainty: float | None = Field(default=None, ge=0)
    signals: _Signals | None = None
    faces: _Faces | None = None
    model: _Model | None = None
    shallow: _Opinion | None = None
    tier: str | None = None
    timing: _Timing = _Timing()

    @property
    def small_score(self) -> float | None:
        """The small model's score, the one measure that all segments of a stream have; see `SegmentScore.small_score`."""
        return self.score if self.shallow is None else self.shallow.score

    def signal_values(self) -> list[float]:
        """The values of `SIGNALS` in that order, NaN for what was not measured."""
        nan = float("nan")
        measured = self.signals
        values = [nan] * 7 if measured is None else [getattr(measured, name) for name in SIGNALS[:7]]
        return [*values, nan if self.faces is None else self.faces.area]


def read_score(data: bytes | None) -> ScoreReading:
    """The score of a message's value. Raises `EventError` where it has not the shape of one."""
    if not data or len(data) > MAX_EVENT_BYTES:
        raise EventError("", f"the score has {len(data or b'')} bytes, wanted are 1 to {MAX_EVENT_BYTES}")
    try:
        score = ScoreReading.model_validate_json(data)
    except ValidationError as error:
        raise EventError.of(error) from None
    if score.start.year not in YEARS:
        raise EventError("start", f"the year {score.start.year} is none of a segment's")
    return score
