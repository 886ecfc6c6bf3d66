"""Routes about the clips that wait to be rated."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from streams.errors import MediaError
from streams.events import TrainingExample
from streams.web.api.answers import iso, iso_of
from streams.web.api.cursors import page_of
from streams.web.api.problems import ApiError, empty_range, not_found
from streams.web.api.queries import ClipsQuery
from streams.web.api.table import FOR_WHOM, IMMUTABLE, Call, json_answer
from streams.web.clips import Clips
from streams.web.labels import has_text


async def clips(call: Call) -> web.Response:
    """Clips that wait to be rated."""
    query: ClipsQuery = call.query
    if query.start is not None and query.end is not None and query.start >= query.end:
        raise empty_range()
    labels = query.labels()
    chosen = [
        example
        for example in _clips(call).examples()
        if call.sees(example.labels) and labels.admits(example.labels) and _is_asked_for(example, query)
    ]
    key, order = (_worst_key, "the worst clips") if query.worst else (_newest_key, "the newest clips")
    page, following = page_of(sorted(chosen, key=key), key, query.cursor, query.limit, order)
    return json_answer({"items": [_item(example) for example in page], "next": following, "at": iso(call.now)})


async def clip(call: Call) -> web.StreamResponse:
    """A clip as MP4, in ranges too."""
    kept = _clips(call)
    example_id = call.part("id")
    example = next((known for known in kept.examples() if known.example_id == example_id and call.sees(known.labels)), None)
    if example is None:
        raise not_found("clip")
    try:
        path = await kept.playable(example.example_id, example.clip_uri)
    except (MediaError, OSError) as error:
        raise ApiError(404, "this clip cannot be shown") from error
    return web.FileResponse(path, headers={"Content-Type": "video/mp4", "Cache-Control": IMMUTABLE, **FOR_WHOM})


def _clips(call: Call) -> Clips:
    if call.wall.clips is None:
        raise ApiError(503, "the wall has no clip store", Retry_After="60")
    return call.wall.clips


def _is_asked_for(example: TrainingExample, query: ClipsQuery) -> bool:
    return (
        (query.stream_id is None or example.stream_id == query.stream_id)
        and (not query.q or has_text(example.stream_id, example.labels, query.q))
        and (query.segment_id is None or example.segment_id == query.segment_id)
        and (query.rendition is None or (example.rendition or "") == query.rendition)
        and (query.start is None or example.start >= query.start)
        and (query.end is None or example.start < query.end)
    )


def _worst_key(example: TrainingExample) -> tuple[Any, ...]:
    return round(example.score, 3), example.example_id, example.stream_id


def _newest_key(example: TrainingExample) -> tuple[Any, ...]:
    return -example.queued_at.timestamp(), example.example_id, example.stream_id


def _item(example: TrainingExample) -> dict[str, Any]:
    return {
        "id": example.example_id,
        "stream_id": example.stream_id,
        "segment_id": example.segment_id,
        "rendition": example.rendition,
        "start": iso_of(example.start),
        "duration": example.duration,
        "score": round(example.score, 2),
        "uncertainty": round(example.uncertainty, 2),
        "reason": example.reason,
        "model": f"{example.model.name}@{example.model.version}",
        "labels": example.labels,
        "queued_at": iso_of(example.queued_at),
        "url": f"/api/v1/clips/{example.example_id}.mp4",
    }
