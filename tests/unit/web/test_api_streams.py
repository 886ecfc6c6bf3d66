"""The API about streams: lists, one stream, its course, segments and pictures."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from streams.events import SegmentScore
from streams.history.sqlite import SqliteHistory
from streams.sinks.sqlite import SqliteSink
from streams.web.access.limits import WebLimits
from streams.web.api.answers import StreamItem
from streams.web.api.cursors import cursor_of
from streams.web.reading import read_score
from streams.web.server import make_app
from streams.web.stream import NO_ALERT
from tests.support.fleet import Fleet, fleet_wall
from tests.support.web import ROOT, get


def one_with_alert(fleet: Fleet) -> str:
    return next(id for id, stream in fleet.live.streams.items() if stream.alerts)


async def test_the_summary_counts_every_stream_once(client: TestClient, seeded: Fleet) -> None:
    summary = await get(client, "/summary")
    assert summary["streams"] == len(seeded.live.streams)
    assert summary["bad"] + summary["poor"] + summary["fair"] + summary["good"] + summary["excellent"] == summary["live"]
    assert summary["alerts"] == len(seeded.live.firing())
    premium = await get(client, "/summary?label=tier:premium")
    assert 0 < premium["streams"] < summary["streams"]
    assert all(isinstance(value, int | float | None | dict) for value in summary.values())


async def test_the_worst_stream_comes_first_and_pages_join(client: TestClient, seeded: Fleet) -> None:
    seen, cursor = [], ""
    while True:
        page = await get(client, f"/streams?limit=17{cursor}")
        seen += page["items"]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert {item["stream_id"] for item in seen} == set(seeded.live.streams)
    assert len(seen) == len(seeded.live.streams)
    rows = {row.stream_id: row for row in seeded.live.rows(seeded.played + 2.0)}
    ranks = [rows[item["stream_id"]].rank for item in seen]
    assert ranks == sorted(ranks)
    quiet = [item["smoothed"] for item in seen if rows[item["stream_id"]].rank == NO_ALERT and item["smoothed"] is not None]
    assert quiet == sorted(quiet)
    assert set(seen[0]) == set(StreamItem.model_fields)


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/streams?" + "&".join(["state=ok"] * 13), "state: at most 12 may be asked for, not 13"),
        ("/alerts?" + "&".join(["label=tier:premium"] * 33), "label: at most 32 may be asked for, not 33"),
        ("/streams?q=" + "x" * 257, "q: must have at most 256 characters"),
    ],
)
async def test_what_is_too_long_is_refused_with_how_much_may_be_asked_for(client: TestClient, path: str, detail: str) -> None:
    assert (await get(client, path, 400))["detail"] == detail


async def test_filters_of_streams(client: TestClient, seeded: Fleet) -> None:
    low = (await get(client, "/streams?below=40&limit=1000"))["items"]
    assert low
    assert all(item["smoothed"] < 40 for item in low)
    black = (await get(client, "/streams?state=black&state=frozen"))["items"]
    assert {item["state"] for item in black} == {"black", "frozen"}
    both = (await get(client, "/streams?label=tier:premium&label=origin:fra2&limit=1000"))["items"]
    assert {(item["labels"]["tier"], item["labels"]["origin"]) for item in both} == {("premium", "fra2")}
    found = (await get(client, "/streams?q=CREATOR-8%2F1"))["items"]
    assert {item["stream_id"][:11] for item in found} == {"creator-8/1"}
    named = (await get(client, "/streams?q=Origin:FRA&limit=1000"))["items"]
    assert {item["labels"]["origin"][:3] for item in named} == {"fra"}, "as the page's filter finds them"
    narrow = (await get(client, "/streams?fields=stream_id,score,state&limit=1"))["items"]
    assert list(narrow[0]) == ["stream_id", "score", "state"]
    ids = [item["stream_id"] for item in (await get(client, "/streams?sort=id&limit=1000"))["items"]]
    assert ids == sorted(ids)


@pytest.mark.parametrize(
    "stream_id",
    [
        "a/b",
        "a%2Fb",
        "..",
        ".",
        "../../etc/passwd",
        'say "hi"',
        "مرحبا",
        "x" * 256,
        "a?b#c",
        "a b+c",
        "{x}",
        "a\0b\r\nX: y",
        "\U0001f600" * 256,
    ],
)
async def test_any_id_is_a_value_and_never_a_path(client: TestClient, seeded: Fleet, stream_id: str) -> None:
    channel = seeded.channels[0]
    score = next(iter(channel.scores)).model_copy(update={"stream_id": stream_id, "start": datetime.now(UTC)})
    data = score.to_bytes()
    seeded.live.add_score(read_score(data), data, time.time())
    try:
        name = quote(stream_id, safe="").replace(".", "%2E")
        address = URL(f"{ROOT}/streams/{name}", encoded=True)
        answer = await client.get(address)
        assert answer.status == 200, await answer.text()
        assert (await answer.json())["stream_id"] == stream_id
        page = await client.get(URL(f"/streams/{name}", encoded=True))
        assert page.status == 200, "the page's own address"
        beside = await get(client, f"/streams?sort=id&cursor={cursor_of(('streams by id', stream_id))}&limit=1000")
        assert all(item["stream_id"] > stream_id for item in beside["items"])
    finally:
        seeded.live.add_state(stream_id, None)


async def test_a_stream_with_its_renditions_signals_and_alerts(client: TestClient, seeded: Fleet) -> None:
    stream_id = one_with_alert(seeded)
    detail = await get(client, f"/streams/{quote(stream_id, safe='')}")
    assert {entry["alert"]["stream_id"] for entry in detail["open_alerts"]} == {stream_id}
    assert detail["renditions"]
    for rendition in detail["renditions"]:
        assert set(rendition["signals"]) >= {"blur", "black", "face"}
    for last in detail["last"]:
        SegmentScore.model_validate(last)
    await get(client, "/streams/nobody", 404)


@pytest.mark.parametrize(("seconds", "step", "starts"), [(90, 60, [0, 60]), (20, 7.3, [0, 7.3, 14.6]), (30, 3600, [0])])
async def test_a_step_is_as_long_as_it_was_asked_for(
    client: TestClient, seeded: Fleet, seconds: int, step: float, starts: list[float]
) -> None:
    """Also where the range is no multiple of it: then the last point has less."""
    name = quote(seeded.channels[5].id, safe="")
    begin = int(seeded.played) - seconds
    course = await get(client, f"/streams/{name}/scores?from={begin}&to={begin + seconds}&step={step}")
    assert course["step"] == step
    times = [datetime.fromisoformat(point["t"]).timestamp() - begin for point in course["items"]]
    assert times == pytest.approx(starts, abs=0.001)
    assert course["items"][-1]["n"] == max(1, round((seconds - starts[-1]) / 2)), "segments of two seconds"


async def test_a_course_has_the_points_that_are_asked_for(client: TestClient, seeded: Fleet) -> None:
    name = quote(seeded.channels[5].id, safe="")
    course = await get(client, f"/streams/{name}/scores")
    assert 400 < len(course["items"]) <= 500
    assert course["step"] == 7.2
    assert set(course["items"][0]) == {"t", "mean", "min", "max", "n", "uncertainty"}
    now = int(time.time() * 1000)
    exact = await get(client, f"/streams/{name}/scores?from={now - 600_000}&to={now}&step=10")
    assert len(exact["items"]) == 60
    assert (await get(client, f"/streams/{name}/scores?to=0"))["at"] == "1970-01-01T00:00:00.000Z"
    for query, field in (
        (f"from={now}&to={now}", "from"),
        (f"from={now}&to={now - 1}", "from"),
        ("from=0&step=1", "step"),
        ("from=yesterday", "from"),
        ("to=1969-01-01T00:00:00Z", "to"),
        ("step=0", "step"),
        ("step=5e-324", "step"),
    ):
        assert (await get(client, f"/streams/{name}/scores?{query}", 400))["field"] == field
    await get(client, "/streams/nobody/scores", 404)


async def test_a_past_course_a_segment_and_a_picture_are_answered_by_their_tag(client: TestClient, seeded: Fleet) -> None:
    channel = seeded.channels[5]
    name = quote(channel.id, safe="")
    past = int(time.time()) - 3600
    segment = quote(channel.scores[-1].segment_id, safe="")
    picture = (await get(client, f"/streams/{name}/pictures"))["items"][0]["url"]
    for address in (
        f"{ROOT}/streams/{name}/scores?from={past - 600}&to={past}",
        f"{ROOT}/streams/{name}/segments/{segment}",
        picture,
    ):
        first = await client.get(address)
        assert first.status == 200
        tag = first.headers["ETag"]
        second = await client.get(address, headers={"If-None-Match": tag})
        assert (second.status, await second.read()) == (304, b"")
        assert (await client.get(address, headers={"If-None-Match": '"other"'})).status == 200
    live = await client.get(f"{ROOT}/streams")
    assert live.headers["Cache-Control"] == "no-store"
    assert "ETag" not in live.headers


async def test_pictures_and_the_pair(client: TestClient, seeded: Fleet) -> None:
    stream_id = next(
        channel.id
        for channel in seeded.channels
        if channel.incident and channel.incident.cause == "encoder" and not channel.incident.over
    )
    name = quote(stream_id, safe="")
    pair = await get(client, f"/streams/{name}/compare")
    assert pair["good"]["start"] < pair["bad"]["start"]
    for picture in (pair["good"], pair["bad"]):
        answer = await client.get(picture["url"])
        assert (await answer.read())[:2] == b"\xff\xd8"
        assert answer.content_type == "image/jpeg"
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.headers["Vary"] == "Authorization, Cookie", "it is kept for who may see it"
    assert (await client.get(f"{ROOT}/streams/{name}/picture.jpg")).status == 200
    await get(client, f"/streams/{name}/picture.jpg?at=nothing", 404)
    assert (await get(client, f"/streams/{name}/compare?at=0"))["good"] is None


async def test_of_two_values_of_a_label_either_will_do(client: TestClient) -> None:
    items = (await get(client, "/streams?label=tier:premium&label=tier:free&label=origin:fra2&limit=1000"))["items"]
    assert {(item["labels"]["tier"], item["labels"]["origin"]) for item in items} == {("premium", "fra2"), ("free", "fra2")}
    summary = await get(client, "/summary?label=tier:premium&label=tier:free&label=origin:fra2")
    assert summary["streams"] == len(items)
    alerts = (await get(client, "/alerts?label=origin:fra2&label=origin:fra3&limit=1000"))["items"]
    assert {entry["alert"]["labels"]["origin"] for entry in alerts} == {"fra2", "fra3"}


async def test_the_addresses_of_a_segment_are_shown_without_user_and_password(client: TestClient, seeded: Fleet) -> None:
    channel = seeded.channels[5]
    address, name = "https://{}cdn.example:8443/a@b/1.ts?of=c@d", quote(channel.id, safe="")
    with_user, score = address.format("ann:pass%2F@"), channel.scores[-1]
    parts = {"uri": with_user, "init_uri": with_user, "key": {"method": "AES-128", "uri": with_user, "iv": "0" * 32}}
    channel.scores[-1] = SegmentScore.model_validate(score.model_dump() | parts)
    rendition = seeded.live.streams[channel.id].renditions[score.rendition or ""]
    last, rendition.last = rendition.last, channel.scores[-1].to_bytes()
    segments = await get(client, f"/streams/{name}/segments?limit=1")
    whole = await get(client, f"/streams/{name}")
    one = await get(client, f"/streams/{name}/segments/{quote(score.segment_id, safe='')}")
    channel.scores[-1], rendition.last = score, last
    for told in (segments["items"][0], one, next(each for each in whole["last"] if each["segment_id"] == score.segment_id)):
        assert {told["uri"], told["init_uri"], told["key"]["uri"]} == {address.format("")}
    assert all("pass" not in json.dumps(answer) for answer in (segments, whole, one))


async def test_segments_come_newest_first_and_pages_join(client: TestClient, seeded: Fleet) -> None:
    channel = seeded.channels[5]
    name = quote(channel.id, safe="")
    seen: list[str] = []
    cursor = ""
    while True:
        page = await get(client, f"/streams/{name}/segments?limit=7{cursor}")
        assert len(page["items"]) <= 7
        seen += [item["segment_id"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == [score.segment_id for score in reversed(channel.scores)]
    middle = channel.scores[10]
    at = int(middle.start.timestamp() * 1000)
    exact = (await get(client, f"/streams/{name}/segments?from={at}&to={at + 1}"))["items"]
    assert [item["segment_id"] for item in exact] == [middle.segment_id]
    SegmentScore.model_validate(exact[0])
    assert (await get(client, f"/streams/{name}/segments?from={at}&to={at}", 400))["field"] == "from"
    for wrong in (cursor_of((1.5, 1)), cursor_of((at, 0)), cursor_of((at, 10**6)), cursor_of((-1, 1)), cursor_of(("a",))):
        assert (await get(client, f"/streams/{name}/segments?cursor={wrong}", 400))["field"] == "cursor"
    await get(client, "/streams/nobody/segments", 404)


async def test_renditions_that_start_together_are_each_given_once(seeded: Fleet, tmp_path: Path) -> None:
    channel = seeded.channels[5]
    # Not at whole milliseconds, which the store keeps.
    start = datetime.fromtimestamp(int(time.time()) - 60, UTC) + timedelta(microseconds=123_700)
    names = ("1080p", "720p", "480p", "360p", "240p")
    together = [
        channel.scores[-1].model_copy(
            update={"segment_id": f"{number}-{name}", "rendition": name, "start": start + timedelta(seconds=2 * number)}
        )
        for number in range(3)
        for name in names
    ]
    sink = SqliteSink(tmp_path)
    for score in together:
        sink.add(score)
    assert await sink.flush() == []
    wall = replace(fleet_wall(seeded, WebLimits(rate=1000, burst=1000)), history=SqliteHistory(sink.path))
    async with TestClient(TestServer(make_app(wall))) as client:
        for limit in (1, 2, 3, 4, 7, 15):
            seen, cursor = [], ""
            for _ in together:
                page = await get(client, f"/streams/{quote(channel.id, safe='')}/segments?limit={limit}{cursor}")
                seen += [item["segment_id"] for item in page["items"]]
                if page["next"] is None:
                    break
                cursor = f"&cursor={page['next']}"
            assert seen == [score.segment_id for score in reversed(together)]


async def test_older_segments_are_reached_behind_more_of_one_start_than_pages_tell_apart(seeded: Fleet, tmp_path: Path) -> None:
    channel = seeded.channels[5]
    stood = datetime.fromtimestamp(int(time.time()) - 60, UTC)  # where a packager's clock stood still
    sink = SqliteSink(tmp_path)
    starts = [*(stood - timedelta(seconds=back) for back in (3, 2, 1)), *[stood] * 1000]
    for number, start in enumerate(starts):
        sink.add(channel.scores[-1].model_copy(update={"segment_id": str(number), "start": start}))
    assert await sink.flush() == []
    wall = replace(fleet_wall(seeded, WebLimits(rate=1000, burst=1000)), history=SqliteHistory(sink.path))
    path = f"/streams/{quote(channel.id, safe='')}/segments?limit=400"
    async with TestClient(TestServer(make_app(wall))) as client:
        for before, older in ((10, ["2", "1", "0"]), (0, [])):
            pages, cursor = [], ""
            while not pages or cursor:
                page = await get(client, f"{path}&from={int(stood.timestamp()) - before}{cursor}")
                pages.append([item["segment_id"] for item in page["items"]])
                cursor = f"&cursor={page['next']}" if page["next"] is not None else ""
            assert [len(page) for page in pages[:-1]] == [400, 400]
            assert len({name for page in pages for name in page}) == 800 + len(older), "each once"
            assert pages[-1] == older


async def test_a_cursor_that_is_before_the_range_is_at_its_end(client: TestClient, seeded: Fleet) -> None:
    channel = seeded.channels[5]
    path = f"/streams/{quote(channel.id, safe='')}/segments?limit=1"
    cursor = (await get(client, path))["next"]
    later = int(channel.scores[-1].start.timestamp() * 1000) + 1  # without `from` the range moves on with the time
    page = await get(client, f"{path}&from={later}&cursor={cursor}")
    assert (page["items"], page["next"]) == ([], None)
