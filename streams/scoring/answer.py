"""A segment's answer: from the scores of its clip to the event on the topic, or to the dead letter."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from scorer.sampling.audio.facts import rounded
from scorer.spec import SIGNALS_VERSION, ClipScore, SampledClip, SamplerSpec
from streams.errors import MediaError, ModelError
from streams.events import (
    AudioSummary,
    BitstreamSummary,
    FaceSummary,
    ModelRef,
    SecondOpinion,
    SegmentEvent,
    SegmentScore,
    Signals,
)
from streams.letter import DeadLetter, Message, dead_letter
from streams.media.fetch import LocalMedia
from streams.media.fingerprint import fingerprint
from streams.scoring.cascade import Look, with_look
from streams.scoring.glances import FullLook, Rest

if TYPE_CHECKING:
    from scorer.sampling.audio.facts import AudioFacts
    from scorer.sampling.bitstream.facts import Bitstream

log = logging.getLogger(__name__)
Measured = TypeVar("Measured", AudioSummary, BitstreamSummary, FaceSummary, Signals)


@dataclass(frozen=True)
class Answered:
    """A message and its answer. look: the large model's, under way: until it is over `answer` is the small model's."""

    message: Message
    answer: SegmentScore | DeadLetter
    look: Look | None = None


@dataclass
class Sampled:
    """A segment that waits for the scorer.

    spec: by which its clip was sampled. media: its file, which the pipeline keeps until the segment is answered, so that
    `sample_again` needs no second fetch. timing: milliseconds by stage. look: the full look that it gets, if there are glances.
    """

    message: Message
    event: SegmentEvent
    clip: SampledClip
    spec: SamplerSpec
    media: LocalMedia
    timing: dict[str, float] = field(default_factory=dict)
    look: FullLook | None = None


@dataclass(frozen=True)
class Glanced:
    """A segment that had a glance, and waits for the score of the full look that it rests on.

    media: its file, kept until the segment is answered: that score may ask for a full look.
    """

    message: Message
    event: SegmentEvent
    rest: Rest
    media: LocalMedia
    timing: dict[str, float]


Result = Answered | Sampled | Glanced
"""What becomes of a message before the scorer."""


def lag(event: SegmentEvent | SegmentScore) -> float:
    """Seconds since the segment ended, in event time."""
    return round(datetime.now(UTC).timestamp() - event.start.timestamp() - event.duration, 3)


async def final_answers(answers: Sequence[Answered]) -> list[Answered]:
    """The answers with their looks, for which it waits, and with their lags as they are then: each has waited for all looks."""
    final = [await _looked_at(answered) for answered in answers]
    return [Answered(answered.message, _with_lag(answer)) for answered, answer in zip(answers, final, strict=True)]


async def _looked_at(answered: Answered) -> SegmentScore | DeadLetter:
    if answered.look is None or not isinstance(answered.answer, SegmentScore):
        return answered.answer
    return await with_look(answered.answer, answered.look)


def _with_lag(answer: SegmentScore | DeadLetter) -> SegmentScore | DeadLetter:
    if not isinstance(answer, SegmentScore):
        return answer
    return answer.model_copy(update={"timing": answer.timing | {"lag_s": lag(answer)}})


def internal(message: Message, error: Exception, segment_id: str) -> DeadLetter:
    """A bug of this program must not stop the stream: the segment is kept as a dead letter, the trace is in the log."""
    log.error("segment failed", exc_info=error, extra={"segment_id": segment_id})
    return dead_letter(message, kind="internal", reason=f"{type(error).__name__}: {error}", segment_id=segment_id)


def answer_of(segment: Sampled, score: ClipScore | Exception, second: ClipScore | None) -> Answered:
    """A segment with its answer: its score, or why it has none. second: the second model's score, where there is one."""
    segment_id = segment.event.segment_id
    if isinstance(score, ModelError | MediaError):
        kind = score.kind if isinstance(score, MediaError) else "model"
        return Answered(segment.message, dead_letter(segment.message, kind=kind, reason=score.reason, segment_id=segment_id))
    if isinstance(score, Exception):
        return Answered(segment.message, internal(segment.message, score, segment_id))
    try:
        return Answered(segment.message, _scored(segment, score, second))
    except Exception as error:
        return Answered(segment.message, internal(segment.message, error, segment_id))


