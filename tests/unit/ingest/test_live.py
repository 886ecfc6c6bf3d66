"""Many sources in one process, from real servers: who hangs or fails delays nobody else."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from streams.events import SegmentEvent
from streams.ingest import metrics
from streams.ingest.base import SavedPosition, Services, Status, Stream, Times
from streams.ingest.hls.source import SourcePlan
from streams.ingest.live import Pauses, SourceAwayError, Supervisor, follow_list
from streams.ingest.names import Listed, SourceList, sources_of
from streams.media.read import Reader
from tests.support.origin import Origin, patient
from tests.unit.ingest.test_hls_rendition import playlist

END = "#EXT-X-ENDLIST"
FAST = 0.01
"""Real seconds that a source sleeps for each second that it wants to."""


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    async with Origin() as running:
        yield running


class Followed:
    """A supervisor whose sources sleep a hundredth of their time. events: what was announced. failures: of streams, to come."""

    def __init__(self, reader: Reader) -> None:
        self.events: list[SegmentEvent] = []
        self.failures: dict[str, int] = {}
        times = Times(monotonic=lambda: time.monotonic() / FAST, sleep=lambda seconds: asyncio.sleep(seconds * FAST))
        self.supervisor = Supervisor(Services(patient(reader), self.publish, times=times), Pauses(0.1, 0.2), spread=1.0)

    async def publish(self, stream: Stream, events: Sequence[SegmentEvent], _: SavedPosition) -> None:
        if self.failures.get(stream.stream_id, 0):
            self.failures[stream.stream_id] -= 1
            raise RuntimeError("a fault of the program")
        self.events += events

    def files(self, name: str) -> list[str]:
        return [event.uri.rpartition("/")[2].partition(".")[0] for event in self.events if event.stream_id == name]


@pytest.fixture
async def followed() -> AsyncIterator[Followed]:
    async with Reader(private=True, per_host=4) as reader:
        running = Followed(reader)
        yield running
        await running.supervisor.stop()


def plan(name: str, url: str, once: bool = False) -> SourcePlan:
    return SourcePlan(Stream(name), url, once=once)


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def test_a_hanging_origin_delays_no_other(origin: Origin, followed: Followed) -> None:
    origin.script("/hangs.m3u8", origin.hang)
    hanging = [plan(f"hangs-{number}", origin.url("/hangs.m3u8", "localhost")) for number in range(40)]
    for number in range(10):
        origin.script(f"/{number}.m3u8", playlist(1, 2), playlist(2, 2), playlist(3, 2, END))
    good = [plan(f"good-{number}", origin.url(f"/{number}.m3u8")) for number in range(10)]
    await followed.supervisor.follow(hanging + good)
    await until(lambda: len(followed.events) == 30, seconds=60)
    assert followed.files("good-3") == ["2", "3", "4"]


async def test_a_source_that_raises_is_run_again_and_goes_on(origin: Origin, followed: Followed) -> None:
    origin.script("/a.m3u8", playlist(1, 2), playlist(1, 2), playlist(2, 2), playlist(4, 1, END))
    followed.failures = {"news": 2}
    before = metrics.RESTARTS_OF_SOURCES.labels("news")._value.get()
    await followed.supervisor.follow([plan("news", origin.url("/a.m3u8"), once=True)])
    async with asyncio.timeout(20):
        await followed.supervisor.ended()
    assert followed.files("news") == ["3", "4"]
    assert metrics.RESTARTS_OF_SOURCES.labels("news")._value.get() == before + 2


async def test_a_fault_is_a_state_and_its_words_have_no_address(
    origin: Origin, followed: Followed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        SegmentEvent.model_validate({"uri": 3, "stream_id": "http://o.example/?token=s3cret" * 20})

    monkeypatch.setattr("streams.ingest.hls.rendition.step", broken)
    caplog.set_level(logging.INFO, "streams")
    origin.script("/a.m3u8", playlist(1, 2))
    await followed.supervisor.follow([plan("news", origin.url("/a.m3u8"))])
    await until(lambda: [status.state for status in followed.supervisor.statuses()] == ["failing"])
    (status,) = followed.supervisor.statuses()
    assert status.reason.startswith("a fault of this program: ValidationError in ")
    assert "source news failed and is run again" in caplog.text
    assert "s3cret" not in caplog.text + status.reason


async def test_a_source_that_stays_away_with_once_ends_it_with_an_error_that_names_it(
    origin: Origin, followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.ingest.hls.source.GIVE_UP_SECONDS", 5.0)
    origin.script("/a.m3u8", playlist(1, 1, END))
    paths = {"news": "/a.m3u8", "away": "/away.m3u8?token=s3cret"}
    await followed.supervisor.follow([plan(name, origin.url(path), once=True) for name, path in paths.items()])
    async with asyncio.timeout(20):
        with pytest.raises(SourceAwayError, match=r"^given up, because .*: away \(.*HTTP 404") as caught:
            await followed.supervisor.ended()
    assert "s3cret" not in str(caught.value)
    assert followed.files("news") == ["1"]


async def test_a_playlist_of_hours_is_read_too(origin: Origin, followed: Followed) -> None:
    origin.script("/a.m3u8", playlist(1, 15_000, END))
    await followed.supervisor.follow([plan("news", origin.url("/a.m3u8"), once=True)])
    async with asyncio.timeout(30):
        await followed.supervisor.ended()
    assert len(followed.events) == 15_000


async def test_a_source_that_leaves_the_list_is_stopped_and_a_new_one_followed(
    origin: Origin, followed: Followed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b"):
        origin.script(f"/{name}.m3u8", playlist(1, 1), playlist(2, 1))
    path = tmp_path / "sources"
    path.write_text(f"a={origin.url('/a.m3u8')}\n")
    listed = SourceList(path)

    def read_list() -> Listed | None:
        lines = listed.lines()
        return None if lines is None else sources_of([], lines)

    async def follow(sources: Listed) -> None:
        await followed.supervisor.follow([plan(name, url) for name, url in sources.items()])

    task = asyncio.create_task(follow_list(read_list, follow, 0.01))
    await until(lambda: followed.files("a") == ["1", "2"])
    path.write_text(f"b={origin.url('/b.m3u8')}\n" * 2)
    await until(lambda: "two sources are named b" in caplog.text)
    assert [status.stream for status in followed.supervisor.statuses()] == ["a"]
    path.write_text(f"b={origin.url('/b.m3u8')}\n")
    await until(lambda: followed.files("b") == ["1", "2"])
    assert [status.stream for status in followed.supervisor.statuses()] == ["b"]
    assert caplog.text.count("two sources are named b") == 1
    task.cancel()


@dataclass(frozen=True)
class SlowPlan:
    """A source that takes a moment to end, as ffmpeg and its spool do. ended: the names of those that have, to the last step."""

    stream: Stream
    ended: list[str]

    def source(self, _: Services) -> SlowPlan:
        return self

    def statuses(self) -> Sequence[Status]:
        return []

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.1)
            self.ended.append(self.stream.stream_id)


async def test_told_to_stop_while_a_source_leaves_the_list_all_end_to_the_last_step(followed: Followed) -> None:
    ended: list[str] = []
    leaving, staying = SlowPlan(Stream("leaving"), ended), SlowPlan(Stream("staying"), ended)
    await followed.supervisor.follow([leaving, staying])
    await asyncio.sleep(0.05)
    listing = asyncio.create_task(followed.supervisor.follow([staying]))
    await asyncio.sleep(0.05)
    listing.cancel()
    async with asyncio.timeout(5):
        await followed.supervisor.stop()
    assert ended == ["leaving", "staying"]


@dataclass(frozen=True)
class FailingToEnd(SlowPlan):
    """A source whose last step fails, as where its disk has gone."""

    async def run(self) -> None:
        try:
            await super().run()
        finally:
            raise OSError("the spool is gone")


async def test_a_source_that_fails_while_it_ends_is_not_run_again(followed: Followed, caplog: pytest.LogCaptureFixture) -> None:
    ended: list[str] = []
    await followed.supervisor.follow([FailingToEnd(Stream("news"), ended)])
    await asyncio.sleep(0.05)
    async with asyncio.timeout(5):
        await followed.supervisor.stop()
    assert ended == ["news"]
    assert "source news failed while it ended: OSError" in caplog.text


async def test_gauges_say_how_the_sources_are_and_forget_those_that_left(origin: Origin, followed: Followed) -> None:
    origin.script("/a.m3u8", playlist(1, 1))
    await followed.supervisor.follow([plan("news", origin.url("/a.m3u8")), plan("away", origin.url("/away.m3u8"))])
    await until(lambda: {status.state for status in followed.supervisor.statuses()} == {"stale", "failing"})
    followed.supervisor.show_metrics()
    value = metrics.REGISTRY.get_sample_value
    assert value("fvq_ingest_sources", {"state": "failing"}) == 1
    assert (value("fvq_ingest_playlist_age_seconds", {"stream": "news", "rendition": ""}) or 0) > 3
    await followed.supervisor.follow([])
    followed.supervisor.show_metrics()
    assert value("fvq_ingest_playlist_age_seconds", {"stream": "news", "rendition": ""}) is None
    assert value("fvq_ingest_sources", {"state": "failing"}) == 0


async def test_counters_forget_the_sources_that_left(origin: Origin, followed: Followed) -> None:
    """Streams that come and go, each with a name of its own, would add up for as long as the process runs."""
    plans = [plan("news", origin.url("/a.m3u8")), plan("sport", origin.url("/b.m3u8"))]
    await followed.supervisor.follow(plans)
    for name in ("news", "sport"):
        metrics.RESTARTS_OF_SOURCES.labels(name).inc()
        metrics.COUNTERS["lost"].labels(name).inc()
    await followed.supervisor.follow([plan("sport", origin.url("/moved.m3u8"))])
    for series in ("fvq_ingest_source_failures_total", "fvq_ingest_lost_segments_total"):
        assert metrics.REGISTRY.get_sample_value(series, {"stream": "news"}) is None
        assert metrics.REGISTRY.get_sample_value(series, {"stream": "sport"}) == 1
