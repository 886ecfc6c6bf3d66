"""The cascade: of the segments that the small model has scored, some get a look by the large model.

`tiers.py` says which, `deep.py` makes the looks. One segment has one answer: the large model's score replaces the small one's,
which is kept beside it as `shallow`. Where the large model does not answer in time, the small one's score is the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from scorer.spec import ClipScore
from streams import metrics
from streams.events import ModelRef, SecondOpinion, SegmentScore, TierReason
from streams.scoring.deep import DeepScorer, Sample
from streams.scoring.tiers import Course, Facts, TierPlan

BATCHES_AHEAD = 32
"""Batches that the small model may have scored while the first of them waits for its looks: some seconds of segments."""


@dataclass(frozen=True)
class Look:
    """A look by the large model, which may be still under way. score: None where there is none in time."""

    reason: TierReason
    score: asyncio.Task[ClipScore | None]


class Cascade:
    """Starts the looks of a worker's segments.

    course: where the scores of a stream are going, given each of its scores and the time. live_window: seconds after its end in
    which a segment must be answered; one that a look could make too late gets none.
    """

    def __init__(
        self, deep: DeepScorer, plan: TierPlan, course: Callable[[SegmentScore, datetime], Course], live_window: float | None
    ) -> None:
        self._deep, self._plan, self._course, self._live_window = deep, plan, course, live_window
        self._segments = self._deep_segments = 0

    def start(self, answers: Sequence[SegmentScore], samples: Sequence[Sample]) -> list[Look | None]:
        """Start the looks of a batch that the small model has scored.

        answers: of all segments of the batch. samples: how each of them is sampled.
        """
        now = datetime.now(UTC)
        facts = [_facts(answer, self._course(answer, now)) for answer in answers]
        plan = self._plan.plan(facts, 0 if self._in_a_hurry(answers) else self._deep.room)
        looks = [
            Look(reason, self._deep.start(sample)) if reason else None for reason, sample in zip(plan, samples, strict=True)
        ]
        self._segments += len(answers)
        self._deep_segments += sum(look is not None for look in looks)
        if self._segments:
            metrics.DEEP_SHARE.set(self._deep_segments / self._segments)
        return looks

    def close(self) -> None:
        """Stop the looks' thread after the batch under way."""
        self._deep.close()

    def _in_a_hurry(self, answers: Sequence[SegmentScore]) -> bool:
        latest = max((answer.timing["lag_s"] for answer in answers), default=0.0)
        return self._live_window is not None and latest + self._deep.seconds > self._live_window


async def with_look(answer: SegmentScore, look: Look) -> SegmentScore:
    """A segment's answer when its look is over: the deep score, or the small model's answer as it was."""
    score = await look.score
    if score is None:
        return answer
    assert answer.score is not None
    assert answer.model is not None
    return answer.model_copy(
        update={
            "score": score.score,
            "level": score.level,
            "level_probs": score.level_probs,
            "uncertainty": score.uncertainty,
            "model": ModelRef(name=score.model.name, version=score.model.version),
            "tier": "deep",
            "tier_reason": look.reason,
            "shallow": SecondOpinion(score=answer.score, model=answer.model, uncertainty=answer.uncertainty),
        }
    )


def _facts(answer: SegmentScore, course: Course) -> Facts:
    assert answer.score is not None
    assert answer.uncertainty is not None
    stream = f"{answer.stream_id}\n{answer.rendition or ''}"
    return Facts(stream, answer.sequence, course, answer.score, answer.uncertainty)
