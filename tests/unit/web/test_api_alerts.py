"""The API about alerts: lists, acknowledgements, and ratings."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from streams.errors import BrokerError
from streams.events import AlertAcknowledgement
from streams.web.access.limits import WebLimits
from streams.web.server import make_app, tidy
from tests.support.fleet import Fleet, fleet_wall
from tests.support.fleet_content import at_time
from tests.support.web import ROOT, get


async def test_alerts_are_listed_by_state_kind_and_stream(client: TestClient, seeded: Fleet) -> None:
    firing = (await get(client, "/alerts?limit=1000"))["items"]
    assert len(firing) == len(seeded.live.firing())
    starts = [datetime.fromisoformat(entry["alert"]["started_at"]) for entry in firing]
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
    found = (await get(client, f"/alerts?state=all&limit=1000&q={quote(stream_id.upper(), safe='')}"))["items"]
    assert stream_id in {entry["alert"]["stream_id"] for entry in found}
    assert all(stream_id.casefold() in entry["alert"]["stream_id"].casefold() for entry in found)
    tier = (await get(client, "/alerts?limit=1000&q=tier:prem"))["items"]
    assert {entry["alert"]["labels"]["tier"] for entry in tier} == {"premium"}
    drops = (await get(client, "/alerts?state=all&limit=1000&q=quality%20drop"))["items"]
    assert {entry["alert"]["kind"] for entry in drops} == {"quality-drop"}


async def test_alerts_of_a_time_are_those_that_were_open_then(client: TestClient, seeded: Fleet) -> None:
    known = list(seeded.live.alerts.values())
    ends = [alert.ended_at for alert in known if alert.ended_at is not None]
    start = max(ends)
    listed = (await get(client, f"/alerts?state=all&limit=1000&from={quote(start.isoformat())}"))["items"]
    assert {entry["alert"]["alert_id"] for entry in listed} == {alert.alert_id for alert in known if alert.ended_at is None}
    end = min(ends)
    listed = (await get(client, f"/alerts?state=all&limit=1000&to={quote(end.isoformat())}"))["items"]
    assert {entry["alert"]["alert_id"] for entry in listed} == {alert.alert_id for alert in known if alert.started_at < end}
    assert 0 < len(listed) < len(known)
    assert (await get(client, "/alerts?from=1790000000&to=1790000000", 400))["field"] == "from"


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


async def test_an_acknowledgement_that_has_ended_keeps_nobody_from_a_new_one(seeded: Fleet) -> None:
    alert = next(alert for alert in seeded.live.firing() if alert.alert_id not in seeded.live.acks)
    now = time.time()
    wall = replace(fleet_wall(seeded, WebLimits(rate=1000, burst=1000)), now=lambda: now)
    async with TestClient(TestServer(make_app(wall))) as client:
        path, first = f"{ROOT}/alerts/{alert.alert_id}/ack", {"If-None-Match": "*"}
        until = datetime.fromtimestamp(now + 60, UTC).isoformat()
        assert (await client.put(path, json={"until": until}, headers=first)).status == 201
        assert (await client.put(path, json={"note": "mine"}, headers=first)).status == 412
        now += 61
        assert (await client.put(path, json={"note": "mine"}, headers=first)).status == 200
        await client.delete(path)


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


async def test_an_acknowledgement_needs_no_body(client: TestClient, seeded: Fleet) -> None:
    alert = next(alert for alert in seeded.live.firing() if alert.alert_id not in seeded.live.acks)
    answer = await client.put(f"{ROOT}/alerts/{alert.alert_id}/ack", headers={"Content-Type": "text/plain"})
    assert answer.status == 201, await answer.text()
    assert (await answer.json())["ack"]["note"] == ""
    assert (await client.post(f"{ROOT}/session")).status == 400  # a token has no default


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


async def test_acknowledgements_of_streams_that_are_gone_are_taken_off(seeded: Fleet) -> None:
    now = time.time()
    wall = fleet_wall(seeded)
    known = seeded.channels[0].id
    acks = {
        "old-of-nobody": AlertAcknowledgement(
            alert_id="old-of-nobody", by="Ada", at=at_time(now - 3 * 86400), stream_id="nobody"
        ),
        "new-of-nobody": AlertAcknowledgement(alert_id="new-of-nobody", by="Ada", at=at_time(now - 3600), stream_id="nobody"),
        "old-of-known": AlertAcknowledgement(alert_id="old-of-known", by="Ada", at=at_time(now - 3 * 86400), stream_id=known),
    }
    for alert_id, ack in acks.items():
        seeded.live.set_ack(alert_id, ack)
    try:
        await tidy(replace(wall, reading=lambda: (True, "no Kafka broker answers")))
        assert acks.keys() <= seeded.live.acks.keys(), "what is there is not known now"

        async def refused(*_: object) -> None:
            raise BrokerError("alert-acks does not take a message")

        await tidy(replace(wall, write_ack=refused))
        assert acks.keys() <= seeded.live.acks.keys()
        await tidy(wall)
        assert acks.keys() & seeded.live.acks.keys() == {"new-of-nobody", "old-of-known"}
    finally:
        for alert_id in acks:
            seeded.live.set_ack(alert_id, None)
