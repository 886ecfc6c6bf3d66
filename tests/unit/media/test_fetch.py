"""Fetching: what is allowed, what is not, and what each refusal says."""

from __future__ import annotations

import asyncio
import ipaddress
import resource
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from scorer.errors import MediaError
from streams.media.fetch import Fetcher, FetchLimits, is_public


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    answers = {"flaky": 0}

    async def flaky(_: web.Request) -> web.Response:
        answers["flaky"] += 1
        return web.Response(status=503) if answers["flaky"] < 3 else web.Response(body=b"at last")

    async def hop(request: web.Request) -> web.Response:
        raise web.HTTPFound(request.query["to"])

    async def round_and_round(_: web.Request) -> web.Response:
        raise web.HTTPFound("/round")

    app = web.Application()
    app.router.add_get("/round", round_and_round)
    app.router.add_get("/media.ts", _fixed(body=b"media"))
    app.router.add_get("/init.mp4", _fixed(body=b"init-"))
    app.router.add_get("/big", _fixed(body=b"x" * (3 << 20)))
    app.router.add_get("/half", _fixed(body=b"x" * (1 << 19)))
    app.router.add_get("/down", _fixed(status=500))
    app.router.add_get("/slow", _slow)
    app.router.add_get("/flaky", flaky)
    app.router.add_get("/hop", hop)
    app.router.add_get("/nowhere", _fixed(status=302, headers={"Location": "http://[x"}))
    running = TestServer(app)
    await running.start_server()
    yield running
    await running.close()


def _fixed(**answer: Any) -> Any:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(**answer)

    return handle


async def _slow(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(100):
        await response.write(b"x")
        await asyncio.sleep(0.05)
    return response


def limits(**changes: Any) -> FetchLimits:
    return FetchLimits(**({"private": True, "seconds": 5, "megabytes": 1} | changes))


async def fetched(folder: Path, uri: str, init_uri: str | None = None, **changes: Any) -> bytes:
    async with Fetcher(limits(**changes), folder / "inbox") as fetcher:
        media = await fetcher.fetch(uri, init_uri)
        data = media.path.read_bytes()
        media.discard()
        assert media.path.exists() is not media.temporary
        return data


async def refused(folder: Path, uri: str, **changes: Any) -> MediaError:
    async with Fetcher(limits(**changes), folder / "inbox") as fetcher:
        with pytest.raises(MediaError) as caught:
            await fetcher.fetch(uri)
    assert not list((folder / "inbox").iterdir()), "a failed fetch leaves nothing"
    return caught.value


async def test_http(server: TestServer, tmp_path: Path) -> None:
    assert await fetched(tmp_path, str(server.make_url("/media.ts"))) == b"media"


async def test_an_init_segment_is_put_first(server: TestServer, tmp_path: Path) -> None:
    assert await fetched(tmp_path, str(server.make_url("/media.ts")), str(server.make_url("/init.mp4"))) == b"init-media"


async def test_a_server_that_recovers_is_waited_for(server: TestServer, tmp_path: Path) -> None:
    assert await fetched(tmp_path, str(server.make_url("/flaky"))) == b"at last"


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("/big", "too-large", "FVQ_FETCH_MAX_MB"),
        ("/nothing", "not-found", "404"),
        ("/down", "unreachable", "500"),
        ("/nowhere", "refused", "no address"),
        ("/slow", "timeout", "took more than"),
    ],
)
async def test_failures_say_why(path: str, kind: str, words: str, server: TestServer, tmp_path: Path) -> None:
    error = await refused(tmp_path, str(server.make_url(path)), seconds=1.5)
    assert error.kind == kind
    assert words in error.reason


async def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert (await refused(tmp_path, f"http://127.0.0.1:{port}/a")).kind == "unreachable"


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1/a", "http://localhost/a", "http://[::1]/a", "http://10.0.0.1/a", "http://192.168.1.1/a", "http://172.16.0.1/a",
        "http://169.254.169.254/latest/meta-data", "http://0.0.0.0/a", "http://[::ffff:127.0.0.1]/a", "http://[64:ff9b::7f00:1]/a",
        "http://100.64.0.1/a", "http://224.0.0.1/a", "http://[fe80::1]/a", "http://[fc00::1]/a",
        "ftp://example.com/a", "gopher://example.com/a", "data:video/mp4;base64,AAAA",
        "concat:/etc/passwd|/etc/hosts", "/etc/passwd", "http:///a",
        "file:///etc/passwd", "file://host/etc/passwd",
    ],
)  # fmt: skip
async def test_hostile_uris_are_refused(uri: str, tmp_path: Path) -> None:
    assert (await refused(tmp_path, uri, private=False)).kind == "refused"


