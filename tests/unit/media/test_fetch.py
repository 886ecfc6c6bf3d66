"""Fetching: which URIs are allowed, which are refused, and the reason that each error gives."""

from __future__ import annotations

import asyncio
import io
import ipaddress
import os
import resource
import socket
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from fsspec.registry import _registry as registered
from fsspec.spec import AbstractFileSystem

from scorer.errors import MediaError
from streams.media.fetch import Fetcher
from streams.media.ranges import Range
from tests.support.fetching import fetched, limits, refused

SIGNED = "/signed/a%2Fb%20c.ts?Policy=eyJ%2B~_&Signature=qZ0%2FXns%2BPP2g%3D&Expires=1&p=a+b&time=10%3A30"


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    answers = {"flaky": 0}

    async def flaky(_: web.Request) -> web.Response:
        answers["flaky"] += 1
        return web.Response(status=503) if answers["flaky"] < 3 else web.Response(body=b"at last")

    async def redirect(request: web.Request) -> web.Response:
        raise web.HTTPFound(request.query["to"])

    async def redirect_to_itself(_: web.Request) -> web.Response:
        raise web.HTTPFound("/endless")

    async def signed(request: web.Request) -> web.Response:
        """Like an origin that checks a signature: it answers only the request that was signed."""
        return web.Response(body=request.raw_path.encode()) if request.raw_path == SIGNED else web.Response(status=403)

    async def cookie(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/with-cookie", "Set-Cookie": "ticket=1"})

    async def with_cookie(request: web.Request) -> web.Response:
        return web.Response(text=request.headers.get("Cookie", "none"))

    async def to_signed(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": SIGNED})

    app = web.Application()
    app.router.add_get("/signed/{name:.*}", signed)
    app.router.add_get("/to-signed", to_signed)
    app.router.add_get("/endless", redirect_to_itself)
    app.router.add_get("/media.ts", _fixed(body=b"media"))
    app.router.add_get("/init.mp4", _fixed(body=b"init-"))
    app.router.add_get("/login", _fixed(text="<!doctype html><title>Sign in</title>", content_type="text/html"))
    app.router.add_get("/cookie", cookie)
    app.router.add_get("/with-cookie", with_cookie)
    app.router.add_get("/forbidden", _fixed(status=403))
    app.router.add_get("/big", _fixed(body=b"x" * (3 << 20)))
    app.router.add_get("/half", _fixed(body=b"x" * (1 << 19)))
    app.router.add_get("/down", _fixed(status=500))
    app.router.add_get("/slow", _slow)
    app.router.add_get("/flaky", flaky)
    app.router.add_get("/redirect", redirect)
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


async def test_http_media_is_fetched(server: TestServer, tmp_path: Path) -> None:
    assert await fetched(tmp_path, str(server.make_url("/media.ts"))) == b"media"


async def test_the_init_segment_comes_first_in_the_file(server: TestServer, tmp_path: Path) -> None:
    assert await fetched(tmp_path, str(server.make_url("/media.ts")), str(server.make_url("/init.mp4"))) == b"init-media"


@pytest.mark.parametrize("path", [SIGNED, "/to-signed"])
async def test_a_url_is_sent_as_it_is_written(path: str, server: TestServer, tmp_path: Path) -> None:
    assert await fetched(tmp_path, f"http://127.0.0.1:{server.port}{path}") == SIGNED.encode()


async def test_a_page_instead_of_media_is_named_with_its_address(server: TestServer, tmp_path: Path) -> None:
    page, init, media = (str(server.make_url(path)) for path in ("/login", "/init.mp4", "/media.ts"))
    for uri, init_uri in ((page, None), (page, init), (media, page)):
        with pytest.raises(MediaError, match=r"/login is a web page \(HTML\)") as refusal:
            await fetched(tmp_path, uri, init_uri)
        assert refusal.value.kind == "refused"
    assert list((tmp_path / "inbox").iterdir()) == []


async def test_a_cookie_is_sent_to_the_target_of_its_redirect_and_not_kept_without_end(
    server: TestServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Cookies are kept for names only, not for addresses.
    uri = f"http://localhost:{server.port}/cookie"
    assert await fetched(tmp_path, uri) == b"ticket=1"
    monkeypatch.setattr("streams.media.client.MOST_COOKIES", 0)
    async with Fetcher(limits(), tmp_path / "inbox") as fetcher:
        for path in ("/cookie", "/media.ts"):
            (await fetcher.fetch(f"http://localhost:{server.port}{path}")).discard()
        assert fetcher._client._session is not None
        assert len(fetcher._client._session.cookie_jar) == 0


async def test_a_failing_server_is_asked_again(server: TestServer, tmp_path: Path) -> None:
    assert await fetched(tmp_path, str(server.make_url("/flaky"))) == b"at last"


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("/big", "too-large", "FVQ_FETCH_MAX_MB"),
        ("/nothing", "not-found", "404"),
        ("/down", "unreachable", "500"),
        ("/forbidden", "unreachable", "signature"),
        ("/nowhere", "refused", "not an http address"),
        ("/slow", "timeout", "took more than"),
    ],
)
async def test_each_failure_has_its_kind_and_reason(path: str, kind: str, words: str, server: TestServer, tmp_path: Path) -> None:
    error = await refused(tmp_path, str(server.make_url(path)), seconds=1.5 if path == "/slow" else 60)
    assert error.kind == kind
    assert words in error.reason


async def test_a_port_without_a_server_is_unreachable(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert (await refused(tmp_path, f"http://127.0.0.1:{port}/a")).kind == "unreachable"


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1/a", "http://localhost/a", "http://[::1]/a", "http://10.0.0.1/a", "http://192.168.1.1/a",
        "http://172.16.0.1/a", "http://169.254.169.254/latest/meta-data", "http://0.0.0.0/a", "http://[::ffff:127.0.0.1]/a",
        "http://[64:ff9b::7f00:1]/a", "http://100.64.0.1/a", "http://224.0.0.1/a", "http://[fe80::1]/a", "http://[fc00::1]/a",
        "ftp://example.com/a", "gopher://example.com/a", "data:video/mp4;base64,AAAA", "concat:/etc/passwd|/etc/hosts",
        "/etc/passwd", "http:///a", "file:///etc/passwd", "file://host/etc/passwd", "http://[x/a", "http://a:99999/",
        "http://user@8.8.8.8/", "http://8.8.8.8\\@127.0.0.1/", "\x00",
    ],
)  # fmt: skip
async def test_hostile_uris_are_refused(uri: str, tmp_path: Path) -> None:
    assert (await refused(tmp_path, uri, private=False)).kind == "refused"


