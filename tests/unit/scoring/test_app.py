"""The Faust app: its settings, where Faust's defaults would break a promise, and its health page."""

from __future__ import annotations

import socket
import time
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import aiokafka.client
import faust
import faust.transport.drivers.aiokafka as faust_driver
import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.protocol.metadata import MetadataRequest_v5
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st
from intervaltree import IntervalTree

from streams.errors import SettingsError
from streams.kafka.arrivals import Arrivals
from streams.kafka.connection import Connection
from streams.kafka.consumer import Group
from streams.scoring.app import FETCH_WAIT_MS, AppOptions, ScoreConsumer, _as_sent, build_app
from streams.scoring.pages import add_pages
from streams.scoring.pipeline import SegmentPipeline
from streams.settings import Settings
from streams.sinks.sqlite import SqliteSink
from streams.starting_pages import StartingPages
from streams.worker_start import start_worker

DAY = 24 * 3600.0


def has_ipv6() -> bool:
    """Whether this machine has the address ::1; a container may have none."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


async def no_pipeline() -> SegmentPipeline:
    raise AssertionError("the app is not started")


def build(folder: Path, session_seconds: float = 10.0, prefix: str = "", host: str = "127.0.0.1", port: int = 8080) -> faust.App:
    connection = Connection("127.0.0.1:1", prefix=prefix)
    options = AppOptions(connection, Group(connection.named("fvq"), session_seconds), folder, host=host, port=port)
    return build_app(options, no_pipeline, SqliteSink(folder))


def test_a_worker_that_waits_for_its_sink_for_days_stays_in_its_group(tmp_path: Path) -> None:
    interval = build(tmp_path).conf.broker_max_poll_interval
    assert interval > 7 * DAY
    assert interval * 1000 < 2**31, "a broker refuses a longer interval"


async def test_the_workers_consumer_does_not_let_a_fetch_wait_for_other_partitions(tmp_path: Path) -> None:
    app = build(tmp_path)
    thread: Any = app.consumer._new_consumer_thread()

    client = thread._create_worker_consumer(app.transport)

    assert client._fetch_max_wait_ms == FETCH_WAIT_MS <= 100
    await client.stop()


async def test_a_worker_that_has_fetched_nothing_for_a_month_still_takes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one without a partition, because there are more workers than partitions: it has nothing to fetch."""
    app = build(tmp_path)
    thread: Any = app.consumer._new_consumer_thread()
    client = thread._create_worker_consumer(app.transport)

    month_later = time.monotonic() + 30 * DAY
    monkeypatch.setattr(time, "monotonic", lambda: month_later)

    assert client._subscription.fetcher_idle_time < app.conf.broker_max_poll_interval
    await client.stop()


SEGMENTS_AT = TP("video-segments", 0)


async def test_segments_that_retention_deleted_before_they_were_answered_cost_no_memory(tmp_path: Path) -> None:
    consumer: Any = build(tmp_path).consumer
    consumer._committed_offset[SEGMENTS_AT] = 20
    first = 50_000_000
    await consumer._add_gap(SEGMENTS_AT, 21, first)  # as Faust notes it when the first message after the committed offset comes
    consumer._acked[SEGMENTS_AT].append(first)
    tracemalloc.start()
    try:
        offset = consumer._new_offset(SEGMENTS_AT)
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert offset == first + 1
    assert used < 100_000


@given(steps=st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=20), committed=st.none() | st.integers(0, 3))
def test_offsets_without_a_message_hold_no_commit_up(steps: list[tuple[int, bool]], committed: int | None) -> None:
    """Messages are acknowledged in their order. steps: the distance of each from the one before, and whether a commit follows."""
    notes: Any = SimpleNamespace(
        _acked={SEGMENTS_AT: []},
        _acked_index={SEGMENTS_AT: set()},
        _gap={SEGMENTS_AT: IntervalTree()},
        _committed_offset={SEGMENTS_AT: committed},
    )
    read = committed or 0
    for distance, commits in steps:
        offset = read + distance
        if read and distance > 1:
            notes._gap[SEGMENTS_AT].addi(read + 1, offset + 1)  # as Faust notes it
            notes._gap[SEGMENTS_AT].merge_overlaps()
        notes._acked[SEGMENTS_AT].append(offset)
        notes._acked_index[SEGMENTS_AT].add(offset)
        read = offset
        if commits:
            notes._committed_offset[SEGMENTS_AT] = committed = ScoreConsumer._new_offset(notes, SEGMENTS_AT)
            assert committed == read + 1
            assert notes._acked[SEGMENTS_AT] == []
            assert notes._acked_index[SEGMENTS_AT] == set()


