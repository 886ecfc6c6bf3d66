"""From messages to their answers: the score agent's work, without Kafka.

message -> `SegmentEvent` -> local file -> `SampledClip` -> batch -> `ClipScore` -> `SegmentScore` (-> the large model's look)

A failure of the segment itself becomes a dead letter. Any other failure (the scorer is down, this worker's disk is full) is
tried again until it works, which holds the consumption back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from scorer.sampling import SamplerPool
from scorer.spec import ClipScore, SampledClip, SamplerSpec, Scorer
from streams import metrics
from streams.errors import OWN_FAULTS, EventError, MediaError, ModelError, SpecChangedError
from streams.events import SegmentEvent, SegmentScore
from streams.letter import Message, dead_letter
from streams.media.fetch import Fetcher, LocalMedia
from streams.retry import retried
from streams.scoring.answer import Answered, Glanced, Result, Sampled, answer_of, final_answers, internal, lag, rested_answer
from streams.scoring.cascade import BATCHES_AHEAD, Cascade
from streams.scoring.counts import count, observe
from streams.scoring.glances import FullLook, Rest, Tiers, Turn
from streams.scoring.kept import KeptMedia
from streams.scoring.overload import Freshness
from streams.scoring.pictures import Pictures

if TYPE_CHECKING:
    from scorer.sampling.preview import FacesInPreviews

log = logging.getLogger(__name__)


class SegmentPipeline:
    """Answers messages. `sample` may run for the next batch while `score` works on the present one.

    The fetched files of segments that wait for their answer are kept: they are as few as the batcher lets wait.

    second: another model that scores every clip too, to find clips that are worth a rating. live_window: seconds after its
    end from which a segment is skipped; None scores every segment. cascade: starts looks by a large model. pictures: takes
    pictures of segments. tiers: gives segments a glance where that does; None scores every segment by the model. batch_size: of
    the segments whose glance did not do, how many are sampled and scored together; the batcher sees to the others.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        pool: SamplerPool,
        scorer: Scorer,
        second: Scorer | None = None,
        live_window: float | None = None,
        cascade: Cascade | None = None,
        pictures: Pictures | None = None,
        tiers: Tiers | None = None,
        batch_size: int = 8,
    ) -> None:
        self._fetcher, self._pool, self._scorer, self._second = fetcher, pool, scorer, second
        self._freshness = Freshness(live_window)
        self._scoring_since: float | None = None
        self._cascade, self._tiers, self._pictures, self._batch_size = cascade, tiers, pictures, batch_size
        self._media = KeptMedia()
        # One thread: a model takes one batch at a time.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scorer")

    async def sample(self, messages: Sequence[Message]) -> list[Result]:
        """Fetch and sample all messages at once, in their order; answers for those that do not get as far as the scorer."""
        return list(await asyncio.gather(*(self._sample_one(message) for message in messages)))

    def count_clips(self, sampled: Sequence[Result]) -> int:
        """How many of them need the scorer; the others have their answer."""
        return sum(isinstance(segment, Sampled) for segment in sampled)

    async def score(self, sampled: Sequence[Result]) -> list[Answered]:
        """The answers, in order; waits as long as the scorer fails. Afterwards the segments' files are gone.

        Those of segments with a look or a picture of a change are gone when these are over. `finish` waits for the looks.
        """
        try:
            segments = list(sampled)
            scored = iter(await self._score_all([segment for segment in segments if isinstance(segment, Sampled)]))
            if self._tiers is None:
                answers = [segment if isinstance(segment, Answered) else next(scored) for segment in segments]
            else:
                answers = await self._with_glances(self._tiers, segments, scored)
            return answers if self._cascade is None else self._with_looks(self._cascade, segments, answers)
        finally:
            for segment in sampled:
                if not isinstance(segment, Answered):
                    self._media.answered(segment.media)

    async def finish(self, answers: Sequence[Answered]) -> list[Answered]:
        """The final answers: as they are, or with the looks that were under way, for which it waits."""
        if self._cascade is not None:  # also those without a look have waited for the looks before them
            answers = await final_answers(answers)
        for answered in answers:
            count(answered.answer)
        return list(answers)

    @property
    def batches_ahead(self) -> int:
        """How many batches may be scored and not yet finished: one, or more where looks make a batch wait."""
        return BATCHES_AHEAD if self._cascade is not None else 1

    async def sample_again(self, segment: Sampled, spec: SamplerSpec) -> SampledClip:
        """A segment's clip by another specification, from the kept file; the segment stays as it is.

        Only before `score` has answered the segment. Raises `MediaError`.
        """
        return await self._sample_media(segment.media, segment.event, spec)

    def close(self) -> None:
        """Stop the scorer's thread after the batch under way, and delete the files of segments without an answer."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._cascade is not None:
            self._cascade.close()
        if self._pictures is not None:
            self._pictures.close()
        self._media.discard_all()

    def scoring_seconds(self) -> float:
        """How long the scorer has been at work on its present batch; 0 where it has none."""
        return 0.0 if self._scoring_since is None else time.monotonic() - self._scoring_since

    async def _score_all(self, waiting: list[Sampled]) -> list[Answered]:
        """The small model's answers, in order."""
        started = time.monotonic()
        scores = await self._scores_of(waiting)
        seconds = await self._second_opinions([segment.clip for segment in waiting])
        ms = (time.monotonic() - started) * 1000
        if waiting:
            metrics.BATCH_SEGMENTS.observe(len(waiting))
            metrics.STAGE_SECONDS.labels("score").observe(ms / 1000)
        for segment in waiting:
            segment.timing["score_ms"] = round(ms / len(waiting), 1)
        answers = [answer_of(*answer) for answer in zip(waiting, scores, seconds, strict=True)]
        if self._pictures is not None:
            for segment, answered in zip(waiting, answers, strict=True):
                if isinstance(answered.answer, SegmentScore):
                    self._show(self._pictures, segment, answered.answer)
        return answers

    async def _with_glances(self, tiers: Tiers, segments: list[Result], scored: Iterator[Answered]) -> list[Answered]:
        """All answers, in order: those of glances rest on full looks before them, or the segments are looked at fully now.

        segments: what is looked at fully takes the place of its glance there. scored: the answers of the sampled ones, in order.
        """
        result: list[Answered | None] = []
        again: list[tuple[int, Glanced, FullLook]] = []
        for place, segment in enumerate(segments):
            answered = segment if isinstance(segment, Answered) else None
            if isinstance(segment, Sampled):
                answered = next(scored)
                assert segment.look is not None
                tiers.scored(segment.look, answered.answer)
            elif isinstance(segment, Glanced):
                full = tiers.rest(segment.rest)
                if isinstance(full, SegmentScore):
                    answer = rested_answer(segment, full, tiers.drift)
                    tiers.rested(segment.rest, answer)
                    answered = Answered(segment.message, answer)
                else:
                    again.append((place, segment, FullLook(full)))
            result.append(answered)
        for first in range(0, len(again), self._batch_size):
            together = again[first : first + self._batch_size]
            looked = await asyncio.gather(*(self._look_fully(segment, look) for _, segment, look in together))
            more = iter(await self._score_all([segment for segment in looked if isinstance(segment, Sampled)]))
            for (place, _, look), full_segment in zip(together, looked, strict=True):
                segments[place] = full_segment
                result[place] = answered = next(more) if isinstance(full_segment, Sampled) else full_segment
                tiers.scored(look, answered.answer)
        return [answered for answered in result if answered is not None]

    async def _look_fully(self, segment: Glanced, look: FullLook) -> Answered | Sampled:
        """Sample a segment that had only a glance."""
        spec = self._scorer.spec
        try:
            clip = await retried("sampler", lambda: self._sample_media(segment.media, segment.event, spec), _is_workers_fault)
        except MediaError as error:
            letter = dead_letter(segment.message, kind=error.kind, reason=error.reason, segment_id=segment.event.segment_id)
            return Answered(segment.message, letter)
        except Exception as error:
            return Answered(segment.message, internal(segment.message, error, segment.event.segment_id))
        return Sampled(segment.message, segment.event, clip, spec, segment.media, segment.timing, look)

    def _with_looks(self, cascade: Cascade, segments: Sequence[Result], answers: list[Answered]) -> list[Answered]:
        """All answers of a batch, with the looks that the cascade starts: at none of those that rest on a glance."""
        scored = [
            (place, segment, answered.answer)
            for place, (segment, answered) in enumerate(zip(segments, answers, strict=True))
            if not isinstance(segment, Answered) and isinstance(answered.answer, SegmentScore)
        ]
        samples = [partial(self._sample_for_look, segment) if isinstance(segment, Sampled) else None for _, segment, _ in scored]
        looks = cascade.start([score for *_, score in scored], samples)
        for (place, segment, _), look in zip(scored, looks, strict=True):
            if look is not None:
                # From now on, and not from where it is sampled: a look may end before, because the large model is away.
                self._media.hold_for(look.score, segment.media)
                answers[place] = replace(answers[place], look=look)
        return answers

    async def _sample_for_look(self, segment: Sampled, spec: SamplerSpec) -> SampledClip:
        return segment.clip if spec == segment.spec else await self.sample_again(segment, spec)

    def _show(self, pictures: Pictures, segment: Sampled, score: SegmentScore) -> None:
        """Send a scored segment's picture. Its file is held while one is made from it."""
        again = partial(self._sample_media, segment.media, segment.event, segment.spec)
        if (making := pictures.take(score, segment.clip.preview, again)) is not None:
            self._media.hold_for(making, segment.media)

    async def _scores_of(self, segments: Sequence[Sampled]) -> list[ClipScore | Exception]:
        """For each segment its score, or why it has none. Clips are sampled again where the scorer's specification changes."""
        while True:
            failures = await asyncio.gather(*(self._match(segment) for segment in segments))
            clips = [segment.clip for segment, failure in zip(segments, failures, strict=True) if failure is None]
            try:
                scores = await retried("scorer", partial(self._score, clips), _is_no_change) if clips else []
            except SpecChangedError as error:
                log.warning("segments at hand are sampled again if they have to be: %s", error)
                continue
            scored = iter(scores)
            return [next(scored) if failure is None else failure for failure in failures]

    async def _match(self, segment: Sampled) -> Exception | None:
        """Sample a segment again where the scorer's specification is another one by now; returns why it cannot be."""
        spec = self._scorer.spec
        if segment.spec == spec:
            return None
        try:
            clip = await retried("sampler", lambda: self.sample_again(segment, spec), _is_workers_fault)
        except Exception as error:
            return error
        segment.clip, segment.spec = replace(clip, preview=segment.clip.preview), spec
        return None

    async def _score(self, clips: list[SampledClip]) -> list[ClipScore | ModelError]:
        self._scoring_since = time.monotonic()
        try:
            scores = await asyncio.get_running_loop().run_in_executor(self._thread, self._scorer.score, clips)
            if len(scores) != len(clips):
                raise RuntimeError(f"the scorer answered {len(scores)} of {len(clips)} clips")
            return list(scores)
        except ModelError as error:
            # The model cannot answer one of the clips: halve the batch until it is found, so that the others get their scores.
            if len(clips) == 1:
                return [error]
            middle = len(clips) // 2
            return [*await self._score(clips[:middle]), *await self._score(clips[middle:])]
        finally:
            self._scoring_since = None

    async def _second_opinions(self, clips: list[SampledClip]) -> list[ClipScore | None]:
        """The second model's scores, where there is one. They only help to choose clips, so its failure holds nothing back."""
        if self._second is None or not clips:
            return [None] * len(clips)
        try:
            return list(await asyncio.get_running_loop().run_in_executor(self._thread, self._second.score, clips))
        except Exception as error:
            metrics.RETRIES.labels("second model").inc()
            log.warning("the second model cannot answer a batch: %s", error)
            return [None] * len(clips)

    async def _sample_one(self, message: Message) -> Result:
        """Never raises: an exception that left the agent would lose the message and stop everything after it."""
        segment_id = ""
        if message.unreadable:
            return Answered(message, dead_letter(message, kind="unreadable", reason=message.unreadable))
        try:
            event = SegmentEvent.from_bytes(message.value)
            segment_id = event.segment_id
            late = self._freshness.too_late(event) or self._freshness.shed(event, message.sent)
            if late is not None:
                if self._tiers is not None:
                    self._tiers.skip(event)
                identity = SegmentScore.identity(event)
                return Answered(message, SegmentScore(**identity, status="skipped", reason=late, timing={"lag_s": lag(event)}))
            with self._tiers.turn(event) if self._tiers is not None else nullcontext() as turn:
                return await retried("sampler", lambda: self._fetch_and_sample(message, event, turn), _is_workers_fault)
        except EventError as error:
            return Answered(message, dead_letter(message, kind="event", reason=str(error), field=error.field))
        except MediaError as error:
            return Answered(message, dead_letter(message, kind=error.kind, reason=error.reason, segment_id=segment_id))
        except Exception as error:
            return Answered(message, internal(message, error, segment_id))

    async def _fetch_and_sample(self, message: Message, event: SegmentEvent, turn: Turn | None) -> Sampled | Glanced:
        timing: dict[str, float] = {}
        started = time.monotonic()
        media = await self._fetcher.fetch_segment(event)
        self._media.keep(media)
        try:
            timing["fetch_ms"] = observe("fetch", started)
            started = time.monotonic()
            look = await turn.look(media.path) if turn is not None else None
            if isinstance(look, Rest):
                timing["glance_ms"] = observe("glance", started)
                return Glanced(message, event, look, media, timing)
            spec = self._scorer.spec
            preview = self._pictures.wanted(event) if self._pictures is not None else None
            clip = await self._sample_media(media, event, spec, preview)
            timing["sample_ms"] = observe("sample", started)
        except BaseException:
            self._media.discard(media)
            raise
        return Sampled(message, event, clip, spec, media, timing, look)

    async def _sample_media(
        self, media: LocalMedia, event: SegmentEvent, spec: SamplerSpec, preview: FacesInPreviews | None = None
    ) -> SampledClip:
        sampling = self._pool.submit(media.path, duration=event.duration, spec=spec, preview=preview)
        windows = await asyncio.wrap_future(sampling)
        if not windows:
            raise MediaError("the segment holds no picture", kind="empty")
        return windows[0][1]


def _is_workers_fault(error: Exception) -> bool:
    """Whether the segment stays in its topic until a worker can score it."""
    return isinstance(error, MediaError) and error.kind in OWN_FAULTS


def _is_no_change(error: Exception) -> bool:
    return not isinstance(error, SpecChangedError)