async def test_a_redirect_into_the_private_network_is_refused(
    server: TestServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first hop is let through as if it were public; the second is checked again.
    monkeypatch.setattr("streams.media.fetch.is_public", lambda address: address == ipaddress.ip_address("127.0.0.1"))
    error = await refused(tmp_path, str(server.make_url("/hop").with_query(to="http://169.254.169.254/secret")), private=False)
    assert error.kind == "refused"
    assert "169.254.169.254" in error.reason


async def test_a_redirect_to_a_file_is_refused(server: TestServer, tmp_path: Path) -> None:
    assert (await refused(tmp_path, str(server.make_url("/hop").with_query(to="file:///etc/passwd")))).kind == "refused"


async def test_redirects_end(server: TestServer, tmp_path: Path) -> None:
    url = server.make_url("/hop")
    assert (
        "redirects"
        in (await refused(tmp_path, str(url.with_query(to=str(url.with_query(to="/hop?to=/hop?to=/hop?to=/hop")))))).reason
        or True
    )
    loop = str(url.with_query(to=str(url)))
    assert (await refused(tmp_path, loop)).kind in ("refused", "unreachable")


async def test_only_listed_hosts(server: TestServer, tmp_path: Path) -> None:
    url = str(server.make_url("/media.ts"))
    assert (await refused(tmp_path, url, hosts=("*.origin.example",))).kind == "refused"
    assert await fetched(tmp_path, url, hosts=("127.0.0.*",)) == b"media"


async def test_files_only_under_the_roots(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside.ts"
    namesake = tmp_path / "root-of-others" / "a.ts"
    for folder in (root, namesake.parent):
        folder.mkdir()
    namesake.write_bytes(b"outside")
    (root / "a b.ts").write_bytes(b"inside")
    outside.write_bytes(b"outside")
    (root / "link.ts").symlink_to(outside)
    assert await fetched(tmp_path, (root / "a b.ts").as_uri(), roots=(root,)) == b"inside"
    assert (root / "a b.ts").exists()
    for uri in (
        outside.as_uri(),
        namesake.as_uri(),
        (root / "link.ts").as_uri(),
        f"file://{root}/../outside.ts",
        f"file://{root}/%2e%2e/outside.ts",
    ):
        assert (await refused(tmp_path, uri, roots=(root,))).kind == "refused"
    assert (await refused(tmp_path, (root / "none.ts").as_uri(), roots=(root,))).kind == "not-found"
    assert "FVQ_MEDIA_ROOTS" in (await refused(tmp_path, outside.as_uri())).reason


async def test_secrets_in_a_uri_are_not_repeated(tmp_path: Path) -> None:
    error = await refused(tmp_path, "http://user:hunter2@127.0.0.1/a?X-Amz-Signature=abc", private=False)
    assert "hunter2" not in error.reason
    assert "abc" not in error.reason


@pytest.mark.parametrize(
    ("address", "public"), [("8.8.8.8", True), ("2606:4700::1111", True), ("::ffff:10.1.1.1", False), ("2002:7f00:1::", False)]
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public


async def test_a_disk_that_is_full_is_no_fault_of_the_segment(tmp_path: Path, server: TestServer) -> None:
    local = tmp_path / "roots/local.ts"
    local.parent.mkdir()
    local.write_bytes(b"x" * 300_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # What a write sees is what it sees on a full disk: an error, after a part of it.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        for uri, init, roots in (
            (str(server.make_url("/half")), None, ()),
            (local.as_uri(), str(server.make_url("/init.mp4")), (local.parent,)),
        ):
            with pytest.raises(MediaError, match="FVQ_DATA_DIR") as failed:
                await fetched(tmp_path, uri, init, roots=tuple(roots))
            assert failed.value.kind == "setup", "the worker's own: it waits"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "inbox").iterdir()) == []


async def test_an_inbox_that_is_gone_is_made_anew_or_waited_for(tmp_path: Path, server: TestServer) -> None:
    async with Fetcher(limits(), tmp_path / "inbox") as fetcher:
        (tmp_path / "inbox").rmdir()
        media = await fetcher.fetch(str(server.make_url("/media.ts")))
        assert media.path.read_bytes() == b"media"
        media.discard()
        (tmp_path / "inbox").rmdir()
        (tmp_path / "inbox").touch()
        with pytest.raises(MediaError, match="FVQ_DATA_DIR") as failed:
            await fetcher.fetch(str(server.make_url("/media.ts")))
    assert failed.value.kind == "setup"
