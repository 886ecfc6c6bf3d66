"""Why a stream is silent: sentences from the states that ingesters publish."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.ingest.base import SavedPosition, Stream
from streams.ingest.positions import key_of, to_bytes
from streams.ingest.silence import IngestStates, KnownState, explain_silence
from streams.ingest.states import SourceState
from streams.kafka.records import Unreadable

NOW = datetime(2026, 1, 31, 12, 0, 31, tzinfo=UTC)


def known(state: SourceState, rendition: str | None = None, later: float = 0.0) -> KnownState:
    saved = NOW + timedelta(seconds=later)
    return KnownState(stream_id="news", rendition=rendition, source="http://o.example/a.m3u8", saved=saved, state=state)


@pytest.mark.parametrize(
    ("state", "where", "text"),
    [
        (SourceState("failing", NOW, "not-found", "http://o.example/a.m3u8: not there (HTTP 404)"), "source",
         "the playlist has not answered since 12:00:31 UTC: http://o.example/a.m3u8: not there (HTTP 404)"),
        (SourceState("failing", NOW, "timeout", "no answer within 6 s"), "network",
         "the playlist has not answered in time since 12:00:31 UTC: no answer within 6 s"),
        (SourceState("failing", NOW, "no-playlist", "it begins with '<html>'"), "source",
         "what has come since 12:00:31 UTC is no playlist: it begins with '<html>'"),
        (SourceState("failing", NOW, "fault", "KeyError in x.py, line 3"), "unknown",
         "the ingester has failed since 12:00:31 UTC: KeyError in x.py, line 3"),
        (SourceState("stale", NOW, findings=("backsteps", "content-changed")), "source",
         "the playlist answers, and has had no new segment since 12:00:31 UTC; its numbers went back, as in an old copy of "
         "another server; it names other files under the same numbers"),
        (SourceState("stale", NOW, findings=("size-changed", "discontinuity-sequence", "of-a-later-version")), "source",
         "the playlist answers, and has had no new segment since 12:00:31 UTC; it has lost segments without moving on; its "
         "discontinuity numbers do not fit"),
        (SourceState("encrypted", NOW), "source",
         "the segments have been encrypted since 12:00:31 UTC by a method that is not supported"),
        (SourceState("ended", NOW), "source", "the playlist has been complete since 12:00:31 UTC"),
        (SourceState("live", NOW, findings=("gaps", "lost")), "source",
         "the playlist answers, and no segment in it could be announced; its segments are marked as missing (EXT-X-GAP); "
         "segments left it before they were seen"),
        (SourceState("live", NOW - timedelta(hours=1)), "unknown",
         "the source was live when `fvq ingest` last said so, at 12:00:31 UTC: does it still run?"),
    ],
)  # fmt: skip
def test_each_state_has_its_sentence(state: SourceState, where: str, text: str) -> None:
    assert explain_silence("news", None, {("news", None): known(state)}) == (where, text)


def test_what_no_ingester_knows_is_not_explained() -> None:
    unknown = KnownState(stream_id="news", source="", saved=NOW)
    assert explain_silence("news", None, {}) is None
    assert explain_silence("news", None, {("news", None): unknown, ("sport", None): known(SourceState("stale", NOW))}) is None


def test_the_newest_word_of_any_rendition_counts_and_a_rendition_can_be_asked_for() -> None:
    gone, away = known(SourceState("live", NOW), "1080p"), known(SourceState("failing", NOW, "busy"), "720p", later=60)
    states = {("news", "1080p"): gone, ("news", "720p"): away}
    assert explain_silence("news", None, states) == ("source", "the origin has asked for fewer requests since 12:00:31 UTC")
    assert explain_silence("news", "1080p", states) == (
        "unknown", "the source was live when `fvq ingest` last said so, at 12:00:31 UTC: does it still run?"
    )  # fmt: skip


def test_the_last_message_of_a_key_counts_and_damaged_ones_are_passed_over() -> None:
    states = IngestStates()
    for name in ("a", "a/b"):
        stream = Stream(name, "720p")
        live = to_bytes(stream, SavedPosition(), NOW, SourceState("live", NOW))
        away = to_bytes(stream, SavedPosition(), NOW, SourceState("failing", NOW, "not-found", f"no {name}"))
        states.take([(key_of(stream), live), (key_of(stream), away), (b"x", b"{"), (None, None), (b"99/a", away)])
    states.take([(key_of(Stream("a", "720p")), Unreadable(b"", "cut", 1, 2)), (key_of(Stream("a", "1080p")), b"{")])
    assert states.explain("a") == ("source", "the playlist has not answered since 12:00:31 UTC: no a")
    assert states.explain("a/b") == ("source", "the playlist has not answered since 12:00:31 UTC: no a/b")
    states.take([(key_of(Stream("a", "720p")), None)])
    assert states.explain("a") is None


@given(st.binary(max_size=40) | st.from_regex(rb"\d{1,6}/[a-z/]{0,9}"), st.binary(max_size=40))
def test_no_message_is_a_failure(key: bytes, value: bytes) -> None:
    states = IngestStates()
    states.take([(key, value)])
    for stream in ("", "a", "a/b"):
        assert states.explain(stream) is None
