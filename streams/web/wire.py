"""What a browser is told: a snapshot, then columns of what has changed. Texts are made once for all browsers of a feed.

A feed is everything that carries certain labels. In a snapshot, place i of every column is stream i; frames name streams by
that place. Scores in frames are tenths of a point and lags tenths of a second, both whole numbers; None where there is none.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from streams.events import QualityAlert, SegmentScore
from streams.media.shown import without_user
from streams.web.labels import LabelFilter
from streams.web.live import Changes, Live
from streams.web.stream import STATES, Row, Stream
from streams.web.summary import summary_of

SPARK_POINTS = 60
USUAL_MOVED = 1.0
"""The usual score is told anew when it has moved by this, points."""

_STATE_NUMBERS = {name: number for number, name in enumerate(STATES)}


class Feed:
    """The streams that a filter admits."""

    def __init__(self, live: Live, labels: LabelFilter) -> None:
        self.live, self.labels = live, labels
        self._ids: list[str | None] = []
        self._places: dict[str, int] = {}
        self._told: list[tuple[Any, ...]] = []
        self._snapshot = (-1, "")
        self._restart()

    def admits(self, labels: Mapping[str, str]) -> bool:
        """Whether a stream or an alert with these labels belongs to the feed."""
        return self.labels.admits(labels)

    def snapshot(self, now: float) -> str:
        """Everything as it is after the last frame."""
        if self._snapshot[0] != self._n:
            self._snapshot = (self._n, _text(self._whole(now)))
        return self._snapshot[1]

    def compact(self) -> bool:
        """Number the streams anew where some are gone; then every browser needs a snapshot. Returns whether that was needed."""
        if all(stream_id is not None for stream_id in self._ids):
            return False
        self._restart()
        return True

    def frames(self, changes: Changes, now: float) -> list[str]:
        """The frames that tell these changes, in the order in which they are to be sent."""
        rows = [
            self.live.row(self.live.streams[stream_id], now)
            for stream_id in sorted(changes.streams)
            if stream_id in self.live.streams and (not self.labels or self.admits(self.live.streams[stream_id].labels))
        ]
        gone = {stream_id for stream_id in changes.gone if stream_id in self._places}
        if self.labels:
            # A stream that lost the label has left this feed.
            gone |= {id for id in changes.streams if id in self._places and not self.admits(self.live.streams[id].labels)}
        # First what is gone: a stream that was forgotten and is there again begins anew, without its alerts of before.
        frames = [streams] if (streams := self._streams_frame([], sorted(gone), now)) else []
        # A stream that comes back into the feed brings its alerts: browsers dropped them when it left.
        alerts = [*changes.alerts, *(id for row in rows if row.stream_id not in self._places for id in row.alerts)]
        if streams := self._streams_frame(rows, [], now):
            frames.append(streams)
        if rows:
            frames.append(self._scores_frame(rows, now))
        for alert_id in dict.fromkeys(alerts):
            alert = self.live.alerts.get(alert_id)
            if alert is not None and self.admits(alert.labels):
                frames.append(self._framed("alert", now, alert_entry(self.live, alert)))
        return frames

    def summary(self, now: float, problem: str = "") -> str:
        """The figures of the feed's streams, as told once a second. problem: why nothing new is read; '' where it is."""
        figures = summary_of(self.live, self.labels, now).model_dump()
        return _text({"type": "summary", "at": _time(now), "problem": problem, **figures})

    def sparks(self, places: Iterable[int]) -> str:
        """The last scores of streams by their places, for sparklines; places that no stream has are left out."""
        columns: list[list[int | None]] = []
        known, ends = [], []
        for place in places:
            stream = self._stream_at(place)
            row = stream.row if stream is not None else None
            rendition = stream.renditions.get((row.rendition if row else None) or "") if stream is not None else None
            if rendition is None:
                continue
            scores = self.live.courses.last(rendition.row, SPARK_POINTS).score
            known.append(place)
            ends.append(_tenths(rendition.until))
            columns.append([None if np.isnan(score) else round(float(score) * 10) for score in scores])
        return _text({"type": "sparks", "i": known, "e": ends, "s": columns})

    def has(self, stream_id: str) -> bool:
        """Whether the feed has this stream."""
        return stream_id in self._places

    def _restart(self) -> None:
        self._epoch, self._n = secrets.token_urlsafe(6), 0
        self._ids, self._places, self._told = [], {}, []
        self._snapshot = (-1, "")
        for stream in self.live.streams.values():
            if self.admits(stream.labels):
                self._place(stream.id)

    def _place(self, stream_id: str) -> int:
        self._places[stream_id] = len(self._ids)
        self._ids.append(stream_id)
        self._told.append(())
        return len(self._ids) - 1

    def _stream_at(self, place: int) -> Stream | None:
        stream_id = self._ids[place] if 0 <= place < len(self._ids) else None
        return self.live.streams.get(stream_id) if stream_id is not None else None

    def _whole(self, now: float) -> dict[str, Any]:
        columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
        for place, stream_id in enumerate(self._ids):
            stream = self.live.streams.get(stream_id) if stream_id is not None else None
            entry = dict.fromkeys(_COLUMNS)
            if stream is not None:
                row = self.live.row(stream, now)
                entry = _entry(row)
                # Only where no frame has told it yet: other browsers have not seen this snapshot.
                self._told[place] = self._told[place] or _slow(row)
            for name in _COLUMNS:
                columns[name].append(entry[name])
        alerts = [alert_entry(self.live, alert) for alert in self.live.firing() if self.admits(alert.labels)]
        return {
            "type": "snapshot", "epoch": self._epoch, "n": self._n, "at": _time(now), "states": STATES, "streams": columns,
            "alerts": alerts,
        }  # fmt: skip

    def _streams_frame(self, rows: list[Row], gone: list[str], now: float) -> str:
        """Streams that are new, or of which something has changed that `scores` does not tell; '' where there are none."""
        add = []
        for row in rows:
            place = self._places.get(row.stream_id)
            if place is None:
                place = self._place(row.stream_id)
            elif not _moved(self._told[place], _slow(row)):
                continue
            self._told[place] = _slow(row)
            add.append({"i": place, **_entry(row)})
        places = []
        for stream_id in gone:
            place = self._places.pop(stream_id)
            self._ids[place], self._told[place] = None, ()
            places.append(place)
        return self._framed("streams", now, {"add": add, "gone": places}) if add or places else ""

    def _scores_frame(self, rows: list[Row], now: float) -> str:
        columns = {
            "i": [self._places[row.stream_id] for row in rows],
            "e": [_tenths(row.at) for row in rows],
            "s": [_tenths(row.score) for row in rows],
            "m": [_tenths(row.smoothed) for row in rows],
            "u": [_tenths(row.uncertainty) for row in rows],
            "k": [_STATE_NUMBERS[row.state] for row in rows],
            "l": [_tenths(row.lag) for row in rows],
        }
        return self._framed("scores", now, columns)

    def _framed(self, kind: str, now: float, content: Mapping[str, Any]) -> str:
        self._n += 1
        return _text({"type": kind, "n": self._n, "at": _time(now), **content})


