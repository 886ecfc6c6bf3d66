"""The cascade: of the segments that the small model has scored, some get a look by the large model.

`deep_plan.py` says which, `deep.py` makes the looks. One segment has one answer: the large model's score replaces the small
one's, which is kept beside it as `shallow`. Where the large model does not answer in time, the small one's score is the answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import ValidationError

from streams import metrics
from streams.events import SegmentScore, TierReason
from streams.scoring.deep import DeepScore, DeepScorer, Sample
from streams.scoring.deep_plan import Course, DeepPlan, Facts

log = logging.getLogger(__name__)
BATCHES_AHEAD = 32
"""Batches that the small model may have scored while the first of them waits for its looks: some seconds of segments."""


@dataclass(frozen=True)
class Look:
    """A look by the large model, which may be still under way. score: None where there is none in time."""

    reason: TierReason
    score: asyncio.Task[DeepScore | None]


class Cascade:
    """Starts the looks of a worker's segments.

    course: where the scores of a stream are going, given each of its scores and the time. live_window: seconds after its end in
    which a segment must be answered; one that a look could make too late gets none.
    """

    def __init__(
        self, deep: DeepScorer, plan: DeepPlan, course: Callable[[SegmentScore, datetime], Course], live_window: float | None
    ) -> None:
        self._deep, self._plan, self._course, self._live_window = deep, plan, course, live_window
        self._segments = self._deep_segments = 0

    def start(self, answers: Sequence[SegmentScore], samples: Sequence[Sample | None]) -> list[Look | None]:
        """Start the looks of a batch that the small model has scored.

        answers: of all segments of the batch. samples: how each of them is sampled; None for one that had a glance, which counts
        and gets no look.
        """
        now = datetime.now(UTC)
        facts = [
            self._facts(answer, self._course(answer, now), sample is not None)
            for answer, sample in zip(answers, samples, strict=True)
        ]
        plan = self._plan.plan(facts, self._deep.room)
        looks = [
            Look(reason, self._deep.start(sample)) if reason and sample else None
            for reason, sample in zip(plan, samples, strict=True)
        ]
        self._segments += len(answers)
        self._deep_segments += sum(look is not None for look in looks)
        metrics.DEEP_SHARE.set(self._deep_segments / max(1, self._segments))
        return looks

    def close(self) -> None:
        """Stop the looks' thread after the batch under way."""
        self._deep.close()

    def _facts(self, answer: SegmentScore, course: Course, can_go_deep: bool) -> Facts:
        assert answer.score is not None
        assert answer.uncertainty is not None
        in_time = self._live_window is None or answer.timing["lag_s"] + self._deep.seconds < self._live_window
        return Facts(
            stream=f"{answer.stream_id}\n{answer.rendition or ''}",
            sequence=answer.sequence,
            course=course,
            score=answer.score,
            uncertainty=answer.uncertainty,
            can_go_deep=can_go_deep and in_time,
        )


async def with_look(answer: SegmentScore, look: Look) -> SegmentScore:
    """A segment's answer when its look is over: the deep score, or the small model's answer as it was."""
    deep = await look.score
    if deep is None:
        return answer
    score = deep.score
    changes = {
        "score": score.score,
        "level": score.level,
        "level_probs": score.level_probs,
        "uncertainty": score.uncertainty,
        "fallback": score.fallback,
        "model": {"name": score.model.name, "version": score.model.version},
        "tier": "deep",
        "tier_reason": look.reason,
        "shallow": {"score": answer.score, "model": answer.model, "uncertainty": answer.uncertainty},
        "timing": answer.timing | {"deep_ms": round(deep.seconds * 1000, 1)},
    }
    try:
        return SegmentScore.model_validate(dict(answer) | changes)
    except ValidationError as error:
        log.error("the large model %s gave no valid score: %s", score.model, error, extra={"segment_id": answer.segment_id})
        return answer
