"""What is known of one run of `fvq up`: its segments, their answers, and the alerts about them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from streams.errors import EventError
from streams.events import ALERTS_TOPIC, SCORES_TOPIC, QualityAlert, SegmentEvent, SegmentScore
from streams.topic_names import Named

_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
"""What a line for scripts escapes, so that standard output takes it in every encoding."""


def ascii_line(text: bytes) -> str:
    """A message's JSON as a line for scripts."""
    return _NOT_ASCII.sub(lambda match: json.dumps(match[0])[1:-1], text.decode())


class Run:
    """The segments of one run by id, and what the worker answered to each, in the order of arrival.

    named: what topics are called on the run's brokers. failed: the reason in the dead letter. worker_exit: the worker's exit
    code, None while it runs. interrupted: the user pressed Ctrl-C. ends: by partition, the offset after the last message on the
    topic of scores that was read.
    """

    def __init__(self, events: Iterable[SegmentEvent], named: Named) -> None:
        self._alerts, self._scores = named(ALERTS_TOPIC), named(SCORES_TOPIC)
        self.events = {event.segment_id: event for event in events}
        self.scores: dict[str, SegmentScore] = {}
        self.failed: dict[str, str] = {}
        self.alerts: dict[tuple[str, str], QualityAlert] = {}
        self.worker_exit: int | None = None
        self.interrupted = False
        self.ends: dict[int, int] = {}

    @property
    def answered(self) -> int:
        """Number of segments that have a score or a dead letter."""
        return sum(1 for segment_id in self.events if segment_id in self.scores or segment_id in self.failed)

    def take(self, message: Any) -> str | None:
        """Note a message from the topics of scores, alerts or dead letters; returns its line for `fvq up --json`.

        None where the message says nothing new about this run. Other programs may write to these topics too, so a message
        that cannot be read is ignored.
        """
        try:
            if message.topic == self._alerts:
                return self._take_alert(QualityAlert.from_bytes(message.value))
            if message.topic == self._scores:
                self.ends[message.partition] = message.offset + 1
                return self._take_score(SegmentScore.from_bytes(message.value), message.value)
        except EventError:
            return None
        return self._take_dead_letter({name: (value or b"").decode(errors="replace") for name, value in message.headers})

    def _take_alert(self, alert: QualityAlert) -> str | None:
        key = alert.alert_id, alert.state
        if key in self.alerts or alert.segment_id not in self.events:
            return None
        self.alerts[key] = alert
        return json.dumps({"alert": alert.model_dump(mode="json", exclude_none=True)})

    def _take_score(self, score: SegmentScore, text: bytes) -> str | None:
        if score.segment_id in self.scores or score.segment_id not in self.events:
            return None
        self.scores[score.segment_id] = score
        return ascii_line(text)

    def _take_dead_letter(self, headers: dict[str, str]) -> str | None:
        segment_id = headers.get("segment_id", "")
        if segment_id not in self.events:
            return None
        reason = headers.get("reason", "no reason given")
        self.failed[segment_id] = reason
        return json.dumps({"segment_id": segment_id, "error": reason})