_COLUMNS = ("id", "rendition", "labels", "since", "usual", "score", "smoothed", "uncertainty", "lag", "state", "maintenance")


def score_entry(score: SegmentScore) -> dict[str, Any]:
    """A segment's score for whoever may read scores: its addresses are without user and password."""
    entry = score.model_dump(mode="json", exclude_none=True)
    for part in (entry, entry.get("key", {})):
        part |= {name: without_user(part[name]) for name in ("uri", "init_uri") if name in part}
    return entry


def alert_entry(live: Live, alert: QualityAlert) -> dict[str, Any]:
    """An alert with its acknowledgement, None where it has none."""
    ack = live.acks.get(alert.alert_id)
    return {
        "alert": alert.model_dump(mode="json", exclude_none=True),
        "ack": ack.model_dump(mode="json", exclude_none=True) if ack is not None else None,
    }


def _entry(row: Row) -> dict[str, Any]:
    return {
        "id": row.stream_id,
        "rendition": row.rendition,
        "labels": row.labels,
        "since": round(row.since, 3),
        "usual": _rounded(row.usual),
        "score": _rounded(row.score),
        "smoothed": _rounded(row.smoothed),
        "uncertainty": _rounded(row.uncertainty),
        "lag": _rounded(row.lag),
        "state": _STATE_NUMBERS[row.state],
        "maintenance": row.maintenance,
    }


def _slow(row: Row) -> tuple[Any, ...]:
    """What rarely changes of a row."""
    return row.usual, row.rendition, row.labels, row.since, row.maintenance


def _moved(told: tuple[Any, ...], slow: tuple[Any, ...]) -> bool:
    if told[1:] != slow[1:]:
        return True
    before, now = told[0], slow[0]
    return (before is None) != (now is None) or (before is not None and abs(before - now) >= USUAL_MOVED)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _time(now: float) -> float:
    """A frame's time, to the millisecond as an acknowledgement's end: coarser, it could be before an end that the frame tells."""
    return round(now, 3)


def _tenths(value: float | None) -> int | None:
    return None if value is None else round(value * 10)


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False)
