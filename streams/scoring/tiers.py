"""Which look a segment gets: a glance (packets, and a keyframe where they moved) or a full look by the small model. Pure.

A stream's state has the numbers of the segment that last had a full look. A segment that is near them gets that look's score.
What the large model looks at besides is planned by `deep_plan.py`. No clock, no model, no Kafka here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from streams.events import FullReason, SegmentEvent, SegmentScore
from streams.scoring.distance import HEADER_NAMES, FloatArray, Spread, damage, distance, first_spread, values_of

if TYPE_CHECKING:
    from scorer.sampling.bitstream.facts import Bitstream
    from scorer.sampling.glance import Glance

BLACK_HINT = 0.85
"""Share of black pixels of a keyframe from which a segment may be black: less than the alert's limit."""

FROZEN_HINT = 2.0
"""A segment whose pictures between keyframes are smaller by so many powers of two may be frozen. Its keyframe is as before."""

SLOWER = 0.7
"""A segment with less than this part of the frame rate is another format: pictures are missing, which no keyframe shows."""

GAP = 0.5
"""A segment that starts so many durations after the end of the one before, or before it, does not follow it."""

OTHER_BYTES = HEADER_NAMES.index("other_bytes")

Step = Literal["headers", "keyframe", "glance", "full"]
"""What to do next: read the packets, decode a keyframe as well, let the last full look stand, or look fully."""


@dataclass(frozen=True)
class TierLimits:
    """When a segment gets a full look.

    distance, damage: from which a segment has changed, all in all or in the way of a known damage. headers: the distance from
    which a keyframe is looked at too. seen: segments from one keyframe that is looked at to the next at most. due: segments of a
    stream from one full look to the next at most. differs: points by which a full look's score must differ from the one before
    to be looked at once more. uncertain: a score with a higher uncertainty is not rested on, points. drift: what an unchanged
    segment's own score differs from that of its full look, points, as a standard deviation.
    """

    distance: float = 1.8
    damage: float = 3.0
    headers: float = 1.4
    seen: int = 3
    due: int = 120
    differs: float = 7.5
    uncertain: float = 20.0
    drift: float = 4.0


@dataclass(frozen=True)
class Format:
    """What cannot differ between two segments that are compared."""

    codec: str
    width: int
    height: int

    @classmethod
    def of(cls, bitstream: Bitstream) -> Format:
        """The format of a segment."""
        return cls(bitstream.codec, bitstream.width, bitstream.height)


@dataclass(frozen=True, slots=True)
class StreamTier:
    """What is remembered of one rendition of a stream.

    sequence, until: number and end of its latest segment, the end in seconds since 1970. format, fps, reference: of the segment
    that last had a full look. glances: segments since then. unseen: segments since the last keyframe that was looked at. asks:
    what that look's score asks for, None where it may be rested on. model: that made it. spread: what is usual for the stream.
    """

    sequence: int
    until: float
    format: Format
    fps: float
    reference: FloatArray
    spread: Spread
    model: str
    glances: int = 0
    unseen: int = 0
    asks: FullReason | None = None


@dataclass(frozen=True)
class Facts:
    """What is known of a segment so far.

    model: that scores now. glance: None before its packets are read. tried: whether its keyframe was asked for, also in vain.
    """

    segment: SegmentEvent
    model: str
    glance: Glance | None = None
    tried: bool = False


@dataclass(frozen=True)
class Plan:
    """The next step for a segment. reason: of a full look."""

    step: Step
    reason: FullReason | None = None


def plan(state: StreamTier | None, facts: Facts, limits: TierLimits) -> Plan:
    """What to do next with a segment. Call it again with the glance that it asks for: the third answer, at the latest, is final.

    state: of the segment's rendition; None where it has had no full look.
    """
    if state is None:
        return Plan("full", "start")
    if (reason := _reason_before(state, facts, limits)) is not None:
        return Plan("full", reason)
    must_see = state.unseen + 1 >= limits.seen
    if facts.glance is None:
        return Plan("keyframe" if must_see else "headers")
    if (reason := _reason_of_format(state, facts.glance)) is not None:
        return Plan("full", reason)
    differences = values_of(facts.glance) - state.reference
    far = distance(differences, state.spread)
    moved = far >= limits.headers
    can_be_seen = facts.glance.bitstream.keyframes > 0 and not facts.tried
    if can_be_seen and (moved or must_see):
        return Plan("keyframe")
    if facts.glance.picture is None:
        changed = moved
    else:
        changed = far >= limits.distance or damage(differences, state.spread) >= limits.damage
    return Plan("full", "changed") if changed else Plan("glance")


