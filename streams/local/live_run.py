"""What is known of live streams that `fvq up` follows. It runs for days, so everything here has a bound."""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from streams.errors import EventError
from streams.events import ALERTS_TOPIC, SCORES_TOPIC, QualityAlert, SegmentEvent, SegmentScore
from streams.local.run import ascii_line
from streams.topic_names import Named

RECENT = 1000
"""Scores, ids of segments and alerts that are kept of a stream, or of the run."""

Key = tuple[str, str | None]
"""A stream's id, and the rendition's name."""


@dataclass
class LiveStream:
    """One stream's answers. recent: its last scores. lowest: None before the first score. reason: the last dead letter's."""

    latest: SegmentScore | None = None
    recent: deque[SegmentScore] = field(default_factory=lambda: deque(maxlen=RECENT))
    scored: int = 0
    total: float = 0.0
    lowest: float | None = None
    skipped: int = 0
    failed: int = 0
    reason: str = ""

    @property
    def answered(self) -> int:
        """Segments that have a score, were skipped, or have a dead letter."""
        return self.scored + self.skipped + self.failed

    def take(self, score: SegmentScore) -> None:
        """Note an answer."""
        self.latest = score
        if score.score is None:
            self.skipped += 1
            return
        self.scored += 1
        self.total += score.score
        self.lowest = score.score if self.lowest is None else min(self.lowest, score.score)
        self.recent.append(score)


class LiveRun:
    """The answers about some streams, and the states of their sources.

    names: of the streams that belong to this run. named: what topics are called on its brokers. sources: the rows of
    `fvq ingest status`, by stream and rendition. problem: why the run ended early. ends: by partition, the offset after the last
    message on the topic of scores that was read.
    """

    def __init__(self, names: Collection[str], named: Named) -> None:
        self._names = frozenset(names)
        self._alerts, self._scores = named(ALERTS_TOPIC), named(SCORES_TOPIC)
        self.streams: dict[Key, LiveStream] = {}
        self.sources: dict[Key, Mapping[str, Any]] = {}
        self.alerts: OrderedDict[tuple[str, str], QualityAlert] = OrderedDict()
        self.fired = self.resolved = self.scored = 0
        self.problem = ""
        self.ends: dict[int, int] = {}
        self._ids: OrderedDict[str, None] = OrderedDict()

    @property
    def has_ended(self) -> bool:
        """Whether all sources have ended, and each of their segments has an answer."""
        if not self.sources or any(source["state"] != "ended" for source in self.sources.values()):
            return False
        announced = sum(int(source["announced"]) for source in self.sources.values())
        return sum(stream.answered for stream in self.streams.values()) >= announced

    def take(self, message: Any) -> str | None:
        """Note a message from the topics of scores, alerts or dead letters; returns its line for `fvq up --json`.

        None where the message says nothing new about this run, or cannot be read: other programs may write to these topics.
        """
        try:
            if message.topic == self._alerts:
                return self._take_alert(QualityAlert.from_bytes(message.value))
            if message.topic == self._scores:
                self.ends[message.partition] = message.offset + 1
                return self._take_score(SegmentScore.from_bytes(message.value), message.value)
            headers = {name: (value or b"").decode(errors="replace") for name, value in message.headers}
            return self._take_dead_letter(SegmentEvent.from_bytes(message.value), headers.get("reason", "no reason given"))
        except EventError:
            return None

    def take_sources(self, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Note the states of the sources; returns those whose state is another than before."""
        before, self.sources = self.sources, {(row["stream"], row["rendition"]): row for row in rows}
        return [row for key, row in self.sources.items() if before.get(key, {}).get("state") != row["state"]]

    def _is_new(self, stream_id: str, segment_id: str) -> bool:
        """Whether this is the first answer to a segment of this run: answers may come twice."""
        if stream_id not in self._names or segment_id in self._ids:
            return False
        self._ids[segment_id] = None
        if len(self._ids) > RECENT * max(1, len(self._names)):
            self._ids.popitem(last=False)
        return True

    def _stream(self, answer: SegmentScore | SegmentEvent) -> LiveStream:
        return self.streams.setdefault((answer.stream_id, answer.rendition), LiveStream())

    def _take_score(self, score: SegmentScore, text: bytes) -> str | None:
        if not self._is_new(score.stream_id, score.segment_id):
            return None
        self._stream(score).take(score)
        self.scored += score.score is not None
        return ascii_line(text)

    def _take_dead_letter(self, event: SegmentEvent, reason: str) -> str | None:
        if not self._is_new(event.stream_id, event.segment_id):
            return None
        stream = self._stream(event)
        stream.failed, stream.reason = stream.failed + 1, reason
        return json.dumps({"segment_id": event.segment_id, "error": reason})

    def _take_alert(self, alert: QualityAlert) -> str | None:
        key = alert.alert_id, alert.state
        if key in self.alerts or alert.stream_id not in self._names:
            return None
        self.alerts[key] = alert
        if len(self.alerts) > RECENT:
            self.alerts.popitem(last=False)
        self.fired += alert.state == "firing"
        self.resolved += alert.state == "resolved"
        return json.dumps({"alert": alert.model_dump(mode="json", exclude_none=True)})


def source_line(row: Mapping[str, Any], now: datetime | None = None) -> str:
    """A source's new state as a line for scripts."""
    facts = {name: row[name] for name in ("stream", "rendition", "state", "reason", "counts")}
    return json.dumps({"source": facts | {"at": (now or datetime.now(UTC)).isoformat()}})
