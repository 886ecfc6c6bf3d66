"""What the metrics and the log have of a segment's way."""

from __future__ import annotations

import logging
import time

from streams import metrics
from streams.events import SegmentScore
from streams.letter import DeadLetter

log = logging.getLogger(__name__)


def observe(stage: str, started: float) -> float:
    """Count a stage that ends now; returns its milliseconds."""
    seconds = time.monotonic() - started
    metrics.STAGE_SECONDS.labels(stage).observe(seconds)
    return round(seconds * 1000, 1)


def count(answer: SegmentScore | DeadLetter) -> None:
    """Count an answer that is about to be sent."""
    if isinstance(answer, DeadLetter):
        metrics.SEGMENTS.labels("dead-letter").inc()
        metrics.DEAD_LETTERS.labels(answer.headers["kind"]).inc()
        log.info("dead letter: %s", answer.headers["reason"], extra={"segment_id": answer.headers.get("segment_id", "")})
        return
    metrics.SEGMENTS.labels(answer.status).inc()
    if answer.tier is not None:
        metrics.TIERS.labels(answer.tier, answer.tier_reason or "").inc()
    metrics.EVENT_LAG.observe(max(0.0, answer.timing["lag_s"]))
    metrics.EVENT_LAG_LAST.set(answer.timing["lag_s"])
    log.debug("%s", answer.status, extra={"segment_id": answer.segment_id, "score": answer.score, **answer.timing})