def _reason_before(state: StreamTier, facts: Facts, limits: TierLimits) -> FullReason | None:
    """Why a segment needs a full look, whatever is in it."""
    if not follows(state, facts.segment):
        return "gap"
    if facts.model != state.model:
        return "model"
    if state.asks is not None:
        return state.asks
    return "due" if state.glances + 1 >= limits.due else None


def _reason_of_format(state: StreamTier, glance: Glance) -> FullReason | None:
    """Why a glance cannot be compared with the last full look, or must not be because it hides what matters."""
    bitstream = glance.bitstream
    if Format.of(bitstream) != state.format or bitstream.fps < SLOWER * state.fps:
        return "format"
    if glance.black >= BLACK_HINT:
        return "black"
    smaller = state.reference[OTHER_BYTES] - values_of(glance)[OTHER_BYTES]
    return "frozen" if smaller > FROZEN_HINT else None


def follows(state: StreamTier, segment: SegmentEvent) -> bool:
    """Whether a segment is the next one of its rendition."""
    gap = segment.start.timestamp() - state.until
    return segment.sequence == state.sequence + 1 and abs(gap) <= GAP * segment.duration


def is_repeat(state: StreamTier, segment: SegmentEvent) -> bool:
    """Whether a segment was seen already, or comes late: it says nothing about where the stream is now."""
    return segment.sequence <= state.sequence and segment.start.timestamp() < state.until


def with_full_look(state: StreamTier | None, facts: Facts) -> StreamTier:
    """The state when a full look at a segment is planned, whose score is not known yet. facts: with its glance."""
    assert facts.glance is not None
    bitstream = facts.glance.bitstream
    own_format = Format.of(bitstream)
    spread = state.spread if state is not None and state.format == own_format else first_spread()
    values, end = values_of(facts.glance), _end(facts.segment)
    return StreamTier(facts.segment.sequence, end, own_format, bitstream.fps, values, spread, facts.model)


def with_glance(state: StreamTier, facts: Facts) -> StreamTier:
    """The state after a segment that the last full look stands for."""
    assert facts.glance is not None
    spread = state.spread.with_differences(values_of(facts.glance) - state.reference)
    return replace(
        state,
        sequence=facts.segment.sequence,
        until=_end(facts.segment),
        glances=state.glances + 1,
        unseen=0 if facts.tried and facts.glance.bitstream.keyframes > 0 else state.unseen + 1,
        spread=spread,
    )


def with_skipped(state: StreamTier, segment: SegmentEvent) -> StreamTier:
    """The state after a segment that nobody looked at because the workers cannot keep up.

    That is no gap: full looks at all streams would keep the workers from ever catching up.
    """
    if not follows(state, segment):
        return state
    return replace(state, sequence=segment.sequence, until=_end(segment))


def differences_to(state: StreamTier | None, glance: Glance) -> FloatArray | None:
    """The differences of a segment to the last full look; None where they say nothing."""
    if state is None or Format.of(glance.bitstream) != state.format:
        return None
    return values_of(glance) - state.reference


def with_score(
    state: StreamTier, asks: FullReason | None, moved: float | None, differences: FloatArray | None, limits: TierLimits
) -> StreamTier:
    """The state when the last full look's score is known.

    asks: what it asks of the next segments. moved, differences: of this full look to the one before, the score's in points. Where
    the score is as it was, such differences are usual for this stream.
    """
    if moved is not None and abs(moved) <= limits.differs and differences is not None:
        state = replace(state, spread=state.spread.with_differences(differences))
    return replace(state, asks=asks)


def asked_by(
    score: SegmentScore, before: float | None, is_undecided: bool, has_picture: bool, limits: TierLimits
) -> FullReason | None:
    """What a full look's score asks of the segment after it; None where its score may be rested on.

    before: the score of the full look before it, points. is_undecided: whether an alert is open, or may be about to open or to
    end. has_picture: False for black or frozen pictures. What a score starts is looked at twice before anything follows.
    """
    assert score.score is not None
    if not has_picture:
        return "no-picture"
    if is_undecided:
        return "alert"
    if (score.uncertainty or 0.0) > limits.uncertain:
        return "uncertain"
    return "again" if before is None or abs(score.score - before) > limits.differs else None


def _end(segment: SegmentEvent) -> float:
    return segment.start.timestamp() + segment.duration
