"""The API as a whole: what is refused, what is said where something is away, CSV, and the document."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
from dataclasses import replace
from urllib.parse import quote, urlencode

import jsonschema
import pytest
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from streams.errors import BrokerError, HistoryError
from streams.events import ALERT_ACKS_TOPIC, ALERT_STATE_TOPIC, ALERTS_TOPIC, MODELS_TOPIC, PICTURES_TOPIC, SCORES_TOPIC
from streams.kafka.connection import Connection
from streams.web.access.limits import WebLimits
from streams.web.api.answers import StreamItem
from streams.web.api.routes import ROUTES
from streams.web.follow import Follower
from streams.web.live import Live
from streams.web.server import make_app
from tests.support.fleet import Fleet, fleet_wall
from tests.support.web import ROOT, get


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("streams?labels=a:b", "labels"),
        ("streams?label=tier", "label"),
        ("streams?limit=0", "limit"),
        ("streams?limit=1001", "limit"),
        ("streams?limit=5&limit=6", "limit"),
        ("streams?limit=1_0", "limit"),
        ("streams/x/segments?limit=1_0", "limit"),
        ("streams?below=1_0", "below"),
        ("streams?below=%2010", "below"),
        ("streams/x/scores?step=1_0", "step"),
        ("streams?below=nan", "below"),
        ("streams?below=inf", "below"),
        ("streams?state=purple", "state"),
        ("streams?fields=password", "fields"),
        ("streams?sort=name", "sort"),
        ("streams?cursor=!!", "cursor"),
        ("streams?cursor=AAAA", "cursor"),
        ("alerts?kind=purple", "kind"),
        ("groups?x=1", "x"),
        ("clips?from=2026-01-02T00:00:00Z&to=2026-01-02T00:00:00Z", "from"),
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


async def test_a_cursor_of_another_order_is_refused(client: TestClient) -> None:
    lists = (*(f"/streams?sort={sort}&" for sort in ("score", "since", "worst")), "/alerts?", "/clips?", "/clips?worst=false&")
    listed = {path: await get(client, f"{path}limit=1") for path in lists}
    for path in listed:
        for origin, page in listed.items():
            answer = await get(client, f"{path}cursor={page['next']}", 200 if path == origin else 400)
            assert path == origin or answer["field"] == "cursor", (path, origin)


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


async def test_clips_are_filtered_as_streams_are(client: TestClient) -> None:
    every = (await get(client, "/clips?limit=1000"))["items"]
    name, value = "tier", every[0]["labels"]["tier"]
    of_label = [clip["id"] for clip in every if clip["labels"][name] == value]
    assert 0 < len(of_label) < len(every)
    assert [clip["id"] for clip in (await get(client, f"/clips?limit=1000&label={name}:{value}"))["items"]] == of_label
    assert [clip["id"] for clip in (await get(client, f"/clips?limit=1000&q={value.upper()}"))["items"]] == of_label
    assert [clip["id"] for clip in (await get(client, f"/clips?limit=1000&q={name}:{value[:-1]}"))["items"]] == of_label
    stream = every[-1]["stream_id"]
    of_stream = (await get(client, f"/clips?limit=1000&q={quote(stream[1:], safe='')}"))["items"]
    assert stream in {clip["stream_id"] for clip in of_stream}
    assert all(stream[1:].casefold() in clip["stream_id"].casefold() for clip in of_stream)
    assert (await get(client, "/clips?label=none", 400))["field"] == "label"


async def test_clips_of_a_segment_and_of_a_time(client: TestClient, seeded: Fleet) -> None:
    every = (await get(client, "/clips?limit=1000"))["items"]
    one = every[-1]
    query = {"stream_id": one["stream_id"], "segment_id": one["segment_id"]}
    assert [clip["id"] for clip in (await get(client, f"/clips?{urlencode(query)}"))["items"]] == [one["id"]]
    assert (await get(client, "/clips?segment_id=none"))["items"] == []
    starts = sorted({clip["start"] for clip in every})
    begin, end = starts[len(starts) // 4], starts[len(starts) // 2]
    assert begin < end
    for query, expected in [
        ({"from": begin, "to": end}, {start for start in starts if begin <= start < end}),
        ({"from": begin}, {start for start in starts if begin <= start}),
        ({"to": end}, {start for start in starts if start < end}),
    ]:
        clips = (await get(client, f"/clips?limit=1000&{urlencode(query)}"))["items"]
        assert {clip["start"] for clip in clips} == expected
        assert [clip["id"] for clip in clips] == [clip["id"] for clip in every if clip["start"] in expected], "in their order"


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
    assert wrong.headers["Allow"] == "GET,HEAD"
    assert (await get(client, "/nothing", 404))["title"] == "Not Found"
    for path in (f"{ROOT}/streams", "/healthz", f"{ROOT}/nothing"):
        answer = await client.get(path)
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    metrics = await (await client.get("/metrics")).text()
    assert "fvq_web_streams" in metrics
    assert "fvq_web_ready 1.0" in metrics
    # What nobody has asked for yet is 0, not absent: `rate` and `increase` see the first request.
    assert re.search(r'fvq_web_request_seconds_count\{route="/api/v1/groups",status="503"\} 0\.0', metrics)


@pytest.mark.parametrize("path", ["summary", "alerts?format=csv", "openapi.json", "streams/nobody", "clips/no.mp4"])
async def test_head_answers_as_get_without_the_body(client: TestClient, path: str) -> None:
    got, head = await client.get(f"{ROOT}/{path}"), await client.head(f"{ROOT}/{path}")
    assert (head.status, head.content_type) == (got.status, got.content_type)
    assert int(head.headers["Content-Length"]) > 0
    assert await head.read() == b""


async def test_messages_of_each_topic_are_counted_from_0_under_the_name_that_the_topic_has_here(client: TestClient) -> None:
    Follower(Connection("none:1", prefix="staging."), Live(), lambda _: None)
    metrics = await (await client.get("/metrics")).text()
    for topic in (ALERT_ACKS_TOPIC, ALERT_STATE_TOPIC, ALERTS_TOPIC, MODELS_TOPIC, PICTURES_TOPIC, SCORES_TOPIC):
        assert f'fvq_web_messages_total{{topic="staging.{topic}"}} 0.0' in metrics


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
