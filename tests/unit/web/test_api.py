"""The API: what each route answers on a seeded fleet, and what it refuses."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from streams.errors import BrokerError, HistoryError
from streams.events import AlertAcknowledgement, SegmentScore
from streams.web.access.limits import WebLimits
from streams.web.api.answers import StreamItem
from streams.web.api.cursors import cursor_of
from streams.web.api.routes import ROUTES
from streams.web.reading import read_score
from streams.web.server import make_app
from streams.web.stream import NO_ALERT
from tests.support.fleet import Fleet, fleet_wall

ROOT = "/api/v1"


async def get(client: TestClient, path: str, status: int = 200, **headers: str) -> Any:
    answer = await client.get(ROOT + path, headers=headers)
    assert answer.status == status, await answer.text()
    return await answer.json()


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
    rows = {one.stream_id: one for one in seeded.live.rows(time.time())}
    ranks = [rows[item["stream_id"]].rank for item in seen]
    assert ranks == sorted(ranks)
    quiet = [item["smoothed"] for item in seen if rows[item["stream_id"]].rank == NO_ALERT and item["smoothed"] is not None]
    assert quiet == sorted(quiet)
    assert set(seen[0]) == set(StreamItem.model_fields)


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
    narrow = (await get(client, "/streams?fields=stream_id,score,state&limit=1"))["items"]
    assert list(narrow[0]) == ["stream_id", "score", "state"]
    ids = [item["stream_id"] for item in (await get(client, "/streams?sort=id&limit=1000"))["items"]]
    assert ids == sorted(ids)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("streams?labels=a:b", "labels"),
        ("streams?label=tier", "label"),
        ("streams?limit=0", "limit"),
        ("streams?limit=1001", "limit"),
        ("streams?limit=5&limit=6", "limit"),
        ("streams?below=nan", "below"),
        ("streams?below=inf", "below"),
        ("streams?state=purple", "state"),
        ("streams?fields=password", "fields"),
        ("streams?sort=name", "sort"),
        ("streams?cursor=!!", "cursor"),
        ("streams?cursor=AAAA", "cursor"),
        ("alerts?kind=purple", "kind"),
        ("groups?x=1", "x"),
        ("summary?label=tier", "label"),
        ("streams?label=a:b&label=:c", "label"),
    ],
)  # fmt: skip
async def test_a_wrong_query_is_refused_with_its_name(client: TestClient, query: str, field: str) -> None:
    answer = await client.get(f"{ROOT}/{query}")
    assert answer.status == 400
    assert answer.content_type == "application/problem+json"
    problem = await answer.json()
    assert problem["field"] == field
    assert problem["detail"]
    assert "pattern" not in problem["detail"], "it says what to do"


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
        beside = await get(client, f"/streams?sort=id&cursor={cursor_of((stream_id,))}&limit=1000")
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


async def test_a_course_has_the_points_that_are_asked_for(client: TestClient, seeded: Fleet) -> None:
    name = quote(seeded.channels[5].id, safe="")
    course = await get(client, f"/streams/{name}/scores")
    assert 400 < len(course["items"]) <= 500
    assert course["step"] == 7.2
    assert set(course["items"][0]) == {"t", "mean", "min", "max", "n", "uncertainty"}
    now = int(time.time() * 1000)
    exact = await get(client, f"/streams/{name}/scores?from={now - 600_000}&to={now}&step=10")
    assert len(exact["items"]) == 60
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


async def test_alerts_are_listed_by_state_kind_and_stream(client: TestClient, seeded: Fleet) -> None:
    firing = (await get(client, "/alerts?limit=1000"))["items"]
    assert len(firing) == len(seeded.live.firing())
    starts = [entry["alert"]["started_at"] for entry in firing]
    assert starts == sorted(starts, reverse=True)
    seen = (await get(client, "/alerts?state=acknowledged&limit=1000"))["items"]
    unseen = (await get(client, "/alerts?state=unacknowledged&limit=1000"))["items"]
    assert len(seen) + len(unseen) == len(firing)
    assert all(entry["ack"] for entry in seen)
    over = (await get(client, "/alerts?state=resolved"))["items"]
    assert {entry["alert"]["state"] for entry in over} == {"resolved"}
    assert {entry["alert"]["kind"] for entry in (await get(client, "/alerts?state=all&kind=black"))["items"]} == {"black"}
    stream_id = firing[0]["alert"]["stream_id"]
    own = await get(client, f"/alerts?stream_id={quote(stream_id, safe='')}")
    assert {entry["alert"]["stream_id"] for entry in own["items"]} == {stream_id}


async def test_an_acknowledgement_from_its_making_to_its_end(client: TestClient, seeded: Fleet) -> None:
    alert = next(alert for alert in seeded.live.firing() if alert.alert_id not in seeded.live.acks)
    path = f"{ROOT}/alerts/{alert.alert_id}"
    first = await client.get(path)
    unseen_tag = first.headers["ETag"]
    made = await client.put(f"{path}/ack", json={"note": "on it"}, headers={"If-Match": unseen_tag})
    assert made.status == 201
    ack = (await made.json())["ack"]
    assert (ack["by"], ack["note"]) == ("local", "on it")
    assert (await client.put(f"{path}/ack", json={"note": "on it"})).status == 200, "the same again changes nothing"
    assert (await (await client.get(path)).json())["ack"] == ack
    late = await client.put(f"{path}/ack", json={"note": "me too"}, headers={"If-Match": unseen_tag})
    assert late.status == 412
    assert "local acknowledged it" in (await late.json())["detail"]
    assert (await client.put(f"{path}/ack", json={}, headers={"If-None-Match": "*"})).status == 412
    changed = await client.put(
        f"{path}/ack", json={"note": "done", "until": "2099-01-01T00:00:00Z"}, headers={"If-Match": made.headers["ETag"]}
    )
    assert changed.status == 200
    assert (await client.delete(f"{path}/ack")).status == 204
    assert (await client.delete(f"{path}/ack")).status == 204
    assert (await (await client.get(path)).json())["ack"] is None


async def test_of_several_at_once_one_is_the_first_to_acknowledge(seeded: Fleet) -> None:
    alert = next(alert for alert in seeded.live.firing() if alert.alert_id not in seeded.live.acks)
    wall = fleet_wall(seeded, WebLimits(rate=1000, burst=1000))
    waiting = 0

    async def slow(alert_id: str, ack: AlertAcknowledgement | None) -> None:
        nonlocal waiting
        waiting += 1
        assert waiting == 1, "two changes of one acknowledgement at once"
        await asyncio.sleep(0.01)
        waiting -= 1

    async with TestClient(TestServer(make_app(replace(wall, write_ack=slow)))) as client:
        path = f"{ROOT}/alerts/{alert.alert_id}/ack"
        puts = [client.put(path, json={"note": str(number)}, headers={"If-Match": '"none"'}) for number in range(4)]
        assert sorted(answer.status for answer in await asyncio.gather(*puts)) == [201, 412, 412, 412]
        tag = (await client.get(f"{ROOT}/alerts/{alert.alert_id}")).headers["ETag"]
        deletes = [client.delete(path, headers={"If-Match": tag}) for _ in range(2)]
        assert sorted(answer.status for answer in await asyncio.gather(*deletes)) == [204, 412]


async def test_pages_of_csv_say_where_the_next_one_is(client: TestClient, seeded: Fleet) -> None:
    ids: list[str] = []
    address: str | None = f"{ROOT}/streams?format=csv&sort=id&limit=50&fields=stream_id&label=note:-"
    while address is not None:
        answer = await client.get(URL(address, encoded=True))
        assert answer.status == 200
        ids += (await answer.text()).splitlines()[1:]
        link = answer.headers.get("Link")
        address = link[1 : link.index(">")] if link is not None else None
        assert link is None or link.endswith('; rel="next"')
    assert len(ids) == len(set(ids)) == sum(stream.labels["note"] == "-" for stream in seeded.live.streams.values())
    alerts = await client.get(f"{ROOT}/alerts?format=csv&state=all&limit=1")
    assert alerts.headers["Link"].startswith(f"<{ROOT}/alerts?")


@pytest.mark.parametrize("level", ["true", '"3"', "3.0", "0", "6", "null"])
async def test_a_level_is_a_whole_number(client: TestClient, seeded: Fleet, level: str) -> None:
    score = seeded.channels[0].scores[-1]
    address = f"{ROOT}/streams/{quote(score.stream_id, safe='')}/segments/{quote(score.segment_id, safe='')}/rating"
    kind = {"Content-Type": "application/json"}
    assert (await client.post(URL(address, encoded=True), data=f'{{"level": {level}}}', headers=kind)).status == 400


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"note": "x" * 2001}, 400),
        ({"until": "2001-01-01T00:00:00Z"}, 400),
        ({"by": "somebody else"}, 400),
        ([], 400),
        ({"note": "x" * 20_000}, 413),
    ],
)  # fmt: skip
async def test_a_wrong_acknowledgement_is_refused(client: TestClient, seeded: Fleet, body: Any, status: int) -> None:
    alert = seeded.live.firing()[0]
    answer = await client.put(f"{ROOT}/alerts/{alert.alert_id}/ack", json=body)
    assert answer.status == status
    assert answer.content_type == "application/problem+json"


async def test_what_cannot_be_acknowledged(client: TestClient, seeded: Fleet) -> None:
    over = next(alert for alert in seeded.live.alerts.values() if alert.state == "resolved")
    assert (await client.put(f"{ROOT}/alerts/{over.alert_id}/ack", json={})).status == 409
    assert (await client.put(f"{ROOT}/alerts/unknown/ack", json={})).status == 404
    form = await client.put(
        f"{ROOT}/alerts/{over.alert_id}/ack", data="note=x", headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert form.status == 415


async def test_a_rating_queues_the_clip_and_tells_the_score_afterwards(client: TestClient, seeded: Fleet) -> None:
    channel = seeded.channels[5]
    score = next(score for score in reversed(channel.scores) if score.score is not None)
    path = f"{ROOT}/streams/{quote(channel.id, safe='')}/segments/{quote(score.segment_id, safe='')}/rating"
    answer = await client.post(path, json={"level": 2})
    assert answer.status == 201
    assert (await answer.json())["score"] == score.score
    kept = seeded.examples.pop()
    assert (kept.reason, kept.segment_id) == ("operator", score.segment_id)
    assert kept.operator is not None
    assert (kept.operator.level, kept.operator.by) == (2, "local")
    for body in ({"level": 0}, {"level": 6}, {"level": "2.5"}, {}, {"level": 2, "score": 5}):
        assert (await client.post(path, json=body)).status == 400
    assert (await client.post(path.replace(quote(score.segment_id, safe=""), "none"), json={"level": 2})).status == 404


async def test_csv_runs_no_formula(client: TestClient, seeded: Fleet) -> None:
    alert = seeded.live.firing()[0]
    await client.put(f"{ROOT}/alerts/{alert.alert_id}/ack", json={"note": '=HYPERLINK("x")'})
    answer = await client.get(f"{ROOT}/alerts?format=csv&limit=1000")
    assert answer.content_type == "text/csv"
    rows = list(csv.DictReader(io.StringIO(await answer.text())))
    assert len(rows) == len(seeded.live.firing())
    notes = {row["note"] for row in rows if row["alert_id"] == alert.alert_id}
    assert notes == {'\'=HYPERLINK("x")'}
    await client.delete(f"{ROOT}/alerts/{alert.alert_id}/ack")
    streams = list(csv.DictReader(io.StringIO(await (await client.get(f"{ROOT}/streams?format=csv")).text())))
    assert set(streams[0]) == set(StreamItem.model_fields)
    name = quote(seeded.channels[5].id, safe="")
    course = await (await client.get(f"{ROOT}/streams/{name}/scores?format=csv")).text()
    assert course.startswith("t,mean,min,max,n,uncertainty\r\n")


async def test_groups_health_clips_and_session(client: TestClient, seeded: Fleet) -> None:
    groups = (await get(client, "/groups?by=origin"))["items"]
    assert groups[0]["value"] == "fra2"
    health = await get(client, "/health")
    assert health["ready"]
    assert health["shifts"][0]["median_before"] == pytest.approx(71, abs=1)
    clips = (await get(client, "/clips?limit=1000"))["items"]
    scores = [clip["score"] for clip in clips]
    assert scores == sorted(scores)
    part = await client.get(clips[0]["url"], headers={"Range": "bytes=0-99"})
    assert (part.status, len(await part.read())) == (206, 100)
    await get(client, f"/clips/{'0' * 63}z.mp4", 404)
    assert (await get(client, "/session"))["scopes"] == ["read", "ack", "rate", "media"]


async def test_what_is_away_is_said_and_may_be_asked_again(seeded: Fleet) -> None:
    wall = fleet_wall(seeded, WebLimits(rate=1000, burst=1000, history_seconds=0.05))

    async def refused(*_: object) -> None:
        raise BrokerError("alert-acks does not take a message")

    class Broken:
        async def course(self, *_: object) -> None:
            raise HistoryError("the store is locked")

        async def segment(self, *_: object) -> None:
            await asyncio.sleep(60)

    broken = replace(wall, write_ack=refused, history=Broken())
    name = quote(seeded.channels[5].id, safe="")
    async with TestClient(TestServer(make_app(broken))) as client:
        alert = seeded.live.firing()[0]
        for answer in (
            await client.put(f"{ROOT}/alerts/{alert.alert_id}/ack", json={"note": "new"}),
            await client.get(f"{ROOT}/streams/{name}/scores"),
            await client.get(f"{ROOT}/streams/{name}/segments/none"),
        ):
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0
        assert alert.alert_id not in seeded.live.acks or seeded.live.acks[alert.alert_id].note != "new"
    unread = replace(wall, reading=lambda: (False, "no Kafka broker answers"))
    async with TestClient(TestServer(make_app(unread))) as client:
        assert (await client.get(f"{ROOT}/streams")).status == 503
        assert (await client.get("/readyz")).status == 503
        assert (await client.get("/healthz")).status == 200
        assert (await get(client, "/health"))["problem"] == "no Kafka broker answers"


async def test_a_fault_is_a_problem_too_and_tells_no_inside(seeded: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> float:
        raise RuntimeError("inside")

    async with TestClient(TestServer(make_app(replace(fleet_wall(seeded), reading=broken)))) as client:
        answer = await client.get(f"{ROOT}/streams")
        assert (answer.status, answer.content_type) == (500, "application/problem+json")
        assert "inside" not in await answer.text()
    assert "inside" in caplog.text


async def test_methods_addresses_and_headers(client: TestClient) -> None:
    wrong = await client.post(f"{ROOT}/streams", json={})
    assert wrong.status == 405
    assert wrong.headers["Allow"] == "GET"
    assert (await get(client, "/nothing", 404))["title"] == "Not Found"
    for path in (f"{ROOT}/streams", "/healthz", f"{ROOT}/nothing"):
        answer = await client.get(path)
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    metrics = await (await client.get("/metrics")).text()
    assert "fvq_web_streams" in metrics


async def test_too_many_requests_are_asked_to_wait(seeded: Fleet) -> None:
    async with TestClient(TestServer(make_app(fleet_wall(seeded, WebLimits(rate=0.02, burst=3))))) as client:
        answers = [await client.get(f"{ROOT}/session") for _ in range(5)]
        assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 50


async def test_the_document_describes_every_route(client: TestClient) -> None:
    answer = await client.get(f"{ROOT}/openapi.json")
    document = json.loads(await answer.read())
    assert {(method.upper(), path.removeprefix(ROOT)) for path, item in document["paths"].items() for method in item} == {
        *((route.method, route.path) for route in ROUTES),
        ("GET", "/live"),
        ("GET", "/openapi.json"),
    }
    operations = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(operations) == len(set(operations))
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert named == set(document["components"]["schemas"])
    schema = {"$ref": "#/components/schemas/StreamDetail", "components": document["components"]}
    listed = await get(client, "/streams?limit=1")
    detail = await get(client, f"/streams/{quote(listed['items'][0]['stream_id'], safe='')}")
    jsonschema.Draft202012Validator(schema).validate(detail)
    assert (await client.get(f"{ROOT}/openapi.json", headers={"If-None-Match": answer.headers["ETag"]})).status == 304
