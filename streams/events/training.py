"""The training queue, and the updates of models."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from streams.events.base import Event, Name, Uri, UtcTime
from streams.events.scores import ModelRef
from streams.events.segments import words_of

HarvestReason = Literal["alert", "low-score", "uncertain", "disagreement", "operator"]


class OperatorRating(Event):
    """What a person who watches the wall said of a clip, before they saw the model's score. No vote of the rating page."""

    level: int = Field(ge=1, le=5, description="1 bad to 5 excellent, ITU-T P.910.")
    by: str = Field(min_length=1, max_length=128, description="Who.")
    at: UtcTime = Field(description="When, UTC.")


class TrainingExample(Event):
    """A stored clip that the model finds hard, to be rated by people. Key: `stream_id/example_id`.

    A message without a value takes the example back.
    """

    example_id: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the clip's bytes, in hexadecimal digits.")
    clip_uri: Uri = Field(description="The clip in the clip store, with its initialisation segment: a file of its own.")
    size: int = Field(gt=0, description="Bytes of the clip.")
    reason: HarvestReason = Field(description="Why the clip was chosen: the first reason that holds.")
    score: float = Field(ge=0, le=100, description="The model's score, points.")
    uncertainty: float = Field(ge=0, description="Expected absolute error of the score, points.")
    model: ModelRef = Field(description="Which model made the score.")
    fingerprint: str = Field(pattern=r"^[0-9a-f]{16}$", description="Perceptual hash of the picture; see `SegmentScore`.")
    stream_id: Name = Field(description=words_of("stream_id"))
    segment_id: Name = Field(description=words_of("segment_id"))
    sequence: int = Field(description=words_of("sequence"))
    start: UtcTime = Field(description=words_of("start"))
    duration: float = Field(description=words_of("duration"))
    rendition: str | None = Field(default=None, description=words_of("rendition"))
    labels: dict[str, str] = Field(default_factory=dict, description=words_of("labels"))
    queued_at: UtcTime = Field(description="When the clip was chosen, UTC; retention counts from this time.")

    operator: OperatorRating | None = Field(default=None, description="A rating that was given on the wall.")

    @property
    def key(self) -> bytes:
        """The message key: the same clip in two streams is two examples, so that one stream can be deleted."""
        return f"{self.stream_id}/{self.example_id}".encode()


class StreamDeletion(Event):
    """All examples of a stream that were queued before are deleted for good. On the training queue; key: `stream_id/`."""

    stream_id: Name = Field(description="The channel whose examples are deleted.")
    deleted_at: UtcTime = Field(description="Examples that were queued before this time are deleted, UTC.")
    forgotten: bool | None = Field(
        default=None, description="True where all of the channel is deleted, also its scores; without it, its clips and votes."
    )

    @property
    def key(self) -> bytes:
        """The message key, which no example has."""
        return f"{self.stream_id}/".encode()


class ModelUpdate(Event):
    """Another version of a model became current in the registry; scorers that serve the model load it. Key: `name`."""

    name: Name = Field(description="The model, as `FVQ_MODEL` names it.")
    version: str | None = Field(default=None, description="The current version; without it, the shipped one.")
    before: str | None = Field(default=None, description="The version that was current before.")
    time: UtcTime = Field(description="When the version was promoted or rolled back, UTC.")
