"""The checkpoint: a batch's answers are delivered and flushed, then its inputs are acknowledged.

'Nothing is lost' is true or false here: an input is acknowledged only after Kafka and the sink have acknowledged its answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from streams import metrics
from streams.events import DEAD_LETTER_TOPIC, SCORES_TOPIC, SegmentScore
from streams.letter import DeadLetter, Message, dead_letter
from streams.retry import retried
from streams.scoring.answer import Answered
from streams.sinks.base import Rejected, Sink
from streams.topic_names import Named

log = logging.getLogger(__name__)


async def checkpoint(
    answers: Sequence[Answered], producer: Any, named: Named, sink: Sink, acknowledge: Callable[[], Awaitable[None]]
) -> None:
    """Make the answers of a batch safe, then acknowledge its inputs; waits as long as Kafka or the sink is away.

    producer: the Faust app's. named: what topics are called on its brokers. acknowledge: acknowledges all inputs of the batch.
    """
    # In the order in which they are added: the sink names a score that it rejects by its place.
    scores = [(answered.message, answered.answer) for answered in answers if isinstance(answered.answer, SegmentScore)]
    for _, score in scores:
        sink.add(score)
    await retried("kafka", lambda: deliver(producer, named, [answered.answer for answered in answers]))
    rejected = await retried("sink", lambda: flush(sink))
    if rejected:
        # The score is on its topic already. The letter tells that the sink does not have it, and why.
        letters = [_refused(scores[rejection.place][0], scores[rejection.place][1], rejection) for rejection in rejected]
        metrics.SINK_REJECTED.inc(len(letters))
        await retried("kafka", lambda: deliver(producer, named, letters))
    await acknowledge()


async def deliver(producer: Any, named: Named, answers: Sequence[SegmentScore | DeadLetter]) -> None:
    """Send answers to their topics and wait for the brokers' acknowledgements."""
    acknowledgements = []
    for answer in answers:
        if isinstance(answer, DeadLetter):
            topic, key, value, headers = named(DEAD_LETTER_TOPIC), answer.key, answer.value, dict(answer.header_bytes())
        else:
            topic, key, value, headers = named(SCORES_TOPIC), answer.stream_id.encode(), answer.to_bytes(), {}
        # Call the producer directly: Topic.send adds a future and two sensor callbacks per message.
        acknowledgements.append(await producer.send(topic, key, value, partition=None, timestamp=None, headers=headers))
    await asyncio.gather(*acknowledgements)


async def flush(sink: Sink) -> list[Rejected]:
    """Flush the sink, and measure how long it takes."""
    with metrics.STAGE_SECONDS.labels("flush").time():
        return await sink.flush()


def _refused(message: Message, score: SegmentScore, rejected: Rejected) -> DeadLetter:
    log.error("the sink refused a score: %s", rejected.reason, extra={"segment_id": score.segment_id})
    metrics.DEAD_LETTERS.labels("sink").inc()
    return dead_letter(message, kind="sink", reason=rejected.reason, segment_id=score.segment_id)
