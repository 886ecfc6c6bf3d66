"""For tests of alerts: scores as a worker makes them, the alert agent's topics in memory, and a web server that takes alerts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

from kafka import TopicPartition

from scorer.spec import level_of
from streams.alerts.clock import end_of
from streams.alerts.detector import step
from streams.alerts.limits import Alerts
from streams.alerts.policy import default_limits
from streams.alerts.state import StreamState, from_json
from streams.events import ALERT_STATE_TOPIC, ALERTS_TOPIC, QualityAlert, SegmentScore, Signals

BEGIN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECONDS = 2.0


def make_score(
    sequence: int,
    score: float | None = 70.0,
    *,
    stream: str = "channel",
    black: float = 0.0,
    freeze: float = 0.0,
    begin: datetime = BEGIN,
    signals: dict[str, float] | None = None,
    **fields: object,
) -> SegmentScore:
    """The score of a segment of two seconds. score: points; None for a segment that was skipped. begin: start of segment 0.

    signals: those that differ from a good picture's.
    """
    usual = {"blur": 0.1, "blockiness": 0.1, "noise": 1, "luma": 100, "contrast": 30}
    measured = Signals(**{"black": black, "freeze": freeze} | usual | (signals or {}))
    return SegmentScore(
        stream_id=stream,
        segment_id=f"{stream}/{sequence}",
        sequence=sequence,
        uri="file:///segment.ts",
        start=begin + timedelta(seconds=sequence * SECONDS),
        duration=SECONDS,
        status="skipped" if score is None else "scored",
        score=score,
        level=None if score is None else level_of(score),
        signals=None if score is None else measured,
        **fields,
    )


def fold(scores: Iterable[SegmentScore], limits: Alerts | None = None) -> tuple[StreamState, list[QualityAlert]]:
    """Calls `step` for the scores of one stream; returns the last state and all alerts."""
    state = StreamState("channel")
    alerts = []
    for score in scores:
        state, new_alerts = step(state, score, limits or default_limits())
        alerts += new_alerts
    return state, alerts


class Killed(Exception):
    """Raised by a double in place of the worker's death."""


class MemoryAlertTopics:
    """Stands for `streams.alerts.state_topic.AlertTopics`, with one partition: its topics outlive the worker.

    messages_left: number of messages and commits that the worker can send before it is killed.
    """

    def __init__(self, scores: list[SegmentScore]) -> None:
        self.records = [
            SimpleNamespace(offset=i, value=score.to_bytes(), timestamp=int(end_of(score).timestamp() * 1000))
            for i, score in enumerate(scores)
        ]
        self.topics: dict[str, list[tuple[str, bytes | None]]] = {ALERTS_TOPIC: [], ALERT_STATE_TOPIC: []}
        self.committed = 0
        self.messages_left = 0

    def commit(self, offsets: dict[TopicPartition, int]) -> None:
        self._count_message()
        (self.committed,) = offsets.values()

    def send_alerts(self, alerts: list[tuple[int, str, bytes | None]]) -> None:
        self._send(ALERTS_TOPIC, alerts)

    def send_states(self, states: list[tuple[int, str, bytes | None]]) -> None:
        self._send(ALERT_STATE_TOPIC, states)

    def _send(self, topic: str, messages: list[tuple[int, str, bytes | None]]) -> None:
        for _, key, value in messages:
            self._count_message()
            self.topics[topic].append((key, value))

    def seek_to_committed(self, _: TopicPartition) -> None:
        """Does nothing: the test reads `records` from `committed` on."""

    def states(self, _: int) -> Iterator[StreamState]:
        last = dict(self.topics[ALERT_STATE_TOPIC])
        return iter([from_json(value) for value in last.values() if value is not None])

    def last_alerts(self, _: int) -> list[QualityAlert]:
        return self.alerts()

    def alerts(self) -> list[QualityAlert]:
        """All alerts that were sent."""
        return [QualityAlert.from_bytes(value) for _, value in self.topics[ALERTS_TOPIC]]

    def _count_message(self) -> None:
        self.messages_left -= 1
        if self.messages_left < 0:
            raise Killed


@dataclass
class Webhook:
    """What a receiver's server answers, and what it took.

    statuses: the answers in turn; the last one is repeated. bodies, raw, headers, paths: of the requests that it answered with
    2xx; raw are the bodies' bytes.
    """

    url: str
    statuses: list[int] = field(default_factory=lambda: [200])
    bodies: list[object] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    answer_headers: dict[str, str] = field(default_factory=dict)


@contextmanager
def webhook(*statuses: int) -> Iterator[Webhook]:
    """Stands for a receiver of alerts: a web server on 127.0.0.1 that answers with these status codes, 200 without any."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = hook.statuses.pop(0) if len(hook.statuses) > 1 else hook.statuses[0]
            if status < 300:
                hook.bodies.append(json.loads(body))
                hook.raw.append(body)
                hook.headers.append(dict(self.headers))
                hook.paths.append(self.path)
            self.send_response(status)
            for name, value in hook.answer_headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook = Webhook(f"http://127.0.0.1:{server.server_port}/hooks/s3cret", list(statuses) or [200])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()


def stream_of(*stretches: tuple[int, float], **fields: object) -> list[SegmentScore]:
    """The scores of a stream. stretches: each a number of segments and their score."""
    values = [value for count, value in stretches for _ in range(count)]
    return [make_score(sequence, value, **fields) for sequence, value in enumerate(values)]


def kinds_and_states(alerts: list[QualityAlert]) -> list[tuple[str, str]]:
    """Kind and state of each alert."""
    return [(alert.kind, alert.state) for alert in alerts]
