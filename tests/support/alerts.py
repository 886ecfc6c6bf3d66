"""What tests of alerts are made of: scores as a worker makes them, and a web server that takes alerts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from scorer.spec import level_of
from streams.alerts.detector import step
from streams.alerts.policy import Alerts, default_limits
from streams.alerts.state import StreamState
from streams.events import QualityAlert, SegmentScore, Signals

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
    **fields: object,
) -> SegmentScore:
    """The score of a segment of two seconds; None: it was skipped."""
    signals = Signals(black=black, freeze=freeze, blur=0.1, blockiness=0.1, noise=1, luma=100, contrast=30)
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
        signals=None if score is None else signals,
        **fields,
    )


def fold(scores: Iterable[SegmentScore], limits: Alerts | None = None) -> tuple[StreamState, list[QualityAlert]]:
    """The state and all alerts after the scores of one stream."""
    state = StreamState("channel")
    alerts = []
    for score in scores:
        state, found = step(state, score, limits or default_limits())
        alerts += found
    return state, alerts


@dataclass
class Webhook:
    """A server that takes posts. status: its answers, the last one for ever. bodies: what it took."""

    url: str
    statuses: list[int] = field(default_factory=lambda: [200])
    bodies: list[object] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answer_headers: dict[str, str] = field(default_factory=dict)


@contextmanager
def webhook(*statuses: int) -> Iterator[Webhook]:
    """A web server of its own on 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = made.statuses.pop(0) if len(made.statuses) > 1 else made.statuses[0]
            if status < 300:
                made.bodies.append(json.loads(body))
                made.headers.append(dict(self.headers))
            self.send_response(status)
            for name, value in made.answer_headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Webhook(f"http://127.0.0.1:{server.server_port}/hooks/s3cret", list(statuses) or [200])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
