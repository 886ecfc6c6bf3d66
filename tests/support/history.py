"""What every history must answer: the cases that run against SQLite and InfluxDB. A subclass has the fixture `store`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from streams.errors import HistoryError
from streams.events import ModelRef, SegmentScore
from streams.history.base import MOST_POINTS, MOST_SEGMENTS, History
from streams.sinks.base import Sink
from tests.support.sinks import make_score

START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
HOSTILE = ['"', "'; drop table answers; --", '") |> drop(columns: ["_value"]) //', "studio/7", "${r}", "\u202eabc", "é 日本"]


@dataclass(frozen=True)
class Store:
    """A sink, and the history that reads it."""

    sink: Sink
    history: History

    async def put(self, *scores: SegmentScore) -> None:
        """Write scores."""
        for score in scores:
            self.sink.add(score)
        assert await self.sink.flush() == []


def score_at(seconds: float, score: float | None = 61.5, **changes: Any) -> SegmentScore:
    """A segment of the stream `s` that starts some seconds after `START`; a score of None: it was skipped."""
    fields: dict[str, Any] = {
        "segment_id": f"s/{seconds}", "sequence": int(seconds), "start": START + timedelta(seconds=seconds), "score": score
    }  # fmt: skip
    if score is None:
        nothing = dict.fromkeys(("level", "level_probs", "uncertainty", "faces", "signals", "model"))
        fields |= {"status": "skipped", "reason": "late", **nothing}
    return make_score(**(fields | changes))


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def ids(scores: Sequence[SegmentScore]) -> list[str]:
    return [score.segment_id for score in scores]


class HistoryCases:
    """The cases."""

    async def test_a_course_has_the_mean_and_the_ends_of_each_bucket(self, store: Store) -> None:
        await store.put(
            score_at(0, 80.0, uncertainty=2.0), score_at(9.999, 60.0, uncertainty=4.0), score_at(5, None), score_at(20, 10.0)
        )
        course = await store.history.course("s", None, START, after(40), 4)
        assert [(bucket.start, bucket.mean, bucket.low, bucket.high, bucket.count) for bucket in course] == [
            (START, 70.0, 60.0, 80.0, 2),
            (after(20), 10.0, 10.0, 10.0, 1),
        ]
        assert [bucket.uncertainty for bucket in course] == [3.0, 4.0]

    async def test_a_course_begins_with_its_range_and_ends_before_its_end(self, store: Store) -> None:
        await store.put(*(score_at(seconds, float(seconds)) for seconds in range(0, 30, 2)))
        course = await store.history.course("s", None, after(3), after(17), 2)
        assert [(bucket.start, bucket.low, bucket.high, bucket.count) for bucket in course] == [
            (after(3), 4.0, 8.0, 3),
            (after(10), 10.0, 16.0, 4),
        ]

    async def test_a_promotion_does_not_divide_a_course(self, store: Store) -> None:
        models = ("1", "1", "2", "2")
        await store.put(
            *(score_at(i, 10.0 * i, model=ModelRef(name="nano", version=version)) for i, version in enumerate(models))
        )
        (bucket,) = await store.history.course("s", None, START, after(10), 1)
        assert (bucket.mean, bucket.low, bucket.high, bucket.count) == (15.0, 0.0, 30.0, 4)

    async def test_renditions_are_asked_for_one_by_one_or_together(self, store: Store) -> None:
        for rendition, score in (("720p", 70.0), ("360p", 40.0), (None, 10.0)):
            await store.put(score_at(1, score, rendition=rendition))
        means = {}
        for rendition in ("720p", "360p", "", None, "1080p"):
            course = await store.history.course("s", rendition, START, after(10), 1)
            means[rendition] = [bucket.mean for bucket in course]
            segments = await store.history.segments("s", rendition, START, after(10), 10)
            assert len(segments) == (3 if rendition is None else len(course))
        assert means == {"720p": [70.0], "360p": [40.0], "": [10.0], None: [40.0], "1080p": []}

    async def test_a_course_has_no_more_buckets_than_points(self, store: Store) -> None:
        await store.put(*(score_at(seconds / 10) for seconds in range(0, 600, 7)))
        for points in (1, 2, 7, 13, 600, MOST_POINTS):
            course = await store.history.course("s", None, START, after(60), points)
            assert len(course) <= points
            assert sum(bucket.count for bucket in course) == 86
            starts = [bucket.start for bucket in course]
            assert starts == sorted(set(starts))
            assert all(START <= start < after(60) for start in starts)

    async def test_the_streams_of_a_time_are_known(self, store: Store) -> None:
        await store.put(*(score_at(seconds, stream_id=stream) for seconds in (0, 2) for stream in ("b", "a", 'c"')))
        assert await store.history.stream_ids(START, after(60)) == ["a", "b", 'c"']
        assert await store.history.stream_ids(START - timedelta(days=20), START - timedelta(days=19)) == []
        with pytest.raises(HistoryError, match="empty"):
            await store.history.stream_ids(after(1), START)

    async def test_segments_come_newest_first_with_the_skipped_ones(self, store: Store) -> None:
        await store.put(score_at(0), score_at(2, None), score_at(4), score_at(6), score_at(8))
        assert ids(await store.history.segments("s", None, START, after(8), 3)) == ["s/6", "s/4", "s/2"]
        skipped = (await store.history.segments("s", None, START, after(4), 1))[0]
        assert (skipped.status, skipped.reason, skipped.score, skipped.model) == ("skipped", "late", None, None)

    async def test_a_page_is_full_also_where_segments_were_answered_twice(self, store: Store) -> None:
        await store.put(*(score_at(seconds) for seconds in range(0, 60, 2)))
        await store.put(*(score_at(seconds, None) for seconds in range(40, 60, 2)))
        assert ids(await store.history.segments("s", None, START, after(60), 25)) == [f"s/{at}" for at in range(58, 8, -2)]

    async def test_segments_that_are_far_apart_are_found(self, store: Store) -> None:
        await store.put(score_at(0), score_at(-20 * 24 * 3600), score_at(-3600))
        found = await store.history.segments("s", None, START - timedelta(days=60), after(1), 10)
        assert ids(found) == ["s/0", "s/-3600", f"s/{-20 * 24 * 3600}"]

    async def test_a_segment_has_what_was_measured(self, store: Store) -> None:
        written = score_at(2, rendition="720p")
        await store.put(written, score_at(4))
        score = await store.history.segment("s", "s/2")
        assert score is not None
        names = ("stream_id", "segment_id", "sequence", "start", "duration", "rendition", "status", "score", "level")
        names += ("level_probs", "uncertainty", "faces", "signals", "model")
        assert {name: getattr(score, name) for name in names} == {name: getattr(written, name) for name in names}
        assert await store.history.segment("s", "s/3") is None
        assert await store.history.segment("t", "s/2") is None

    async def test_a_segment_is_that_of_its_rendition(self, store: Store) -> None:
        for rendition, score in (("720p", 70.0), ("360p", 40.0), (None, 10.0)):
            await store.put(score_at(2, score, rendition=rendition))
        for rendition, score in (("720p", 70.0), ("360p", 40.0), ("", 10.0)):
            found = await store.history.segment("s", "s/2", rendition)
            assert found is not None
            assert (found.rendition or "", found.score) == (rendition, score)
        assert await store.history.segment("s", "s/2", "1080p") is None
        assert await store.history.segment("s", "s/2") is not None

    async def test_the_score_of_the_small_model_stays_known(self, store: Store) -> None:
        shallow = {"score": 40.0, "model": {"name": "nano", "version": "1"}}
        await store.put(score_at(0, 55.0, shallow=shallow), score_at(2, 60.0))
        small = [score.small_score for score in await store.history.segments("s", None, START, after(4), 2)]
        assert small == [60.0, 40.0]

    @pytest.mark.parametrize("name", HOSTILE)
    async def test_a_name_is_a_value_and_nothing_else(self, store: Store, name: str) -> None:
        await store.put(score_at(0, 20.0), score_at(0, 80.0, stream_id=name, segment_id=name, rendition=name))
        (bucket,) = await store.history.course(name, name, START, after(10), 1)
        assert (bucket.mean, bucket.count) == (80.0, 1)
        score = await store.history.segment(name, name)
        assert score is not None
        assert score.score == 80.0
        assert ids(await store.history.segments(name, name, START, after(10), 10)) == [name]
        assert len(await store.history.segments("s", None, START, after(10), 10)) == 1, "the other stream is as it was"

    async def test_what_no_history_gives_is_refused(self, store: Store) -> None:
        for points in (0, -1, MOST_POINTS + 1):
            with pytest.raises(HistoryError, match="points"):
                await store.history.course("s", None, START, after(1), points)
        for limit in (0, MOST_SEGMENTS + 1):
            with pytest.raises(HistoryError, match="segments"):
                await store.history.segments("s", None, START, after(1), limit)
        with pytest.raises(HistoryError, match="empty"):
            await store.history.course("s", None, START, START, 5)
        with pytest.raises(HistoryError, match="empty"):
            await store.history.segments("s", None, after(1), START, 5)
