"""Routes about one stream: how it is, its scores over time, one segment, its pictures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from aiohttp import web

from streams.errors import EventError, HistoryError
from streams.events import SegmentScore
from streams.events.base import EPOCH
from streams.history.base import MILLISECOND, MOST_POINTS, MOST_SEGMENTS, Bucket, History, step
from streams.web.api.answers import CoursePoint, iso, iso_of
from streams.web.api.cursors import cursor_of, foreign_cursor, key_of
from streams.web.api.problems import ApiError, empty_range, not_found
from streams.web.api.queries import CompareQuery, CourseQuery, PictureQuery, SegmentQuery, SegmentsQuery
from streams.web.api.rows import as_csv, item_of, rendition_of, rounded
from streams.web.api.table import IMMUTABLE, Call, cached, json_answer, json_bytes
from streams.web.pictures import Picture
from streams.web.stream import Stream
from streams.web.wire import alert_entry, score_entry

USUAL_POINTS = 500
USUAL_RANGE = timedelta(hours=1)
SETTLED = timedelta(minutes=2)
"""A range that ended so long ago gets no more scores, but those of a backlog."""

LATEST = 7_258_118_400_000
"""The year 2200, milliseconds since 1970: no segment is later."""

MOST_GIVEN = MOST_SEGMENTS // 2
"""Segments of one stream that start together and are given on pages before: its renditions, and a clock that stood still. Each
page asks the store for them again, so after more of them the next page goes on with what starts before."""

T = TypeVar("T")


async def stream(call: Call) -> web.Response:
    """A stream with its renditions and alerts."""
    known, live = _known(call), call.wall.live
    renditions = sorted(known.renditions.values(), key=lambda rendition: rendition.name)
    last = [score for rendition in renditions if (score := _whole(rendition.last))]
    return json_answer(
        {
            **item_of(live.row(known, call.now)),
            "renditions": [rendition_of(rendition, live.courses, call.now) for rendition in renditions],
            "open_alerts": [alert_entry(live, alert) for alert in known.alerts.values()],
            "last": [score_entry(score) for score in last],
        }
    )


async def scores(call: Call) -> web.StreamResponse:
    """A stream's scores over time."""
    query: CourseQuery = call.query
    history = _history(call)
    now = datetime.fromtimestamp(call.now, UTC)
    start, end = _range(query, now)
    if query.step is None:
        length = step(start, end, USUAL_POINTS)
        course = history.course(call.part("id"), query.rendition, start, end, USUAL_POINTS)
    else:
        length = round(query.step * 1000) * MILLISECOND
        if (points := -((start - end) // length)) > MOST_POINTS:
            raise ApiError(400, f"step: {points} points are more than {MOST_POINTS}: a longer step or a shorter range", "step")
        course = _course(history, call.part("id"), query.rendition, start, end, length)
    buckets = await _asked(call, course)
    if not buckets:
        _known(call)
    items = [_point(bucket) for bucket in buckets]
    if query.format == "csv":
        return as_csv(items, tuple(CoursePoint.model_fields))
    at = iso_of(end if query.end is not None and end < now else now)
    content = {"items": items, "step": length.total_seconds(), "next": None, "at": at}
    if query.start is not None and query.end is not None and end < now - SETTLED:
        return cached(call.request, json_bytes(content), "application/json", "private, max-age=60")
    return json_answer(content)


async def _course(
    history: History, stream_id: str, rendition: str | None, start: datetime, end: datetime, length: timedelta
) -> list[Bucket]:
    """A course in buckets of this length, whole milliseconds; the last one is shorter where the range is no multiple of it."""
    whole = (end - start) // length
    rest = start + whole * length
    buckets = await history.course(stream_id, rendition, start, rest, whole) if whole else []
    if rest < end:
        buckets += await history.course(stream_id, rendition, rest, end, 1)
    return buckets


async def segments(call: Call) -> web.Response:
    """A stream's segments, the newest first."""
    query: SegmentsQuery = call.query
    history = _history(call)
    start, end = _range(query, datetime.fromtimestamp(call.now, UTC))
    before, given = _place(query.cursor) if query.cursor is not None else (None, 0)
    if before is not None:
        if given > MOST_GIVEN:
            before, given = before - 1, 0
        end = min(end, EPOCH + (before + 1) * MILLISECOND)
        if start >= end:  # a range without `from` moves on while its pages are read
            return json_answer({"items": [], "next": None, "at": iso(call.now)})
    # Renditions start together: of those that start where the page before ended, so many have been given.
    asked = history.segments(call.part("id"), query.rendition, start, end, given + query.limit + 1)
    newest = (await _asked(call, asked))[given:]
    if not newest and query.cursor is None:
        _known(call)
    page = newest[: query.limit]
    following = None
    if len(newest) > query.limit:
        starts = [(score.start - EPOCH) // MILLISECOND for score in page]
        following = cursor_of((starts[-1], starts.count(starts[-1]) + (given if starts[-1] == before else 0)))
    own = call.who.labels if call.who is not None else {}
    items = [score_entry(score) for score in page if not own or call.sees(score.labels)]
    return json_answer({"items": items, "next": following, "at": iso(call.now)})


async def segment(call: Call) -> web.Response:
    """One segment's whole score."""
    score = await whole_score(call)
    return cached(call.request, json_bytes(score_entry(score)), "application/json", "private, max-age=60")


async def whole_score(call: Call) -> SegmentScore:
    """The score of the path's segment. Raises `ApiError` where there is none that the caller may see."""
    segment_id, query = call.part("segment_id"), call.query
    assert isinstance(query, SegmentQuery)
    stream = call.wall.live.streams.get(call.part("id"))
    if stream is not None and call.sees(stream.labels):
        for rendition in stream.renditions.values():
            is_wanted = rendition.segment_id == segment_id and query.rendition in (None, rendition.name)
            if is_wanted and (score := _whole(rendition.last)) is not None:
                return score
    score = await _asked(call, _history(call).segment(call.part("id"), segment_id, query.rendition))
    if score is None or not call.sees(score.labels):
        raise not_found("segment")
    return score


def _whole(data: bytes) -> SegmentScore | None:
    """A score as it was read; None where it is none: the wall reads less of a score than this."""
    with contextlib.suppress(EventError):
        return SegmentScore.from_bytes(data)
    return None


async def pictures(call: Call) -> web.Response:
    """Which pictures are kept."""
    stream = _known(call)
    kept = stream.pictures
    named = (("last", kept.last), ("last_good", kept.last_good), ("first_bad", kept.first_bad))
    items = [_picture(stream, which, picture) for which, picture in named if picture is not None]
    return json_answer({"items": items, "next": None, "at": iso(call.now)})


async def picture(call: Call) -> web.StreamResponse:
    """A picture's bytes."""
    query: PictureQuery = call.query
    kept = _known(call).pictures
    shown = kept.last if query.at is None else kept.of_segment(query.at, query.rendition)
    if shown is None:
        raise not_found("picture")
    return cached(call.request, shown.jpeg, "image/jpeg", "private, no-cache" if query.at is None else IMMUTABLE)


async def compare(call: Call) -> web.Response:
    """The last good picture and the first bad one."""
    stream = _known(call)
    query: CompareQuery = call.query
    kept = stream.pictures
    good, bad = (kept.last_good, kept.first_bad) if query.at is None else kept.around(query.at.timestamp())
    return json_answer(
        {
            "good": _picture(stream, "last_good", good) if good is not None else None,
            "bad": _picture(stream, "first_bad", bad) if bad is not None else None,
            "at": iso(call.now),
        }
    )


def _known(call: Call) -> Stream:
    """The stream of the path. Raises `ApiError` where there is none that the caller may see."""
    stream = call.wall.live.streams.get(call.part("id"))
    if stream is None or not call.sees(stream.labels):
        raise not_found("stream")
    return stream


def _range(query: CourseQuery | SegmentsQuery, now: datetime) -> tuple[datetime, datetime]:
    """The range that is asked for. Raises `ApiError` where it is empty."""
    end = query.end or now
    try:
        start = query.start or end - USUAL_RANGE
    except OverflowError:
        raise ApiError(400, "to: it is too early", "to") from None
    if start >= end:
        raise empty_range()
    return start, end


def _place(cursor: str) -> tuple[int, int]:
    """Where a page ended: its last start, milliseconds since 1970, and how many segments with it were given."""
    key = key_of(cursor)
    if len(key) != 2 or not all(type(part) is int for part in key):
        raise foreign_cursor()
    start, given = key
    if not 0 <= start < LATEST or not 1 <= given < MOST_SEGMENTS:
        raise foreign_cursor()
    return start, given


def _history(call: Call) -> History:
    """The history, for a stream that the caller may see: one that is gone belongs to those who see all."""
    if call.who is not None and call.who.labels:
        _known(call)
    if call.wall.history is None:
        raise ApiError(503, "the wall has no history", Retry_After="60")
    return call.wall.history


async def _asked(call: Call, question: Awaitable[T]) -> T:
    """The history's answer. Only a few questions are asked at once, so that the store stays the workers'."""
    wall = call.wall
    if wall.questions.locked():
        close = getattr(question, "close", None)
        if close is not None:
            close()
        raise ApiError(503, "the store is busy with other questions", Retry_After="1")
    async with wall.questions:
        try:
            return await asyncio.wait_for(question, wall.limits.history_seconds)
        except TimeoutError:
            raise ApiError(503, "the store did not answer in time: ask for less", Retry_After="5") from None
        except HistoryError as error:
            raise ApiError(503, f"the store does not answer: {error}", Retry_After="5") from error


def _point(bucket: Bucket) -> dict[str, Any]:
    return {
        "t": iso_of(bucket.start),
        "mean": rounded(bucket.mean),
        "min": rounded(bucket.low),
        "max": rounded(bucket.high),
        "n": bucket.count,
        "uncertainty": rounded(bucket.uncertainty),
    }


def _picture(stream: Stream, which: str, kept: Picture) -> dict[str, Any]:
    name = quote(stream.id, safe="").replace(".", "%2E")
    address = {"at": kept.segment_id} | ({"rendition": kept.rendition} if kept.rendition is not None else {})
    return {
        "which": which,
        "segment_id": kept.segment_id,
        "start": iso(kept.start),
        "score": rounded(kept.score),
        "width": kept.width,
        "height": kept.height,
        "rendition": kept.rendition,
        "url": f"/api/v1/streams/{name}/picture.jpg?{urlencode(address, quote_via=quote, safe='')}",
    }
