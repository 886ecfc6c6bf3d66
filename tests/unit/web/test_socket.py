"""The WebSocket: what a browser gets, in which order, and who gets nothing."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType
from aiohttp.test_utils import TestClient, TestServer

from streams.alerts.state import StreamState
from streams.events import AlertAcknowledgement, QualityAlert, SegmentScore
from streams.web.access.gate import AccessOptions, Gate
from streams.web.access.limits import WebLimits
from streams.web.access.tokens import Tokens, add_token
from streams.web.api.table import Wall
from streams.web.hub import QUEUE, Hub
from streams.web.labels import LabelFilter
from streams.web.live import MOST_RENDITIONS, Live
from streams.web.reading import read_score
from streams.web.server import make_app
from streams.web.stream import STATES
from streams.web.wire import Feed
from tests.support.alerts import BEGIN, SECONDS, make_score
from tests.support.fleet import Fleet, fleet_wall

LIVE = "/api/v1/live"
START = BEGIN.timestamp()


async def frames(socket: ClientWebSocketResponse, kind: str, most: int = 60) -> dict[str, Any]:
    """The next frame of a kind."""
    for _ in range(most):
        frame = json.loads(await socket.receive_str(timeout=5))
        if frame["type"] == kind:
            return dict(frame)
    raise AssertionError(f"no {kind}")


async def test_a_snapshot_comes_first_then_frames_without_a_gap(client: TestClient, seeded: Fleet) -> None:
    async with client.ws_connect(LIVE, protocols=("fvq.v1",)) as socket:
        assert socket.protocol == "fvq.v1"
        first = json.loads(await socket.receive_str(timeout=5))
        assert first["type"] == "snapshot"
        assert first["states"] == list(STATES)
        assert {len(column) for column in first["streams"].values()} == {len(seeded.live.streams)}
        assert {entry["alert"]["alert_id"] for entry in first["alerts"]} == {alert.alert_id for alert in seeded.live.firing()}
        expected = first["n"]
        kinds = set()
        played = seeded.played
        for step in range(1, 40):
            seeded.play(played + step)
            frame = json.loads(await socket.receive_str(timeout=5))
            kinds.add(frame["type"])
            if "n" in frame:
                expected += 1
                assert frame["n"] == expected
            if frame["type"] == "scores":
                assert len({len(frame[name]) for name in "iesmukl"}) == 1
        assert {"scores", "summary"} <= kinds


async def test_sparks_and_a_watched_stream_are_told_to_who_asks(client: TestClient, seeded: Fleet) -> None:
    async with client.ws_connect(LIVE) as socket:
        snapshot = await frames(socket, "snapshot")
        await socket.send_str('{"type":"sparks","i":[0,1,999999,"x",true]}')
        sparks = await frames(socket, "sparks")
        assert sparks["i"] == [0, 1]
        assert all(0 < len(scores) <= 60 for scores in sparks["s"])
        assert len(sparks["e"]) == len(sparks["s"])
        stream_id = next(id for id, stream in seeded.live.streams.items() if not stream.alerts)
        assert stream_id in snapshot["streams"]["id"]
        await socket.send_str(json.dumps({"type": "watch", "id": stream_id}))
        event = await frames(socket, "event")
        assert event["id"] == event["event"]["stream_id"] == stream_id
        assert "signals" in event["event"]
        for nonsense in ("[]", "nonsense", '{"type":"watch","id":5}', '{"type":"sparks","i":5}', "[" * 10_000):
            await socket.send_str(nonsense)
        assert (await frames(socket, "summary"))["streams"] == len(seeded.live.streams)
    assert not seeded.live.watched


async def test_a_filtered_socket_tells_of_no_other_stream(client: TestClient, seeded: Fleet) -> None:
    async with client.ws_connect(f"{LIVE}?label=tier:premium") as socket:
        snapshot = await frames(socket, "snapshot")
        premium = {id for id, stream in seeded.live.streams.items() if stream.labels["tier"] == "premium"}
        assert set(snapshot["streams"]["id"]) == premium
        assert {entry["alert"]["labels"]["tier"] for entry in snapshot["alerts"]} <= {"premium"}
        seeded.play(seeded.played + 4)
        assert set((await frames(socket, "scores"))["i"]) <= set(range(len(premium)))
        assert (await frames(socket, "summary"))["streams"] == len(premium)


async def test_two_values_of_a_label_mean_either(client: TestClient, seeded: Fleet) -> None:
    async with client.ws_connect(f"{LIVE}?label=tier:premium&label=tier:free&label=origin:fra2") as socket:
        snapshot = await frames(socket, "snapshot")
        wanted = {
            id for id, one in seeded.live.streams.items()
            if one.labels["tier"] in ("premium", "free") and one.labels["origin"] == "fra2"
        }  # fmt: skip
        assert len({seeded.live.streams[id].labels["tier"] for id in wanted}) == 2
        assert set(snapshot["streams"]["id"]) == wanted


async def test_what_keeps_the_wall_from_reading_is_told_with_the_figures(seeded: Fleet) -> None:
    wall = replace(fleet_wall(seeded), reading=lambda: (True, "no Kafka broker answers"))
    async with TestClient(TestServer(make_app(wall))) as client, client.ws_connect(LIVE) as socket:
        assert (await frames(socket, "summary"))["problem"] == "no Kafka broker answers"


async def test_an_acknowledgement_reaches_every_browser(client: TestClient, seeded: Fleet) -> None:
    alert = next(alert for alert in seeded.live.firing() if alert.alert_id not in seeded.live.acks)
    async with client.ws_connect(LIVE) as one, client.ws_connect(LIVE) as other:
        await frames(one, "snapshot")
        await frames(other, "snapshot")
        address = f"/api/v1/alerts/{alert.alert_id}/ack"
        answer = await client.put(address, json={"note": "seen"})
        assert answer.status == 201
        for socket in (one, other):
            frame = await frames(socket, "alert")
            while frame["alert"]["alert_id"] != alert.alert_id:
                frame = await frames(socket, "alert")
            assert frame["ack"]["note"] == "seen"
        assert (await client.delete(address)).status == 204
        frame = await frames(one, "alert")
        assert frame["ack"] is None


@pytest.mark.parametrize("seconds", [10.03, 10.04, 10.049, 10.051, 10.999])
def test_a_browser_learns_that_an_acknowledgement_has_ended(seconds: float) -> None:
    live, until = Live(), BEGIN + timedelta(seconds=seconds)
    alert = QualityAlert(
        alert_id="1", stream_id="channel", kind="black", state="firing", started_at=BEGIN, value=1, segment_id="s", labels={}
    )
    score = make_score(0).to_bytes()
    live.add_score(read_score(score), score, BEGIN.timestamp())
    live.add_alert(alert)
    live.set_ack("1", AlertAcknowledgement(alert_id="1", by="Ada", at=BEGIN, stream_id="channel", until=until))
    feed, now = Feed(live, LabelFilter()), until.timestamp() + 0.0004
    live.tick(now - 1)
    live.changes()
    live.tick(now)
    told = [json.loads(text) for text in feed.frames(live.changes(), now)]
    # The page compares the frame's time with the acknowledgement's end, and no other frame comes.
    ends = [(frame["at"], datetime.fromisoformat(frame["ack"]["until"])) for frame in told if frame["type"] == "alert"]
    assert [end.timestamp() <= at for at, end in ends] == [True]
    snapshot = json.loads(Feed(live, LabelFilter()).snapshot(now))
    assert snapshot["at"] >= until.timestamp(), "nor does one come to a browser that joins now"


def token_wall(seeded: Fleet, path: Path, limits: WebLimits | None = None) -> Wall:
    options = AccessOptions("0.0.0.0", tokens=Tokens(path))
    return fleet_wall(seeded, limits or WebLimits(rate=1000, burst=1000), Gate(options))


@pytest.fixture
def tokens_file(tmp_path: Path) -> tuple[Path, str]:
    path = tmp_path / "tokens.json"
    return path, add_token(path, "tv", ["read"], {"tier": "premium"})


async def closed_with(socket: ClientWebSocketResponse) -> int | None:
    while (await socket.receive(timeout=8)).type is WSMsgType.TEXT:
        pass
    return socket.close_code


async def test_who_is_not_known_gets_nothing(seeded: Fleet, tokens_file: tuple[Path, str]) -> None:
    path, secret = tokens_file
    async with TestClient(TestServer(make_app(token_wall(seeded, path)))) as client:
        for hello in ('{"type":"hello"}', '{"type":"hello","token":"fvq_wrong"}', "5", '{"type":"hello","token":5}'):
            async with client.ws_connect(LIVE) as socket:
                await socket.send_str(hello)
                assert await closed_with(socket) == 4401
        async with client.ws_connect(LIVE) as socket:
            await socket.send_str(json.dumps({"type": "hello", "token": secret}))
            snapshot = await frames(socket, "snapshot")
            tiers = {labels["tier"] for labels in snapshot["streams"]["labels"]}
            assert tiers == {"premium"}, "a token sees its labels only"
        async with client.ws_connect(f"{LIVE}?label=tier:free") as socket:
            await socket.send_str(json.dumps({"type": "hello", "token": secret}))
            assert await closed_with(socket) == 4403
        async with client.ws_connect(f"{LIVE}?label=tier:free&label=tier:premium") as socket:
            await socket.send_str(json.dumps({"type": "hello", "token": secret}))
            either = await frames(socket, "snapshot")
            assert {labels["tier"] for labels in either["streams"]["labels"]} == {"premium"}, "of either, what it may see"


async def test_a_page_of_another_site_opens_no_socket(client: TestClient) -> None:
    answer = await client.get(LIVE, headers={"Origin": "https://evil.example", "Connection": "Upgrade", "Upgrade": "websocket"})
    assert answer.status == 403


async def test_a_token_has_eight_sockets(seeded: Fleet, tokens_file: tuple[Path, str]) -> None:
    path, secret = tokens_file
    headers = {"Authorization": f"Bearer {secret}"}
    async with TestClient(TestServer(make_app(token_wall(seeded, path)))) as client:
        sockets = [await client.ws_connect(LIVE, headers=headers) for _ in range(8)]
        for socket in sockets:
            await frames(socket, "snapshot")
        ninth = await client.ws_connect(LIVE, headers=headers)
        assert await closed_with(ninth) == 4429
        for socket in sockets:
            await socket.close()


async def test_the_server_says_goodbye(seeded: Fleet) -> None:
    server = TestServer(make_app(fleet_wall(seeded)))
    client = TestClient(server)
    await client.start_server()
    socket = await client.ws_connect(LIVE)
    await frames(socket, "snapshot")
    began = time.monotonic()
    closing = asyncio.create_task(server.close())
    assert (await frames(socket, "bye"))["reason"] == "restart"
    assert await closed_with(socket) == 1001
    await closing
    assert time.monotonic() - began < 5
    await client.close()


def test_a_browser_that_falls_behind_gets_a_fresh_snapshot(seeded: Fleet) -> None:
    hub = Hub(seeded.live, lambda: seeded.now)
    slow, quick = hub.join(LabelFilter()), hub.join(LabelFilter())
    assert slow is not None
    assert quick is not None
    seen: list[str] = []
    for beat in range(1, 3 * QUEUE):
        seeded.play(seeded.played + 0.5)
        hub.step(beat)
        seen += [frame["type"] for frame in _drained(quick)]
    assert seen.count("snapshot") == 1, "only who falls behind gets another"
    assert slow.queue.qsize() <= QUEUE
    while not slow.queue.empty():
        slow.queue.get_nowait()
    slow.restart()
    hub.step(1)
    (fresh,) = _drained(slow)
    assert fresh["type"] == "snapshot"
    seeded.play(seeded.played + 0.5)
    hub.step(2)
    numbers = [frame["n"] for frame in _drained(slow) if "n" in frame]
    assert numbers
    assert numbers[0] == fresh["n"] + 1, "what follows a snapshot joins it"


def _drained(browser: Any) -> list[dict[str, Any]]:
    return [json.loads(text) for _ in range(browser.queue.qsize()) for text in browser.queue.get_nowait()]


def _add(live: Live, score: SegmentScore, received: float) -> None:
    live.add_score(read_score(score.to_bytes()), score.to_bytes(), received)


def test_a_stream_of_many_renditions_can_be_watched() -> None:
    live = Live()
    names = [f"{number}p" for number in range(MOST_RENDITIONS)]
    for name in names:
        _add(live, make_score(0, 50, rendition=name), START)
    hub = Hub(live, lambda: START)
    browser = hub.join(LabelFilter())
    assert browser is not None
    hub.take(browser, '{"type":"watch","id":"channel"}')
    for sequence in (1, 2):
        for name in names:
            _add(live, make_score(sequence, 50, rendition=name), START + SECONDS * sequence)
        hub.step(sequence)
    frames = _drained(browser)
    assert [frame["type"] for frame in frames].count("snapshot") == 1
    told = [(frame["event"]["sequence"], frame["event"]["rendition"]) for frame in frames if frame["type"] == "event"]
    assert told == [(sequence, name) for sequence in (0, 1, 2) for name in names]
    for sequence in range(3, 3000):
        _add(live, make_score(sequence, 50, rendition="1p"), START + SECONDS * sequence)
    hub.step(1)
    assert len(_drained(browser)) < 2 * MOST_RENDITIONS, "a backlog that is read at once does not wait in memory"


def test_a_stream_that_was_just_forgotten_cannot_be_watched() -> None:
    live = Live()
    _add(live, make_score(0, 50), START)
    hub = Hub(live, lambda: START)
    browser = hub.join(LabelFilter())
    assert browser is not None
    live.add_state("channel", None)
    hub.take(browser, '{"type":"watch","id":"channel"}')
    assert browser.watched is None
    assert not live.watched


def test_a_row_that_is_told_again_has_the_end_of_the_same_segment() -> None:
    live, ends = Live(), []
    _add(live, make_score(0, 50), START)
    hub = Hub(live, lambda: START)
    browser = hub.join(LabelFilter())
    assert browser is not None
    hub.step(1)
    _add(live, make_score(1, 60), START + SECONDS)
    hub.step(2)
    live.add_state("channel", StreamState("channel"))
    hub.step(3)
    hub.take(browser, '{"type":"sparks","i":[0]}')
    _add(live, make_score(2, 60), START + 2 * SECONDS)
    hub.step(5)
    ends = [frame["e"] for frame in _drained(browser) if frame["type"] in ("scores", "sparks")]
    begun = round(START * 10)
    assert ends == [[begun + 20], [begun + 40], [begun + 40], [begun + 40], [begun + 60]]


def test_a_watched_stream_that_loses_the_label_is_told_no_more() -> None:
    live, now = Live(), time.time()
    hub = Hub(live, lambda: now)

    def score(sequence: int, tier: str) -> str:
        told = make_score(sequence, 50, begin=datetime.fromtimestamp(now, UTC), labels={"tier": tier})
        live.add_score(read_score(told.to_bytes()), told.to_bytes(), now)
        return told.segment_id

    score(0, "premium")
    browser = hub.join(LabelFilter.of([("tier", "premium")]))
    assert browser is not None
    stream_id = next(iter(live.streams))
    hub.watch(browser, stream_id)
    shown, hidden = score(1, "premium"), score(2, "free")
    hub.step(1)
    later = score(3, "free")
    hub.step(2)
    told = {frame["event"]["segment_id"] for frame in _drained(browser) if frame["type"] == "event"}
    assert told.isdisjoint((hidden, later))
    assert shown != hidden
