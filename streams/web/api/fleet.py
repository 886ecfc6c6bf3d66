"""Routes about the fleet: its figures, its health, its streams, groups of alerts."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from streams.web.api.answers import Health, ShiftItem, StreamItem, iso, iso_of
from streams.web.api.cursors import page_of
from streams.web.api.problems import ApiError
from streams.web.api.queries import GroupsQuery, StreamsQuery
from streams.web.api.rows import as_csv, item_of
from streams.web.api.table import Call, json_answer, with_next
from streams.web.groups import groups_of
from streams.web.labels import LabelFilter, has_text
from streams.web.stream import STATES, Row
from streams.web.summary import summary_of

STREAM_FIELDS = tuple(StreamItem.model_fields)


async def summary(call: Call) -> web.Response:
    """The fleet in numbers."""
    return json_answer(summary_of(call.wall.live, _labels(call, call.query.labels()), call.now))


async def health(call: Call) -> web.Response:
    """How the monitor itself is."""
    wall = call.wall
    ready, problem = wall.reading()
    labels = _labels(call, LabelFilter())
    figures = summary_of(wall.live, labels, call.now)
    shifts = [
        ShiftItem(
            name=shift.update.name,
            version=shift.update.version,
            before=shift.update.before,
            time=iso_of(shift.update.time),
            # These are of the whole fleet.
            median_before=None if labels else shift.before,
            median_after=None if labels else shift.after,
        )
        for shift in wall.live.pulse.shifts()
    ]
    return json_answer(
        Health(
            ready=ready,
            reading="starting" if not ready else "waiting" if problem else "following",
            problem=problem,
            shifts=shifts,
            sockets=wall.sockets(),
            **figures.model_dump(include={"lag_p95", "scored_per_second", "skipped_share", "dead_letters_per_minute", "models"}),
        )
    )


async def streams(call: Call) -> web.Response:
    """Streams, the worst first."""
    query: StreamsQuery = call.query
    if unknown := set(query.state) - set(STATES):
        raise ApiError(400, f"state: {min(unknown)!r} is none of {', '.join(STATES)}", "state")
    fields = _fields(query.fields)
    labels = _labels(call, query.labels())
    rows = [
        row
        for row in call.wall.live.rows(call.now)
        if labels.admits(row.labels)
        and (not query.state or row.state in query.state)
        and (query.below is None or (row.smoothed is not None and round(row.smoothed, 2) < query.below))
        and (not query.q or has_text(row.stream_id, row.labels, query.q))
    ]
    key = _KEYS[query.sort]
    page, following = page_of(sorted(rows, key=key), key, query.cursor, query.limit, f"streams by {query.sort}")
    items: list[dict[str, Any]] = [item_of(row) for row in page]
    if query.format == "csv":
        return with_next(call, as_csv(items, fields or STREAM_FIELDS), following)
    if fields:
        items = [{name: item[name] for name in fields} for item in items]
    return json_answer({"items": items, "next": following, "at": iso(call.now)})


async def groups(call: Call) -> web.Response:
    """Alerts that most likely have one cause."""
    query: GroupsQuery = call.query
    labels = _labels(call, query.labels())
    alerts = [alert for alert in call.wall.live.firing() if labels.admits(alert.labels)]
    fleet = [stream.labels for stream in call.wall.live.streams.values() if labels.admits(stream.labels)]
    items = [group.as_item() for group in groups_of(alerts, fleet, query.by)]
    return json_answer({"items": items, "next": None, "at": iso(call.now)})


def _labels(call: Call, asked: LabelFilter) -> LabelFilter:
    """The labels that a list is limited to. Raises `ApiError` where the token may see nothing of what is asked for."""
    own = call.who.labels if call.who is not None else {}
    left = asked.within(own)
    if left is None:
        raise ApiError(403, f"the token sees only {', '.join(f'{name}:{value}' for name, value in own.items())}", "label")
    return left


def _fields(text: str | None) -> list[str]:
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    if unknown := [name for name in names if name not in STREAM_FIELDS]:
        raise ApiError(400, f"fields: there is no field {unknown[0][:50]!r}; there are {', '.join(STREAM_FIELDS)}", "fields")
    return list(dict.fromkeys(names))


def _score_key(row: Row) -> tuple[Any, ...]:
    return (1000.0 if row.smoothed is None else round(row.smoothed, 2)), row.stream_id


_KEYS: dict[str, Any] = {
    "worst": Row.worst_first,
    "score": _score_key,
    "id": lambda row: (row.stream_id,),
    "since": lambda row: (-round(row.since, 3), row.stream_id),
}