def _scored(segment: Sampled, score: ClipScore, second: ClipScore | None) -> SegmentScore:
    return SegmentScore(
        **SegmentScore.identity(segment.event),
        status="scored",
        tier="full",
        tier_reason=segment.look.reason if segment.look is not None else None,
        score=score.score,
        level=score.level,
        level_probs=score.level_probs,
        uncertainty=score.uncertainty,
        faces=_in_range(FaceSummary, vars(segment.clip.face_summary), segment.event.segment_id),
        signals=_in_range(Signals, segment.clip.signals, segment.event.segment_id),
        signals_version=SIGNALS_VERSION,
        bitstream=bitstream_of(segment.clip.bitstream, segment.event.segment_id),
        audio=audio_of(segment.clip.audio, segment.event.segment_id),
        model=_model(score),
        fallback=score.fallback,
        second=SecondOpinion(score=second.score, model=_model(second)) if second is not None else None,
        fingerprint=fingerprint(segment.clip.thumbnail),
        timing=segment.timing | {"lag_s": lag(segment.event)},
    )


def rested_answer(segment: Glanced, full: SegmentScore, drift: float) -> SegmentScore:
    """The answer of a segment that is as it was at its last full look, whose score it has.

    full: that look's answer. drift: what the two segments' own scores may differ, points.
    """
    assert full.uncertainty is not None
    assert full.signals is not None
    glance = segment.rest.glance
    seen = {"black": glance.black} if glance.picture is not None else {}
    return SegmentScore(
        **SegmentScore.identity(segment.event),
        status="scored",
        tier="glance",
        rests_on=full.segment_id,
        score=full.score,
        level=full.level,
        level_probs=full.level_probs,
        uncertainty=round(math.hypot(full.uncertainty, drift), 3),
        faces=full.faces,
        signals=full.signals.model_copy(update=seen),
        signals_version=full.signals_version,
        bitstream=bitstream_of(glance.bitstream, segment.event.segment_id),
        audio=audio_of(glance.audio, segment.event.segment_id),
        model=full.model,
        fallback=full.fallback,
        timing=segment.timing | {"lag_s": lag(segment.event)},
    )


def bitstream_of(bitstream: Bitstream | None, segment_id: str) -> BitstreamSummary | None:
    """What a score tells of a segment's packets; None where nothing is known of them."""
    if bitstream is None:
        return None
    return _in_range(BitstreamSummary, {name: getattr(bitstream, name) for name in BitstreamSummary.model_fields}, segment_id)


def audio_of(audio: AudioFacts | None, segment_id: str) -> AudioSummary | None:
    """What a score tells of a segment's sound; None where nobody listened."""
    return None if audio is None else _in_range(AudioSummary, rounded(audio), segment_id)


def _in_range(kind: type[Measured], values: dict[str, Any], segment_id: str) -> Measured:
    """The values as the event takes them. One out of range is a bug of ours: it is logged, and the segment keeps its score."""
    try:
        return kind(**values)
    except ValidationError as error:
        # The nearest value in the range; 0 for what is no finite number.
        nearest = {str(problem["loc"][0]): next(iter(problem.get("ctx", {}).values()), 0) for problem in error.errors()}
        wrong = {name: values[name] for name in nearest}
        log.error("this is a bug, please report it: values out of range: %s", wrong, extra={"segment_id": segment_id})
        return kind(**values | nearest)


def _model(score: ClipScore) -> ModelRef:
    return ModelRef(name=score.model.name, version=score.model.version)
