"""`fvq_stream_score`: the worst streams, never more than asked for."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge

from streams.scoring.worst import FRESH_SECONDS, WorstStreams
from tests.support.sinks import make_score


class Shown:
    """The worst streams with a clock and a metric of their own."""

    def __init__(self, most: int) -> None:
        self.now = 0.0
        self.gauge = Gauge("fvq_stream_score", "Of a test.", ["stream_id"], registry=CollectorRegistry())
        self.worst = WorstStreams(most, self.gauge, lambda: self.now)

    def add(self, stream: str, score: float | None, **fields: Any) -> None:
        self.worst.add([make_score(stream_id=stream, score=score, duration=1000.0, **fields)])

    def streams(self) -> dict[str, float]:
        self.worst.show()
        (family,) = self.gauge.collect()
        return {sample.labels["stream_id"]: sample.value for sample in family.samples}


def test_a_stream_that_is_no_longer_among_the_worst_loses_its_series() -> None:
    shown = Shown(2)
    for stream, score in (("a", 30.0), ("b", 20.0), ("c", 80.0)):
        shown.add(stream, score)
    assert shown.streams() == {"a": 30.0, "b": 20.0}
    shown.add("c", 10.0)
    assert shown.streams() == {"c": 10.0, "b": 20.0}
    shown.add("b", 90.0)
    assert shown.streams() == {"c": 10.0, "a": 30.0}


def test_a_stream_counts_by_its_worst_rendition() -> None:
    shown = Shown(5)
    shown.add("a", 70.0, rendition="1080p")
    shown.add("a", 40.0, rendition="240p")
    assert shown.streams() == {"a": 40.0}


def test_one_bad_segment_does_not_make_a_stream_the_worst() -> None:
    shown = Shown(1)
    shown.add("steady", 55.0)
    shown.add("jumps", 80.0)
    shown.worst.add([make_score(stream_id="jumps", score=0.0, duration=2.0)])
    assert list(shown.streams()) == ["steady"]


def test_streams_that_end_or_fall_silent_are_left_out() -> None:
    shown = Shown(5)
    for stream in ("ends", "silent", "alive"):
        shown.add(stream, 50.0)
    shown.now = FRESH_SECONDS
    shown.add("alive", 50.0)
    shown.add("ends", 50.0, ended=True)
    assert set(shown.streams()) == {"silent", "alive"}
    shown.now = FRESH_SECONDS + 1
    assert set(shown.streams()) == {"alive"}


def test_what_has_no_score_says_nothing() -> None:
    shown = Shown(5)
    nothing = dict.fromkeys(("level", "level_probs", "uncertainty", "faces", "signals", "model"))
    shown.add("a", None, status="skipped", reason="late", **nothing)
    shown.worst.add([object()])
    assert shown.streams() == {}


@given(st.integers(0, 4), st.lists(st.tuples(st.sampled_from("abcdefgh"), st.floats(0, 100)), max_size=40))
def test_there_are_never_more_series_than_asked_for(most: int, scores: list[tuple[str, float]]) -> None:
    shown, latest = Shown(most), {}
    for stream, score in scores:
        shown.add(stream, score)
        latest[stream] = score
        streams = shown.streams()
        assert len(streams) == min(most, len(latest))
        others = [value for name, value in latest.items() if name not in streams]
        assert all(value <= min(others, default=100.0) + 0.1 for value in streams.values())