async def test_a_redirect_into_the_private_network_is_refused(
    server: TestServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The test treats 127.0.0.1 as public, so the first request passes; the target of the redirect is checked again.
    monkeypatch.setattr("streams.media.checks.is_public", lambda address: address == ipaddress.ip_address("127.0.0.1"))
    error = await refused(
        tmp_path, str(server.make_url("/redirect").with_query(to="http://169.254.169.254/secret")), private=False
    )
    assert error.kind == "refused"
    assert "169.254.169.254" in error.reason


async def test_a_redirect_to_a_file_is_refused(server: TestServer, tmp_path: Path) -> None:
    assert (await refused(tmp_path, str(server.make_url("/redirect").with_query(to="file:///etc/passwd")))).kind == "refused"


async def test_endless_redirects_are_refused(server: TestServer, tmp_path: Path) -> None:
    error = await refused(tmp_path, str(server.make_url("/endless")))
    assert error.kind == "refused"
    assert "redirects" in error.reason


async def test_only_listed_hosts_are_fetched(server: TestServer, tmp_path: Path) -> None:
    url = str(server.make_url("/media.ts"))
    assert (await refused(tmp_path, url, hosts=("*.origin.example",))).kind == "refused"
    assert await fetched(tmp_path, url, hosts=("127.0.0.*",)) == b"media"


async def test_only_files_under_the_roots_are_read(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside.ts"
    similar_name = tmp_path / "root-of-others" / "a.ts"
    for folder in (root, similar_name.parent):
        folder.mkdir()
    similar_name.write_bytes(b"outside")
    (root / "a b.ts").write_bytes(b"inside")
    outside.write_bytes(b"outside")
    (root / "link.ts").symlink_to(outside)
    assert await fetched(tmp_path, (root / "a b.ts").as_uri(), roots=(root,)) == b"inside"
    assert (root / "a b.ts").exists()
    for uri in (
        outside.as_uri(),
        similar_name.as_uri(),
        (root / "link.ts").as_uri(),
        f"file://{root}/../outside.ts",
        f"file://{root}/%2e%2e/outside.ts",
    ):
        assert (await refused(tmp_path, uri, roots=(root,))).kind == "refused"
    assert (await refused(tmp_path, (root / "none.ts").as_uri(), roots=(root,))).kind == "not-found"
    assert "FVQ_MEDIA_ROOTS" in (await refused(tmp_path, outside.as_uri())).reason


async def test_an_error_does_not_repeat_the_secrets_of_a_uri(tmp_path: Path) -> None:
    error = await refused(tmp_path, "http://user:hunter2@127.0.0.1/a?X-Amz-Signature=abc", private=False)
    assert "hunter2" not in error.reason
    assert "abc" not in error.reason


async def test_an_answer_that_is_no_http_does_not_repeat_the_secrets(tmp_path: Path) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x1b[31mHTTP/9 what\r\n\r\n")
        writer.close()

    running = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with running:
        port = running.sockets[0].getsockname()[1]
        error = await refused(tmp_path, f"http://127.0.0.1:{port}/a?X-Amz-Signature=abcdef")
    assert error.kind == "unreachable"
    assert error.reason.isprintable()
    assert "abcdef" not in error.reason


async def test_a_file_whose_name_is_not_utf8_is_read(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9 %41.ts")
    path.write_bytes(b"media")
    assert await fetched(tmp_path, path.as_uri(), roots=(tmp_path,)) == b"media"


async def test_what_is_no_regular_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.ts")
    (tmp_path / "folder.ts").mkdir()
    for name, words in (("pipe.ts", "it is a pipe"), ("folder.ts", "it is a folder")):
        error = await refused(tmp_path, (tmp_path / name).as_uri(), roots=(tmp_path,))
        assert (error.kind, words in error.reason) == ("refused", True)
    assert (await refused(tmp_path, (tmp_path / "none.ts").as_uri(), roots=(tmp_path,))).reason.endswith("none.ts: no such file")


@pytest.mark.parametrize("uri", ["/srv/media/1.ts", "talk.mp4"])
async def test_a_uri_without_a_scheme_is_named_as_it_was_written(tmp_path: Path, uri: str) -> None:
    error = await refused(tmp_path, f"{uri}?signature")
    assert (error.kind, error.reason) == ("refused", f"{uri}: it has no scheme; a URI begins with file, http, https, s3 or gs")


async def test_an_object_is_read_by_its_scheme_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsspec reads `::` as a chain of file systems; the last one of this URI would be the machine's own disk."""
    monkeypatch.setitem(registered, "s3", Bucket)
    (tmp_path / "secret").write_bytes(b"secret")
    key = "bucket/a b%20c#1?2.ts "
    Bucket.objects = {key: b"media"}
    assert await fetched(tmp_path, f"s3://{key}") == b"media"
    for uri in (f"s3://bucket/x::file://{tmp_path}/secret", f"s3://::file://{tmp_path}/secret", "s3://bucket/*.ts"):
        assert (await refused(tmp_path, uri)).kind == "not-found"


class Bucket(AbstractFileSystem):
    """Stands for s3fs: objects in memory."""

    protocol = "s3"
    objects: ClassVar[dict[str, bytes]] = {}
    ahead: ClassVar[list[int | None]] = []

    def _open(self, path: str, *_: Any, block_size: int | None = None, **__: Any) -> io.BytesIO:
        self.ahead.append(block_size)
        if path not in self.objects:
            raise FileNotFoundError(path)
        return io.BytesIO(self.objects[path])


async def test_of_a_part_of_an_object_little_more_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """s3fs reads 50 MiB ahead where nothing is said."""
    monkeypatch.setitem(registered, "s3", Bucket)
    monkeypatch.setattr(Bucket, "objects", {"b/1.mp4": bytes(1000) + b"media"})
    monkeypatch.setattr(Bucket, "ahead", [])
    async with Fetcher(limits(megabytes=100), tmp_path / "inbox") as fetcher:
        media = await fetcher.fetch("s3://b/1.mp4", byte_range=Range(5, 1000))
        assert media.path.read_bytes() == b"media"
        media.discard()
        with pytest.raises(MediaError, match="ends"):
            await fetcher.fetch("s3://b/1.mp4", byte_range=Range(90 << 20, 0))
    assert Bucket.ahead == [5, 8 << 20]


async def test_what_an_object_store_raises_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The errors of botocore are no OSError: no credentials, an endpoint that is away."""

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("Unable to locate \x1bcredentials")

    monkeypatch.setitem(registered, "s3", Bucket)
    monkeypatch.setattr(Bucket, "_open", fail)
    error = await refused(tmp_path, "s3://b/1.ts")
    assert (error.kind, error.reason) == ("unreachable", r"s3://b/1.ts cannot be read: Unable to locate \x1bcredentials")


async def test_an_object_store_that_hangs_holds_up_no_other_source(
    tmp_path: Path, server: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop's own threads look up names."""
    goes_on = threading.Event()
    monkeypatch.setitem(registered, "s3", Bucket)
    monkeypatch.setattr(Bucket, "_open", lambda *_, **__: goes_on.wait(600))
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    async with Fetcher(limits(), tmp_path / "inbox") as fetcher, Fetcher(limits(seconds=0.5), tmp_path / "hasty") as hasty:
        hanging = asyncio.create_task(fetcher.fetch("s3://b/1.ts"))
        await asyncio.sleep(0.1)
        try:
            (await fetcher.fetch(f"http://localhost:{server.port}/media.ts")).discard()
            assert not hanging.done()
            with pytest.raises(MediaError, match=r"took more than 0\.5 s"):
                await hasty.fetch("s3://b/1.ts")
        finally:
            goes_on.set()
            await asyncio.gather(hanging, return_exceptions=True)


async def test_a_full_disk_is_a_fault_of_the_worker_not_of_the_segment(tmp_path: Path, server: TestServer) -> None:
    local = tmp_path / "roots/local.ts"
    local.parent.mkdir()
    local.write_bytes(b"x" * 300_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Like on a full disk, a write fails after a part of the data.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        for uri, init, roots in (
            (str(server.make_url("/half")), None, ()),
            (local.as_uri(), str(server.make_url("/init.mp4")), (local.parent,)),
        ):
            with pytest.raises(MediaError, match="FVQ_DATA_DIR") as failed:
                await fetched(tmp_path, uri, init, roots=tuple(roots))
            assert failed.value.kind == "setup", "the worker's own fault: it waits"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "inbox").iterdir()) == []


async def test_a_deleted_inbox_is_made_again_and_a_blocked_one_is_the_workers_fault(tmp_path: Path, server: TestServer) -> None:
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
