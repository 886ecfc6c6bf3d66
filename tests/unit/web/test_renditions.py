"""Streams of several renditions, some of which are taken off the ladder."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from streams.events import OperatorRating, QualityAlert, SegmentScore, TrainingExample
from streams.history.sqlite import SqliteHistory
from streams.sinks.sqlite import SqliteSink
from streams.web.live import FORGET_SECONDS, Live
from streams.web.pictures import Picture, Pictures
from streams.web.reading import read_score
from streams.web.server import make_app
from streams.web.stream import Row
from tests.support.alerts import BEGIN, SECONDS, make_score
from tests.support.fleet import Fleet, fleet_wall
from tests.support.web import ROOT, get

START = BEGIN.timestamp()


def put(live: Live, sequence: int, score: float | None, rendition: str, after: float = 0.0) -> None:
    """Take a score; None for a skipped segment. after: seconds by which its stream begins later."""
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


def show(live: Live, sequence: int, score: float, rendition: str) -> Pictures:
    """Take a segment's score, then its picture, whose bytes say which it is. Renditions have the same ids of segments."""
    put(live, sequence, score, rendition)
    start, body = START + sequence * SECONDS, f"{rendition} {sequence}".encode()
    live.add_picture("channel", Picture(body, f"s{sequence}", start, score, 160, 90, rendition, start + SECONDS + 1))
    return live.streams["channel"].pictures


def shown(picture: Picture | None) -> str | None:
    return picture.jpeg.decode() if picture is not None else None


def test_the_picture_of_the_rendition_that_turns_bad_is_the_first_bad_one() -> None:
    live = Live()
    for sequence in range(3):
        show(live, sequence, 85, "240p")
    show(live, 3, 88, "1080p")
    kept = show(live, 3, 12, "240p")
    assert (shown(kept.last_good), shown(kept.first_bad)) == ("1080p 3", "240p 3"), "both begin at the same time"
    show(live, 5, 88, "1080p")
    kept = show(live, 6, 12, "240p")
    assert (shown(kept.last_good), shown(kept.first_bad)) == ("1080p 3", "240p 3"), "a good rendition ends no bad stretch"
    live.add_alert(alert_of_rendition("240p"))
    kept = show(live, 9, 88, "1080p")
    assert (shown(kept.last), shown(kept.first_bad)) == ("1080p 9", "240p 3")
    live.add_alert(alert_of_rendition("240p", state="resolved", ended_at=BEGIN + timedelta(seconds=40)))
    assert shown(show(live, 20, 88, "1080p").last_good) == "1080p 3", "the other one is bad still"
    put(live, 21, 80, "240p")
    assert shown(show(live, 22, 88, "1080p").last_good) == "1080p 22"
    assert shown(show(live, 23, 10, "240p").first_bad) == "240p 23"


def test_of_two_bad_renditions_one_that_recovers_ends_no_bad_stretch() -> None:
    live = Live()
    show(live, 0, 88, "720p")
    show(live, 3, 12, "240p")
    show(live, 6, 12, "480p")
    kept = show(live, 9, 88, "480p")
    assert (shown(kept.last_good), shown(kept.first_bad)) == ("720p 0", "240p 3")
    kept = show(live, 12, 12, "240p")
    assert (shown(kept.good_before), shown(kept.first_bad)) == ("720p 0", "240p 3"), "the stretch goes on"
    assert shown(show(live, 15, 88, "240p").last_good) == "240p 15", "all are good again"


def test_a_skipped_segment_of_another_rendition_is_neither_good_nor_bad() -> None:
    live = Live()
    show(live, 0, 88, "720p")
    show(live, 3, 12, "240p")
    put(live, 6, None, "240p")
    assert shown(show(live, 7, 88, "720p").last_good) == "720p 0", "240p was bad, and nobody knows better"
    put(live, 7, None, "480p")
    put(live, 8, None, "720p")
    assert shown(show(live, 9, 88, "240p").last_good) == "240p 9", "of the others none is known to be bad"


