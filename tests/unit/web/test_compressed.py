"""Long answers are sent compressed to those who take that, and are the same otherwise."""

from __future__ import annotations

import gzip

import pytest
from aiohttp.test_utils import TestClient

from streams.web.assets import PAGE
from streams.web.compressed import LEAST_COMPRESSED
from tests.support.fleet import Fleet
from tests.support.web import ROOT

LONG = (
    f"{ROOT}/streams?limit=1000",
    f"{ROOT}/streams?limit=1000&format=csv",
    f"{ROOT}/alerts?limit=1000",
    f"{ROOT}/openapi.json",
    "/metrics",
    "/app.js",
)


async def _raw(client: TestClient, path: str, coding: str, **headers: str) -> tuple[bytes, dict[str, str]]:
    """The bytes as they were sent, and the headers in lower case."""
    async with client.session.get(
        client.make_url(path), headers={"Accept-Encoding": coding, **headers}, auto_decompress=False
    ) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read(), {name.lower(): value for name, value in answer.headers.items()}


@pytest.mark.parametrize("path", LONG)
async def test_long_answers_are_compressed_for_who_takes_it(client: TestClient, path: str) -> None:
    plain, plainly = await _raw(client, path, "identity")
    sent, headers = await _raw(client, path, "br, gzip;q=0.8")
    assert headers["content-encoding"] == "gzip"
    assert len(sent) < len(plain) / 2
    assert int(headers["content-length"]) == len(sent)
    assert path == "/metrics" or gzip.decompress(sent) == plain
    assert "Accept-Encoding" in headers["vary"]
    assert plainly["vary"] == headers["vary"], "a cache must know it of both"
    assert "content-encoding" not in plainly
    assert headers["content-security-policy"] == plainly["content-security-policy"]


@pytest.mark.parametrize("coding", ["", "identity", "br", "gzip;q=0", "gzip; q=0.000, br"])
async def test_who_does_not_take_it_gets_it_plain(client: TestClient, coding: str) -> None:
    sent, headers = await _raw(client, "/app.js", coding)
    assert sent == (PAGE / "app.js").read_bytes()
    assert "content-encoding" not in headers


@pytest.mark.parametrize("path", ["/app.js", f"{ROOT}/openapi.json"])
async def test_a_compressed_answer_is_asked_for_again_by_its_tag(client: TestClient, path: str) -> None:
    _, headers = await _raw(client, path, "gzip")
    assert headers["etag"].startswith('W/"'), "it is not the same bytes as the plain answer"
    again = await client.get(path, headers={"If-None-Match": headers["etag"], "Accept-Encoding": "gzip"})
    assert again.status == 304
    assert await again.read() == b""


async def test_short_answers_pictures_and_clips_are_sent_as_they_are(client: TestClient, seeded: Fleet) -> None:
    stream_id, clip = seeded.channels[0].id, seeded.examples[0].example_id
    paths = (f"{ROOT}/health", "/healthz", f"{ROOT}/streams/{stream_id}/picture.jpg", f"{ROOT}/clips/{clip}.mp4")
    for path in paths:
        sent, headers = await _raw(client, path, "gzip")
        assert "content-encoding" not in headers, path
        assert len(sent) < LEAST_COMPRESSED or path.endswith(("jpg", "mp4"))
    part = await client.get(paths[-1], headers={"Range": "bytes=10-29", "Accept-Encoding": "gzip"})
    assert (part.status, len(await part.read())) == (206, 20)


async def test_an_alerts_tag_holds_also_where_its_answer_was_compressed(client: TestClient, seeded: Fleet) -> None:
    """A compressing proxy too makes tags weak."""
    alert = seeded.live.firing()[0].alert_id
    own = {"Origin": str(client.make_url("")).rstrip("/")}
    taken = await client.put(f"{ROOT}/alerts/{alert}/ack", json={"note": "a" * 2000}, headers=own)
    assert taken.status == 201
    _, headers = await _raw(client, f"{ROOT}/alerts/{alert}", "gzip")
    assert headers["etag"].startswith('W/"')
    foreign = {"If-Match": headers["etag"].replace("20", "19", 1), **own}
    assert (await client.delete(f"{ROOT}/alerts/{alert}/ack", headers=foreign)).status == 412
    taken = await client.delete(f"{ROOT}/alerts/{alert}/ack", headers={"If-Match": headers["etag"], **own})
    assert taken.status == 204
