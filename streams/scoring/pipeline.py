"""From a batch of messages to their answers: the score agent's work, without Kafka.

message -> event -> fetched -> sampled -> batch -> score. Whatever is a segment's own fault becomes a dead letter; what
is not (the scorer is down) is tried again until it works, which holds the consumption back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from scorer.errors import MediaError, ModelError
from scorer.sampling import SamplerPool
from scorer.spec import ClipScore, SampledClip, Scorer
from streams import metrics
from streams.events import EventError, FaceSummary, ModelRef, SecondOpinion, SegmentEvent, SegmentScore, Signals
from streams.media.fetch import Fetcher
from streams.queue.selection import fingerprint
from streams.settings import Settings
from streams.sinks.base import SinkError

log = logging.getLogger(__name__)
FIRST_WAIT, LONGEST_WAIT = 0.5, 15.0
"""Seconds before an attempt is repeated, doubled each time up to the longest."""

LONGEST_ASKED = 60.0
"""Seconds that a server may ask for with Retry-After; a wrong header must not stop a worker for a day."""

WORKERS_FAULT = {"setup", "stopped"}
"""Kinds of failure that say nothing about the segment: it stays in the topic until a worker can do it."""


LETTER_VALUE_BYTES, LETTER_KEY_BYTES, LETTER_REASON_CHARS = 900_000, 16_384, 2_000
"""What a dead letter holds at most, so that it fits into a message of 1 MiB. An input can be larger: Kafka limits
messages as they were compressed, and a letter that no broker takes would hold its stream back for ever."""


@dataclass(frozen=True)
class DeadLetter:
    """An input that cannot be answered. value and key: as they came (cut to a message's size; the header `truncated` then
    has the value's full length). headers: why, and where it came from."""

    key: bytes | None
    value: bytes
    headers: dict[str, str]


@dataclass(frozen=True)
class Message:
    """An input message as bytes, and where it stood."""

    key: bytes | None
    value: bytes
    topic: str = ""
    partition: int = 0
    offset: int = 0


Answer = SegmentScore | DeadLetter
T = TypeVar("T")


@dataclass
class _Sampled:
    """A segment on its way to the scorer."""

    message: Message
    event: SegmentEvent
    clip: SampledClip
    timing: dict[str, float] = field(default_factory=dict)


class SegmentPipeline:
    """Answers messages. `sample` may run for the next batch while `score` works on the present one."""

    def __init__(
        self, settings: Settings, fetcher: Fetcher, pool: SamplerPool, scorer: Scorer, second: Scorer | None = None
    ) -> None:
        self._settings = settings
        self._fetcher = fetcher
        self._pool = pool
        self._scorer = scorer
        self._second = second
        self._scoring_since: float | None = None
        # One thread: a model takes one batch at a time.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scorer")

    async def sample(self, messages: Sequence[Message]) -> list[Answer | _Sampled]:
        """Everything up to the scorer, all messages at once; answers where there is one already."""
        return list(await asyncio.gather(*(self._sample_one(message) for message in messages)))

    def count_clips(self, sampled: Sequence[Answer | _Sampled]) -> int:
        """How many of them need the scorer; the others have their answer."""
        return sum(1 for one in sampled if isinstance(one, _Sampled))

    async def score(self, sampled: Sequence[Answer | _Sampled]) -> list[Answer]:
        """The answers, in order; waits as long as the scorer fails."""
        clips = [one.clip for one in sampled if isinstance(one, _Sampled)]
        started = time.monotonic()
        scores = iter(await retried("scorer", lambda: self._score(clips)) if clips else [])
        seconds = iter(await self._second_opinions(clips))
        ms = (time.monotonic() - started) * 1000
        if clips:
            metrics.BATCH_SEGMENTS.observe(len(clips))
            metrics.STAGE_SECONDS.labels("score").observe(ms / 1000)
        answers: list[Answer] = []
        for one in sampled:
            if isinstance(one, _Sampled):
                one.timing["score_ms"] = round(ms / len(clips), 1)
                answers.append(_answer(one, next(scores), next(seconds)))
            else:
                answers.append(one)
        for answer in answers:
            _count(answer)
        return answers

    def close(self) -> None:
        """Stop the scorer's thread after the batch under way."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def scoring_seconds(self) -> float:
        """How long the scorer has had the batch that it works on; 0 where it has none."""
        return 0.0 if self._scoring_since is None else time.monotonic() - self._scoring_since

    async def _score(self, clips: list[SampledClip]) -> list[ClipScore | ModelError]:
        self._scoring_since = time.monotonic()
        try:
            scores = await asyncio.get_running_loop().run_in_executor(self._thread, self._scorer.score, clips)
            if len(scores) != len(clips):
                raise RuntimeError(f"the scorer answered {len(scores)} of {len(clips)} clips")
            return list(scores)
        except ModelError as error:
            # The model cannot answer some clip: one by one, so that the others of the batch get their scores.
            if len(clips) == 1:
                return [error]
            return [answer for clip in clips for answer in await self._score([clip])]
        finally:
            self._scoring_since = None

    async def _second_opinions(self, clips: list[SampledClip]) -> list[ClipScore | None]:
        """The second model's scores, where there is one. It only helps to choose clips: its failure holds nothing back."""
        if self._second is None or not clips:
            return [None] * len(clips)
        try:
            return list(await asyncio.get_running_loop().run_in_executor(self._thread, self._second.score, clips))
        except Exception as error:
            metrics.RETRIES.labels("second model").inc()
            log.warning("the second model cannot answer a batch: %s", error)
            return [None] * len(clips)

    async def _sample_one(self, message: Message) -> Answer | _Sampled:
        """Never raises: what leaves the agent is lost, and stops everything that comes after it."""
        segment_id = ""
        try:
            event = SegmentEvent.from_bytes(message.value)
            segment_id = event.segment_id
            late = self._too_late(event)
            if late is not None:
                return SegmentScore(**SegmentScore.identity(event), status="skipped", reason=late, timing={"lag_s": lag(event)})
            return await retried("sampler", lambda: self._fetch_and_sample(message, event), _is_workers_fault)
        except EventError as error:
            return dead_letter(message, kind="event", reason=str(error), field=error.field)
        except MediaError as error:
            return dead_letter(message, kind=error.kind, reason=error.reason, segment_id=segment_id)
        except Exception as error:
            return _internal(message, error, segment_id)

    async def _fetch_and_sample(self, message: Message, event: SegmentEvent) -> _Sampled:
        timing: dict[str, float] = {}
        started = time.monotonic()
        media = await self._fetcher.fetch(event.uri, event.init_uri)
        try:
            timing["fetch_ms"] = _observe("fetch", started)
            started = time.monotonic()
            windows = await asyncio.wrap_future(self._pool.submit(media.path))
            timing["sample_ms"] = _observe("sample", started)
        finally:
            media.discard()
        if not windows:
            raise MediaError("the segment holds no picture", kind="empty")
        return _Sampled(message, event, windows[0][1], timing)

    def _too_late(self, event: SegmentEvent) -> str | None:
        window = self._settings.live_window
        waited = lag(event)
        if window is None or waited <= window:
            return None
        return f"the segment ended {waited:.0f} s ago, more than the live window of {window:g} s"


async def retried(what: str, attempt: Callable[[], Awaitable[T]], may_pass: Callable[[Exception], bool] = lambda _: True) -> T:
    """The result of the first attempt that works; waits longer each time, for as long as it takes.

    may_pass: whether an error is one that time may mend; any other is raised at once.
    """
    wait = FIRST_WAIT
    while True:
        try:
            return await attempt()
        except Exception as error:
            if not may_pass(error):
                raise
            asked = min(error.retry_after, LONGEST_ASKED) if isinstance(error, SinkError) else 0.0
            pause = max(wait, asked)
            metrics.RETRIES.labels(what).inc()
            log.warning("%s failed, trying again in %.1f s: %s", what, pause, error)
            await asyncio.sleep(pause)
            wait = min(LONGEST_WAIT, wait * 2)


def _is_workers_fault(error: Exception) -> bool:
    return isinstance(error, MediaError) and error.kind in WORKERS_FAULT


def lag(event: SegmentEvent | SegmentScore) -> float:
    """Seconds since the segment ended, in event time."""
    return round(datetime.now(UTC).timestamp() - event.start.timestamp() - event.duration, 3)


def dead_letter(message: Message, *, kind: str, reason: str, field: str = "", segment_id: str = "") -> DeadLetter:
    """The dead letter of a message: its bytes as they were, and the reason in the headers."""
    headers = {
        "reason": reason[:LETTER_REASON_CHARS],
        "kind": kind,
        "field": field,
        "segment_id": segment_id,
        "topic": message.topic,
        "partition": str(message.partition),
        "offset": str(message.offset),
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "truncated": str(len(message.value)) if len(message.value) > LETTER_VALUE_BYTES else "",
    }
    key = message.key[:LETTER_KEY_BYTES] if message.key is not None else None
    return DeadLetter(key, message.value[:LETTER_VALUE_BYTES], {name: value for name, value in headers.items() if value})


def _internal(message: Message, error: Exception, segment_id: str) -> DeadLetter:
    """A bug of ours must not stop the stream: the segment is kept as a dead letter, its trace is in the log."""
    log.error("segment failed", exc_info=error, extra={"segment_id": segment_id})
    return dead_letter(message, kind="internal", reason=f"{type(error).__name__}: {error}", segment_id=segment_id)


def _answer(one: _Sampled, score: ClipScore | ModelError, second: ClipScore | None) -> Answer:
    segment_id = one.event.segment_id
    if isinstance(score, ModelError):
        return dead_letter(one.message, kind="model", reason=str(score), segment_id=segment_id)
    try:
        return _scored(one, score, second)
    except Exception as error:
        return _internal(one.message, error, segment_id)


def _scored(one: _Sampled, score: ClipScore, second: ClipScore | None) -> SegmentScore:
    return SegmentScore(
        **SegmentScore.identity(one.event),
        status="scored",
        score=score.score,
        level=score.level,
        level_probs=score.level_probs,
        uncertainty=score.uncertainty,
        faces=FaceSummary(**asdict(one.clip.face_summary)),
        signals=Signals(**one.clip.signals),
        model=_model(score),
        second=SecondOpinion(score=second.score, model=_model(second)) if second is not None else None,
        fingerprint=fingerprint(one.clip.thumbnail),
        timing=one.timing | {"lag_s": lag(one.event)},
    )


def _model(score: ClipScore) -> ModelRef:
    return ModelRef(name=score.model.name, version=score.model.version)


def _observe(stage: str, started: float) -> float:
    seconds = time.monotonic() - started
    metrics.STAGE_SECONDS.labels(stage).observe(seconds)
    return round(seconds * 1000, 1)


def _count(answer: Answer) -> None:
    if isinstance(answer, DeadLetter):
        metrics.SEGMENTS.labels("dead-letter").inc()
        metrics.DEAD_LETTERS.labels(answer.headers["kind"]).inc()
        log.info("dead letter: %s", answer.headers["reason"], extra={"segment_id": answer.headers.get("segment_id", "")})
        return
    metrics.SEGMENTS.labels(answer.status).inc()
    metrics.EVENT_LAG.observe(max(0.0, answer.timing["lag_s"]))
    metrics.EVENT_LAG_LAST.set(answer.timing["lag_s"])
    log.debug("%s", answer.status, extra={"segment_id": answer.segment_id, "score": answer.score, **answer.timing})
