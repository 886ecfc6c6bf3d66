"""Streams of several renditions, some of which are taken off the ladder."""

from __future__ import annotations

from datetime import timedelta

from streams.web.live import FORGET_SECONDS, Live
from streams.web.reading import read_score
from streams.web.stream import Row
from tests.support.alerts import BEGIN, SECONDS, make_score

START = BEGIN.timestamp()


def put(live: Live, sequence: int, score: float, rendition: str, after: float = 0.0) -> None:
    """Take a score. after: seconds by which its stream begins later."""
    told = make_score(sequence, score, rendition=rendition, begin=BEGIN + timedelta(seconds=after))
    live.add_score(read_score(told.to_bytes()), told.to_bytes(), told.start.timestamp() + SECONDS + 1)


def row_at(live: Live, now: float) -> Row:
    live.tick(now)
    return live.row(live.streams["channel"], now)


def test_a_rendition_that_is_gone_does_not_stand_for_its_stream() -> None:
    live = Live()
    for sequence in range(10):
        put(live, sequence, 35, "240p")
        put(live, sequence, 70, "720p")
    assert row_at(live, START + 10 * SECONDS + 1).rendition == "240p"
    for sequence in range(10, 20):
        put(live, sequence, 70, "720p")
    now = row_at(live, START + 20 * SECONDS + 1)
    assert (now.rendition, now.state) == ("720p", "ok")
    now = row_at(live, START + 30 * SECONDS)
    assert (now.rendition, now.state) == ("240p", "stale"), "all are old: the worst one stands for the stream again"


def test_a_rendition_is_forgotten_after_a_day_and_the_last_one_with_its_stream() -> None:
    live = Live()
    for rendition in ("240p", "360p", "720p"):
        put(live, 0, 35, rendition)
    put(live, 1, 70, "720p", after=FORGET_SECONDS)
    live.tick(START + FORGET_SECONDS + 2 * SECONDS)
    assert set(live.streams["channel"].renditions) == {"720p"}
    assert live.changes().streams == {"channel"}
    live.tick(START + 3 * FORGET_SECONDS)
    assert not live.streams
