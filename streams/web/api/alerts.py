"""Routes about alerts, and their acknowledgement."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from streams.errors import BrokerError
from streams.events import AlertAcknowledgement, AlertKind, QualityAlert
from streams.web.api.answers import iso
from streams.web.api.cursors import page_of
from streams.web.api.problems import ApiError, empty_range, not_found
from streams.web.api.queries import AckBody, AlertsQuery
from streams.web.api.rows import as_csv
from streams.web.api.table import Call, json_answer, tag_of, with_next
from streams.web.labels import has_text
from streams.web.stream import is_acknowledged
from streams.web.wire import alert_entry

KINDS: tuple[str, ...] = AlertKind.__args__  # type: ignore[attr-defined]

CSV_COLUMNS = (
    "alert_id", "stream_id", "rendition", "kind", "state", "severity", "started_at", "ended_at", "value", "threshold", "baseline",
    "summary", "cause", "labels", "acknowledged_by", "acknowledged_at", "note",
)  # fmt: skip


async def alerts(call: Call) -> web.Response:
    """Alerts, the latest first."""
    query: AlertsQuery = call.query
    if unknown := set(query.kind) - set(KINDS):
        raise ApiError(400, f"kind: {min(unknown)!r} is none of {', '.join(KINDS)}", "kind")
    if query.start is not None and query.end is not None and query.start >= query.end:
        raise empty_range()
    labels = query.labels()
    chosen = [
        alert
        for alert in call.wall.live.alerts.values()
        if _is_in(call, alert, query.state)
        and (query.start is None or alert.ended_at is None or alert.ended_at > query.start)
        and (query.end is None or alert.started_at < query.end)
        and (not query.kind or alert.kind in query.kind)
        and (query.stream_id is None or alert.stream_id == query.stream_id)
        and (not query.q or _has_text(alert, query.q))
        and labels.admits(alert.labels)
        and call.sees(alert.labels)
    ]
    page, following = page_of(sorted(chosen, key=_key), _key, query.cursor, query.limit, "alerts")
    entries = [alert_entry(call.wall.live, alert) for alert in page]
    if query.format == "csv":
        return with_next(call, as_csv((_csv_row(entry) for entry in entries), CSV_COLUMNS), following)
    return json_answer({"items": entries, "next": following, "at": iso(call.now)})


async def alert(call: Call) -> web.Response:
    """One alert. Its ETag is that of its acknowledgement."""
    known = _known(call)
    ack = call.wall.live.acks.get(known.alert_id)
    return json_answer(alert_entry(call.wall.live, known), ETag=tag_of(ack))


async def acknowledge(call: Call) -> web.Response:
    """Acknowledge an alert, or change the acknowledgement."""
    # Until the change is kept, nobody else may go by what was there before.
    async with call.wall.turn(call.part("id")):
        return await _acknowledge(call)


async def _acknowledge(call: Call) -> web.Response:
    alert, live, body = _known(call), call.wall.live, call.body
    assert isinstance(body, AckBody)
    _check_tag(call, alert)
    if alert.state == "resolved":
        raise ApiError(409, "the alert is over: there is nothing to acknowledge")
    if body.until is not None and body.until.timestamp() <= call.now:
        raise ApiError(400, "until: it is over already", "until")
    before = live.acks.get(alert.alert_id)
    by = call.who.name if call.who is not None else "nobody"
    if before is not None and (before.by, before.note, before.until) == (by, body.note, body.until):
        return json_answer(alert_entry(live, alert), ETag=tag_of(before))
    ack = AlertAcknowledgement(
        alert_id=alert.alert_id,
        by=by,
        note=body.note,
        until=body.until,
        at=datetime.fromtimestamp(round(call.now, 3), UTC),
        stream_id=alert.stream_id,
    )
    await _write(call, alert.alert_id, ack)
    return json_answer(alert_entry(live, alert), 201 if before is None else 200, ETag=tag_of(ack))


async def take_back(call: Call) -> web.Response:
    """Take an acknowledgement back."""
    async with call.wall.turn(call.part("id")):
        alert = _known(call)
        _check_tag(call, alert)
        if alert.alert_id in call.wall.live.acks:
            await _write(call, alert.alert_id, None)
    return web.Response(status=204)


async def _write(call: Call, alert_id: str, ack: AlertAcknowledgement | None) -> None:
    """Keep an acknowledgement in Kafka, then in this process, which else would know it only when it reads it back."""
    try:
        await call.wall.write_ack(alert_id, ack)
    except BrokerError as error:
        raise ApiError(503, f"the acknowledgement could not be kept: {error}", Retry_After="5") from error
    call.wall.live.set_ack(alert_id, ack)


def _check_tag(call: Call, alert: QualityAlert) -> None:
    """Raise `ApiError` where the caller's knowledge of the acknowledgement is old: another was faster."""
    ack = call.wall.live.acks.get(alert.alert_id)
    tag = tag_of(ack)
    wanted = call.request.headers.get("If-Match")
    # Who compresses an answer on its way, as this wall or a proxy, makes its tag a weak one; it is the same acknowledgement.
    tags = [part.strip().removeprefix("W/") for part in (wanted or "").split(",")]
    if wanted is not None and tag not in tags and not (wanted == "*" and ack is not None):
        by = f"{ack.by} acknowledged it" if ack is not None else "it is not acknowledged any more"
        raise ApiError(412, f"another was faster: {by}", ETag=tag)
    if call.request.headers.get("If-None-Match") == "*" and ack is not None and is_acknowledged(ack, call.now):
        raise ApiError(412, f"{ack.by} has acknowledged it already", ETag=tag)


def _known(call: Call) -> QualityAlert:
    alert = call.wall.live.alerts.get(call.part("id"))
    if alert is None or not call.sees(alert.labels):
        raise not_found("alert")
    return alert


def _is_in(call: Call, alert: QualityAlert, state: str) -> bool:
    if state == "all":
        return True
    if state in ("firing", "resolved"):
        return alert.state == state
    acked = call.wall.live.acknowledged(alert.alert_id, call.now)
    return alert.state == "firing" and acked == (state == "acknowledged")


def _has_text(alert: QualityAlert, text: str) -> bool:
    """Whether an alert's stream, a label or its kind has this text; a kind also as the page writes it: `quality drop`."""
    kinds = (alert.kind, alert.kind.replace("-", " "))
    return has_text(alert.stream_id, alert.labels, text) or any(text.casefold() in kind for kind in kinds)


def _key(alert: QualityAlert) -> tuple[float, str]:
    return -round(alert.started_at.timestamp(), 3), alert.alert_id


def _csv_row(entry: dict[str, Any]) -> dict[str, Any]:
    ack, told = entry["ack"] or {}, entry["alert"]
    return {
        **told,
        "cause": told.get("cause", {}).get("text", ""),
        "acknowledged_by": ack.get("by"),
        "acknowledged_at": ack.get("at"),
        "note": ack.get("note"),
    }