async def test_messages_of_a_partition_that_begins_again_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its topic was made anew, or a broker has lost its end. Faust drops a message before one that it has given already."""
    given = [(SEGMENTS_AT, SimpleNamespace(offset=offset)) for offset in (100, 101, 0, 1)]

    async def getmany(*_: Any) -> AsyncIterator[tuple[TP, Any]]:
        for place in given:
            yield place

    monkeypatch.setattr(faust_driver.Consumer, "getmany", getmany)
    consumer: Any = build(tmp_path).consumer
    consumer._read_offset[SEGMENTS_AT] = consumer._committed_offset[SEGMENTS_AT] = 100
    taken = []
    async for at, message in consumer.getmany(1.0):
        read = consumer._read_offset[at]
        if read is None or message.offset >= read:  # as Faust does it
            taken.append(message.offset)
            consumer._read_offset[at] = message.offset
    assert taken == [100, 101, 0, 1]
    assert consumer._should_commit(SEGMENTS_AT, 2)


async def test_partitions_without_a_commit_are_read_from_their_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What aiokafka has read of them before would be lost."""
    thread: Any = build(tmp_path).consumer._thread
    committed = {TP("segments", 0): 7, TP("segments", 1): None, TP("segments", 2): 0}
    begun: list[TP] = []

    async def seek_to_committed() -> dict[TP, int | None]:
        return committed

    async def seek_to_beginning(*partitions: TP) -> None:
        begun.extend(partitions)

    async def in_this_thread(call: Any, *arguments: Any) -> Any:
        return await call(*arguments)

    thread._consumer = SimpleNamespace(seek_to_committed=seek_to_committed, seek_to_beginning=seek_to_beginning)
    monkeypatch.setattr(thread, "call_thread", in_this_thread)
    assert await thread.seek_to_committed() == committed
    assert begun == [TP("segments", 1), TP("segments", 2)]


def test_a_message_waits_from_when_it_came_also_where_its_producer_had_sent_it_before() -> None:
    arrivals = Arrivals()
    arrivals.note({2: 40}, 1000.0)
    message = SimpleNamespace(key=b"s", value=b"{}", topic="video-segments", partition=2, offset=41, timestamp=950.0)

    assert _as_sent(message, arrivals).sent == 1000
    assert _as_sent(message, None).sent == 950


async def test_a_worker_that_cannot_take_messages_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust would go on without its loop that takes them, and keep the partitions."""

    async def drain(*_: Any) -> None:
        raise KeyError(SEGMENTS_AT)

    def end_now(why: str) -> NoReturn:
        raise SystemExit(why)

    monkeypatch.setattr(faust_driver.Consumer, "_drain_messages", drain)
    monkeypatch.setattr("streams.scoring.app._end_now", end_now)
    consumer: Any = build(tmp_path).consumer
    with pytest.raises(SystemExit, match="messages cannot be taken"):
        await consumer._drain_messages(None)


async def test_a_partition_whose_place_is_not_known_yet_does_not_end_the_worker(tmp_path: Path) -> None:
    """Faust looks at each partition now and then, also while the client's thread looks for the place to begin at."""
    at = aiokafka.TopicPartition(SEGMENTS_AT.topic, SEGMENTS_AT.partition)
    subscriptions = SubscriptionState()
    subscriptions.assign_from_user({at})
    subscriptions.subscription.assignment.state_value(at).timestamp = 1  # it has been asked for messages
    consumer: Any = build(tmp_path).consumer
    thread: Any = consumer._thread
    thread._consumer = SimpleNamespace(_fetcher=SimpleNamespace(_subscriptions=subscriptions))
    thread.time_started, thread.tp_fetch_request_timeout_secs = 0.0, float("inf")
    subscriptions.subscription.assignment.state_value(at).highwater = 1
    with pytest.raises(AssertionError):
        thread.verify_event_path(1.0, SEGMENTS_AT)
    consumer.verify_event_path(1.0, SEGMENTS_AT)