def test_a_rendition_that_is_behind_does_not_take_the_last_picture_back() -> None:
    ahead = Picture(b"1080p", "s20", START + 40, 85, 160, 90, "1080p", START + 43)
    behind = Picture(b"240p", "s10", START + 20, 12, 160, 90, "240p", START + 44)
    kept = Pictures().with_picture(ahead, True).with_picture(behind, False)
    assert (shown(kept.last), shown(kept.first_bad)) == ("1080p", "240p")
    assert kept.with_picture(replace(behind, start=START + 42), False).last != ahead


def alert_of_rendition(rendition: str, **changes: Any) -> QualityAlert:
    return QualityAlert(
        alert_id="a", stream_id="channel", rendition=rendition, kind="low-quality", started_at=BEGIN, value=20, segment_id="s3",
        **{"state": "firing", **changes},
    )  # fmt: skip


def test_a_rendition_that_went_while_it_was_bad_does_not_keep_its_stream_bad() -> None:
    live = Live()
    show(live, 0, 12, "240p")
    kept = show(live, 40, 88, "1080p")
    assert shown(kept.last_good) == "1080p 40"


async def test_each_picture_has_an_address_of_its_own(client: TestClient, seeded: Fleet) -> None:
    stream = next(stream for stream in seeded.live.streams.values() if stream.pictures.last is not None)
    before, last = stream.pictures, stream.pictures.last
    assert last is not None
    try:
        good = replace(last, segment_id="s 1&2", rendition="1080p", jpeg=b"good")
        stream.pictures = Pictures(last=good, last_good=good, first_bad=replace(good, rendition="2/4 0p", jpeg=b"bad"))
        pair = await get(client, f"{stream_path(stream.id)}/compare")
        for side in ("good", "bad"):
            answer = await client.get(URL(pair[side]["url"], encoded=True))
            assert await answer.read() == side.encode()
        stream.pictures = Pictures(last=replace(good, rendition=None))
        address = f"{ROOT}{stream_path(stream.id)}/picture.jpg?at={quote(good.segment_id)}&rendition="
        assert (await client.get(address)).status == 200, "empty: the one of none"
        assert (await client.get(f"{address}1080p")).status == 404
    finally:
        stream.pictures = before


def stream_path(stream_id: str) -> str:
    return f"/streams/{quote(stream_id, safe='')}"


async def test_a_segment_is_shown_and_rated_by_its_rendition(seeded: Fleet, tmp_path: Path) -> None:
    live, sink, rated = Live(), SqliteSink(tmp_path), []
    for number, rendition in product(range(3), ("240p", "720p", None)):
        told = make_score(number, 50, rendition=rendition)
        live.add_score(read_score(told.to_bytes()), told.to_bytes(), told.start.timestamp() + SECONDS + 1)
        sink.add(told)
    await sink.flush()

    async def rate(score: SegmentScore, _: OperatorRating) -> TrainingExample:
        rated.append(score.rendition)
        return seeded.examples[0]

    wall = replace(fleet_wall(seeded), live=live, history=SqliteHistory(sink.path), rate=rate)
    async with TestClient(TestServer(make_app(wall))) as client:
        for number, rendition in product((0, 2), ("240p", "720p", "")):
            segment = f"/streams/channel/segments/{quote(make_score(number).segment_id, safe='')}"
            assert (await get(client, f"{segment}?rendition={rendition}")).get("rendition", "") == rendition
            answer = await client.post(f"{ROOT}{segment}/rating?rendition={rendition}", json={"level": 3})
            assert (answer.status, rated.pop() or "") == (201, rendition)
            await get(client, f"{segment}?rendition=1080p", 404)
            await get(client, segment)


async def test_clips_are_listed_by_their_rendition(client: TestClient, seeded: Fleet) -> None:
    renditions = {example.rendition for example in seeded.examples}
    assert len(renditions) > 1
    for rendition in renditions:
        items = (await get(client, f"/clips?rendition={rendition or ''}&limit=1000"))["items"]
        assert {item["rendition"] for item in items} == {rendition}
    assert not (await get(client, "/clips?rendition=nobody's"))["items"]
