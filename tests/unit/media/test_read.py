"""Reading a playlist once: what comes back, and what each failure is called."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from streams.media.read import Reader, ReadError, date_of
from tests.support.origin import Origin

SECRET = "token=s3cret"


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    async with Origin() as running:
        yield running


async def failure(url: str, seconds: float = 5.0, most: int = 1000, private: bool = True) -> ReadError:
    async with Reader(private=private, most=most) as reader:
        with pytest.raises(ReadError) as caught:
            await reader.read(url, seconds)
    assert "s3cret" not in caught.value.reason
    return caught.value


async def test_a_body_comes_with_the_address_after_redirects(origin: Origin) -> None:
    async def moved(_: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": f"/edge-3/live.m3u8?{SECRET}"})

    origin.script("/live.m3u8", moved)
    origin.script("/edge-3/live.m3u8", "#EXTM3U")
    async with Reader(private=True) as reader:
        answer = await reader.read(origin.url("/live.m3u8"), 5)
    assert (answer.body, answer.url) == (b"#EXTM3U", origin.url(f"/edge-3/live.m3u8?{SECRET}"))


async def test_a_compressed_body_is_decoded(origin: Origin) -> None:
    async def compressed(_: web.Request) -> web.StreamResponse:
        return web.Response(body=gzip.compress(b"#EXTM3U"), headers={"Content-Encoding": "gzip"})

    origin.script("/live.m3u8", compressed)
    async with Reader(private=True) as reader:
        assert (await reader.read(origin.url("/live.m3u8"), 5)).body == b"#EXTM3U"


async def shorter_than_it_says(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b"#EXTM3U")
    assert request.transport is not None
    request.transport.close()
    return response


async def bomb(_: web.Request) -> web.StreamResponse:
    return web.Response(body=gzip.compress(bytes(10_000_000)), headers={"Content-Encoding": "gzip"})


async def broken_gzip(_: web.Request) -> web.StreamResponse:
    return web.Response(body=gzip.compress(b"#EXTM3U")[:-9], headers={"Content-Encoding": "gzip"})


async def to_a_file(_: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "file:///etc/passwd"})


async def round_and_round(request: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": request.path})


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (404, "not-found"), (410, "not-found"), (403, "unreachable"), (500, "unreachable"), (429, "busy"),
        (b"x" * 1001, "too-large"), (bomb, "too-large"), (shorter_than_it_says, "unreachable"), (broken_gzip, "unreachable"),
        (to_a_file, "refused"), (round_and_round, "refused"),
    ],
)  # fmt: skip
async def test_each_failure_has_its_kind(answer: object, kind: str, origin: Origin) -> None:
    origin.script("/live.m3u8", answer)  # type: ignore[arg-type]
    assert (await failure(origin.url(f"/live.m3u8?{SECRET}"))).kind == kind


@pytest.mark.parametrize("header", ["7", "Thu, 01 Jan 2099 00:00:00 GMT", "-3", "soon", "9" * 400])
async def test_retry_after_is_read_within_bounds(header: str, origin: Origin) -> None:
    async def busy(_: web.Request) -> web.StreamResponse:
        return web.Response(status=429, headers={"Retry-After": header})

    origin.script("/live.m3u8", busy)
    expected = {"7": 7.0, "-3": 0.0, "soon": 0.0}.get(header, 60.0)
    assert (await failure(origin.url("/live.m3u8"))).retry_after == expected


async def test_silence_is_a_timeout(origin: Origin) -> None:
    origin.script("/live.m3u8", origin.hang)
    assert (await failure(origin.url("/live.m3u8"), seconds=0.2)).kind == "timeout"


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/", "http://127.0.0.1:1/", "file:///etc/passwd", "http://a b\n/", "nonsense"]
)
async def test_what_is_not_public_is_refused(url: str) -> None:
    assert (await failure(url, private=False)).kind == "refused"


async def test_a_port_without_a_server_is_unreachable() -> None:
    assert (await failure("http://127.0.0.1:1/live.m3u8")).kind == "unreachable"


async def test_an_origin_that_hangs_uses_up_no_connection_of_another(origin: Origin) -> None:
    origin.script("/hangs.m3u8", origin.hang)
    origin.script("/live.m3u8", "#EXTM3U")
    async with Reader(private=True, per_host=2) as reader:
        hanging = [asyncio.create_task(reader.read(origin.url("/hangs.m3u8", "localhost"), 30)) for _ in range(150)]
        await asyncio.sleep(0)
        assert (await reader.read(origin.url("/live.m3u8"), 5)).body == b"#EXTM3U"
        assert origin.requests.count("/hangs.m3u8") <= 2
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Date": "Sat, 31 Jan 2026 12:00:00 GMT"}, 0), ({"Date": "Sat, 31 Jan 2026 12:00:00 GMT", "Age": "30"}, 30),
        ({"Date": "Sat, 31 Jan 2026 13:00:00 +0100", "Age": "-3"}, 0), ({"Date": "yesterday"}, None), ({}, None),
        ({"Date": "Fri, 31 Dec 9999 23:59:59 GMT", "Age": "99999999"}, None),
    ],
)  # fmt: skip
def test_the_time_of_the_server_is_its_date_and_the_age_of_the_answer(headers: dict[str, str], seconds: int | None) -> None:
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert date_of(headers) == (None if seconds is None else noon + timedelta(seconds=seconds))


def test_an_address_is_allowed_as_far_as_its_text_tells() -> None:
    assert Reader().allows("https://cdn.example/a.m4s")
    for address in ("file:///etc/passwd", "http://127.0.0.1/", "http://[::1]/", "http://0x7f.1/", "ftp://cdn.example/", ""):
        assert not Reader().allows(address)
    assert Reader(private=True).allows("http://127.0.0.1/")
    assert not Reader(hosts=("cdn.example",)).allows("https://other.example/")


@pytest.mark.parametrize(("header", "has_length"), [(b"Content-Length: 7\r\n", True), (b"Connection: close\r\n", False)])
async def test_an_answer_tells_whether_its_length_was_said(header: bytes, has_length: bool) -> None:
    async def answer(requests: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        await requests.readuntil(b"\r\n\r\n")
        answers.write(b"HTTP/1.1 200 OK\r\n" + header + b"\r\n#EXTM3U")
        answers.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, Reader(private=True) as reader:
        read = await reader.read(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a.m3u8", 5)
    assert (read.body, read.has_length) == (b"#EXTM3U", has_length)