def test_a_message_that_is_not_acknowledged_holds_the_commit_up() -> None:
    notes: Any = SimpleNamespace(
        _acked={SEGMENTS_AT: [7, 8, 10]},
        _acked_index={SEGMENTS_AT: {7, 8, 10}},
        _gap={SEGMENTS_AT: IntervalTree()},
        _committed_offset={SEGMENTS_AT: 7},
    )
    assert ScoreConsumer._new_offset(notes, SEGMENTS_AT) == 9
    assert notes._acked[SEGMENTS_AT] == [10]
    notes._committed_offset[SEGMENTS_AT] = 8
    assert ScoreConsumer._new_offset(notes, SEGMENTS_AT) is None


@pytest.mark.parametrize("seconds", [6.0, 300.0])
def test_the_shortest_and_the_longest_session_of_the_settings_are_accepted_by_faust(tmp_path: Path, seconds: float) -> None:
    conf = build(tmp_path, session_seconds=seconds).conf
    assert conf.broker_session_timeout == seconds
    assert conf.broker_request_timeout >= seconds


def test_two_environments_on_one_machine_share_neither_fausts_id_nor_its_folders(tmp_path: Path) -> None:
    plain, staging, production = (build(tmp_path, prefix=prefix) for prefix in ("", "staging.", "production."))
    assert (plain.conf.id, plain.conf.datadir) == ("fvq", tmp_path / "faust")
    assert (staging.conf.id, staging.conf.datadir) == ("staging.fvq", tmp_path / "staging.faust")
    folders = [Path(app.conf.tabledir) for app in (plain, staging, production)]
    assert len(set(folders)) == 3
    assert not any(folder.is_relative_to(other) for folder in folders for other in folders if folder != other)
    (topic,) = [topic for agent in staging.agents.values() for topic in agent.channel.topics]
    assert topic == "staging.video-segments"
    # Faust makes no topic of its own beside these: it has no tables and no leader's topic.
    assert (staging.conf.topic_allow_declare, staging.conf.topic_disable_leader, len(staging.tables)) == (False, True, 0)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("worker-7", "http://worker-7:8080"),
        ("::1", "http://[::1]:8080"),
        ("::", "http://[::]:8080"),
        ("fe80::1%eth0", "http://[fe80::1%eth0]:8080"),
    ],
)
def test_fausts_own_address_is_an_address_with_every_host(tmp_path: Path, host: str, address: str) -> None:
    conf = build(tmp_path, host=host).conf
    assert (str(conf.canonical_url), conf.web_bind) == (address, host)


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("handed_over", [True, False])
async def test_the_pages_answer_at_an_ipv6_address(tmp_path: Path, handed_over: bool) -> None:
    with StartingPages("::1", 0) as pages:
        port = pages.port
        app = build(tmp_path, host="::1", port=port)
        if handed_over:
            add_pages(app, SqliteSink(tmp_path), lambda: 0.0, [], listener=pages.hand_over)
        else:
            pages.hand_over().close()
            add_pages(app, SqliteSink(tmp_path), lambda: 0.0, [])
        app.web.init_server()
        await app.web.start_server()
        try:
            async with ClientSession() as session, session.get(f"http://[::1]:{port}/readyz") as answer:
                assert "no partition is assigned yet" in (await answer.json())["problems"]
        finally:
            await app.web.stop_server()


def test_a_worker_refuses_to_start_without_fausts_c_extension(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("faust.streams._CStreamIterator", None)
    with pytest.raises(SettingsError, match="NO_CYTHON"):
        start_worker(Settings(broker="127.0.0.1:1", web_port=0, data_dir=tmp_path))


@pytest.mark.parametrize(("seconds", "status"), [(0.0, 200), (200.0, 200), (400.0, 503)])
async def test_the_health_page_fails_while_the_scorer_hangs(tmp_path: Path, seconds: float, status: int) -> None:
    app = faust.App("health", broker="kafka://127.0.0.1:1", datadir=tmp_path)
    add_pages(app, SqliteSink(tmp_path), lambda: seconds, [])
    app.web.init_server()
    async with TestClient(TestServer(app.web.web_app)) as client:
        answer = await client.get("/healthz")
        assert answer.status == status
        assert ("400 s" in await answer.text()) == (status == 503)


def test_the_app_lets_no_broker_make_a_topic_that_is_missing(tmp_path: Path) -> None:
    build(tmp_path)
    request = aiokafka.client.MetadataRequest(["segment-scores"]).build(MetadataRequest_v5)
    assert request.allow_auto_topic_creation is False  # type: ignore[attr-defined]
