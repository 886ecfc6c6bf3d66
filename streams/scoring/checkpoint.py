"""The checkpoint: a batch's answers are delivered and flushed, then its inputs are acknowledged.

'Nothing is lost' is true or false here: an input is acknowledged only after Kafka and the sink have acknowledged its answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from streams import metrics
from streams.errors import BrokerError
from streams.events import DEAD_LETTER_TOPIC, SCORES_TOPIC, SegmentScore
from streams.letter import DeadLetter, Message, dead_letter, shortened
from streams.retry import retried
from streams.scoring.answer import Answered
from streams.sinks.base import Rejected, Sink
from streams.topic_names import Named

log = logging.getLogger(__name__)
TOO_LARGE = 10
"""Kafka's number of the error for a message that is larger than its topic's `max.message.bytes`."""


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
    waiting = [answered.answer for answered in answers]
    await retried("kafka", lambda: deliver(producer, named, waiting))
    rejected = await retried("sink", lambda: flush(sink))
    if rejected:
        # The score is on its topic already. The letter tells that the sink does not have it, and why.
        letters: list[SegmentScore | DeadLetter] = [
            _refused(scores[rejection.place][0], scores[rejection.place][1], rejection) for rejection in rejected
        ]
        metrics.SINK_REJECTED.inc(len(letters))
        await retried("kafka", lambda: deliver(producer, named, letters))
    await acknowledge()


async def deliver(producer: Any, named: Named, waiting: list[SegmentScore | DeadLetter]) -> None:
    """Send answers to their topics and wait for the brokers' acknowledgements. Those that are acknowledged leave `waiting`.

    One behind another of its stream that is not acknowledged stays too: they are sent again in their order. A letter that is too
    large for its topic is cut. Raises the first error.
    """
    messages = [_message(answer, named) for answer in waiting]
    sent: list[Awaitable[Any]] = []
    unsent: list[Exception] = []
    try:
        for topic, key, value, headers in messages:
            # Call the producer directly: Topic.send adds a future and two sensor callbacks per message.
            sent.append(await producer.send(topic, key, value, partition=None, timestamp=None, headers=headers))
    except Exception as error:
        unsent = [error] * (len(messages) - len(sent))
    outcomes = [*await asyncio.gather(*sent, return_exceptions=True), *unsent]
    failed: dict[tuple[str, bytes | None], BaseException] = {}
    left = []
    for place, (answer, (topic, key, _, _), outcome) in enumerate(zip(waiting, messages, outcomes, strict=True)):
        if isinstance(outcome, BaseException):
            failed.setdefault((topic, key), outcome)
            # Those behind the one that the client did not take have its error.
            if isinstance(answer, DeadLetter) and _is_too_large(outcome) and place <= len(sent):
                answer = shortened(answer)
        if (topic, key) in failed:
            left.append(answer)
    waiting[:] = left
    for (topic, _), failure in failed.items():
        if _is_too_large(failure):
            raise BrokerError(f"topic {topic} takes no message of that size: `fvq topics create --alter` lets it") from failure
        raise failure


def _message(answer: SegmentScore | DeadLetter, named: Named) -> tuple[str, bytes | None, bytes, dict[str, bytes]]:
    """An answer's topic, key, value and headers."""
    if isinstance(answer, DeadLetter):
        return named(DEAD_LETTER_TOPIC), answer.key, answer.value, dict(answer.header_bytes())
    return named(SCORES_TOPIC), answer.stream_id.encode(), answer.to_bytes(), {}


def _is_too_large(error: BaseException) -> bool:
    return getattr(error, "errno", None) == TOO_LARGE


async def flush(sink: Sink) -> list[Rejected]:
    """Flush the sink, and measure how long it takes."""
    with metrics.STAGE_SECONDS.labels("flush").time():
        return await sink.flush()


def _refused(message: Message, score: SegmentScore, rejected: Rejected) -> DeadLetter:
    log.error("the sink refused a score: %s", rejected.reason, extra={"segment_id": score.segment_id})
    metrics.DEAD_LETTERS.labels("sink").inc()
    return dead_letter(message, kind="sink", reason=rejected.reason, segment_id=score.segment_id)
