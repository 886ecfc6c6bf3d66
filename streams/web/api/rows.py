"""Streams and alerts as the API's items, and lists as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aiohttp import web

from streams.text import csv_text
from streams.web.api.answers import iso
from streams.web.courses import Courses, usual_signals
from streams.web.reading import SIGNALS
from streams.web.rendition import Rendition, is_stale, level_of_score
from streams.web.stream import Row


def item_of(row: Row) -> dict[str, Any]:
    """A row as a `StreamItem`."""
    return {
        "stream_id": row.stream_id,
        "rendition": row.rendition,
        "labels": row.labels,
        "state": row.state,
        "since": iso(row.since),
        "score": rounded(row.score),
        "smoothed": rounded(row.smoothed),
        "level": level_of_score(row.smoothed) or None,
        "usual": rounded(row.usual),
        "uncertainty": rounded(row.uncertainty),
        "lag": rounded(row.lag),
        "alerts": list(row.alerts),
        "acknowledged": row.acked,
        "segment_id": row.segment_id or None,
        "at": iso(row.at),
        "model": row.model or None,
        "maintenance_until": iso(row.maintenance),
    }


def rendition_of(rendition: Rendition, courses: Courses, now: float) -> dict[str, Any]:
    """A rendition as a `RenditionItem`."""
    course = courses.last(rendition.row)
    usual = usual_signals(course)
    last = course.signals[-1] if len(course.signals) else None
    signals = {}
    for place, name in enumerate(SIGNALS):
        value = None if last is None or last[place] != last[place] else round(float(last[place]), 4)
        signals[name] = {"value": value, "usual": usual[name]}
    return {
        "rendition": rendition.name or None,
        "state": "stale" if is_stale(rendition, now) else "live",
        "score": rounded(rendition.score),
        "smoothed": rounded(rendition.smoothed),
        "level": level_of_score(rendition.smoothed) or None,
        "usual": rounded(rendition.usual),
        "uncertainty": rounded(rendition.uncertainty),
        "lag": rounded(rendition.lag),
        "duration": rendition.duration,
        "segment_id": rendition.segment_id or None,
        "at": iso(rendition.until),
        "model": rendition.model or None,
        "tier": rendition.tier or None,
        "signals": signals,
    }


def as_csv(items: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> web.Response:
    """Items as CSV with a header line. Texts that a spreadsheet would run as a formula are quoted."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for item in items:
        writer.writerow([_cell(item.get(column)) for column in columns])
    return web.Response(body=text.getvalue().encode(), headers={"Content-Type": "text/csv; charset=utf-8; header=present"})


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Mapping):
        return csv_text(" ".join(f"{name}:{text}" for name, text in sorted(value.items())))
    if isinstance(value, list | tuple):
        return csv_text(" ".join(str(part) for part in value))
    return csv_text(str(value))


def rounded(value: float | None) -> float | None:
    """A number to hundredths; None for none."""
    return None if value is None else round(value, 2)
