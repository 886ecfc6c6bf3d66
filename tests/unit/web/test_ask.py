"""`fvq streams ls` prints what the API says, and says what is wrong where nothing answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from typer.testing import CliRunner

from streams.cli.app import app
from streams.web.access.gate import AccessOptions, Gate
from streams.web.access.limits import WebLimits
from streams.web.access.tokens import Tokens, add_token
from streams.web.ask import WallAddress, WallError, items_of, table_of
from streams.web.server import make_app
from tests.support.fleet import Fleet, fleet_wall


async def test_the_command_prints_what_the_wall_shows(client: TestClient, seeded: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVQ_WEB_URL", f"http://127.0.0.1:{client.port}")
    run = CliRunner().invoke
    printed = await asyncio.to_thread(run, app, ["streams", "ls", "--worst", "--limit", "1000", "--json"])
    assert printed.exit_code == 0, printed.output
    listed = await (await client.get("/api/v1/streams?limit=1000")).json()
    assert {item["stream_id"] for item in json.loads(printed.output)} == {item["stream_id"] for item in listed["items"]}
    table = await asyncio.to_thread(run, app, ["streams", "ls", "--worst", "--limit", "3", "--label", "tier:premium"])
    lines = table.stdout.splitlines()
    assert len(lines) == 4
    assert all("tier:premium" in line for line in lines[1:])
    assert table.stderr == "fvq: these are 3 streams of more: --limit lists them\n"
    everything = await asyncio.to_thread(run, app, ["streams", "ls", "--limit", str(len(listed["items"]))])
    assert (len(everything.stdout.splitlines()), everything.stderr) == (1 + len(listed["items"]), "")
    wrong = await asyncio.to_thread(run, app, ["streams", "ls", "--label", "tier"])
    assert isinstance(wrong.exception, WallError)
    assert "label" in str(wrong.exception)


async def test_pages_are_joined_up_to_the_limit(client: TestClient, seeded: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.web.ask.PAGE", 7)
    wall = WallAddress(f"http://127.0.0.1:{client.port}")
    items = await asyncio.to_thread(lambda: list(items_of(wall, "/streams", {"sort": "id"}, 20)))
    ids = [item["stream_id"] for item in items]
    assert ids == sorted(seeded.live.streams)[:20]


async def test_a_wall_that_wants_a_token(seeded: Fleet, tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    secret = add_token(path, "script", ["read"], {})
    gate = Gate(AccessOptions("0.0.0.0", Tokens(path)))
    async with TestClient(TestServer(make_app(fleet_wall(seeded, WebLimits(), gate)))) as client:
        url = f"http://127.0.0.1:{client.port}"
        with pytest.raises(WallError, match="FVQ_WEB_TOKEN"):
            await asyncio.to_thread(lambda: list(items_of(WallAddress(url), "/streams", {}, 1)))
        assert len(await asyncio.to_thread(lambda: list(items_of(WallAddress(url, secret), "/streams", {}, 1)))) == 1
    assert secret not in repr(WallAddress(url, secret))


@pytest.fixture
def odd_server() -> Iterator[tuple[str, list[Any]]]:
    """A server that answers with what the test puts into its list: status, headers, body; without a status, the body alone."""
    answers: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answers.pop(0)
            if status is not None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", answers
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, b"<html>"),
        (200, {}, b"[]"),
        (200, {}, b'{"items": 5}'),
        (200, {}, b'{"items": []}'),
        (200, {}, b'{"items": [5], "next": null}'),
        (200, {}, b'{"items": [{"kind": "Pod"}], "next": null}'),
        (200, {}, b"[" * 100_000),
        (302, {"Location": "http://127.0.0.1:1/steal"}, b""),
        (500, {}, b"\x1b[31mred"),
        (400, {}, b'{"detail": "\\u001b[31mred"}'),
        (None, {}, b"SSH-2.0-\x1b[31mred\r\n"),
        (200, {"Transfer-Encoding": "chunked"}, b'20\r\n{"items": ['),
        (502, {"Transfer-Encoding": "chunked"}, b'20\r\n{"detail": "'),
    ],
)
def test_what_is_no_wall_is_said(odd_server: tuple[str, list[Any]], answer: Any) -> None:
    url, answers = odd_server
    answers.append(answer)
    with pytest.raises(WallError) as refusal:
        list(items_of(WallAddress(url, "s3cret"), "/streams", {}, 1))
    assert "\x1b" not in str(refusal.value)
    assert "s3cret" not in str(refusal.value)


def test_nothing_answers() -> None:
    with pytest.raises(WallError, match="start `fvq web`"):
        list(items_of(WallAddress("http://127.0.0.1:1"), "/streams", {}, 1))


def test_a_table_has_no_escape_sequences() -> None:
    item = {
        "stream_id": "a\x1b[31m", "smoothed": 22.4, "uncertainty": 6.2, "usual": 81.0, "state": "quality-drop",
        "acknowledged": True, "since": "2026-03-01T12:00:00.000Z", "rendition": None, "labels": {"tier": "x\n"},
    }  # fmt: skip
    lines = table_of([item])
    assert lines[1] == "a\\x1b[31m  22 +-6  81     quality-drop (acknowledged)  2026-03-01T12:00:00.000Z  -          tier:x\\n"


def test_columns_stand_under_each_other_where_ids_have_wide_letters() -> None:
    item = {
        "stream_id": "東京", "smoothed": 22.4, "uncertainty": None, "usual": None, "state": "ok", "acknowledged": False,
        "since": None, "rendition": None, "labels": {},
    }  # fmt: skip
    assert table_of([item])[1] == "東京    22     -      ok     -      -"


async def test_alerts_are_listed_with_ids_that_can_be_copied(
    client: TestClient, seeded: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FVQ_WEB_URL", f"http://127.0.0.1:{client.port}")
    monkeypatch.setenv("COLUMNS", "80")
    run = CliRunner().invoke
    firing = await asyncio.to_thread(run, app, ["alerts", "--json"])
    assert firing.exit_code == 0, firing.output
    alerts = json.loads(firing.output)
    assert alerts
    assert all(item["alert"]["state"] == "firing" for item in alerts)
    table = (await asyncio.to_thread(run, app, ["alerts", "ls"])).output
    assert all(item["alert"]["alert_id"] in table for item in alerts), "none is cut or broken"
    everything = await asyncio.to_thread(run, app, ["alerts", "ls", "--all", "--limit", "1000", "--json"])
    assert {item["alert"]["alert_id"] for item in json.loads(everything.output)} == set(seeded.live.alerts)
    kind, stream = alerts[0]["alert"]["kind"], alerts[0]["alert"]["stream_id"]
    some = json.loads((await asyncio.to_thread(run, app, ["alerts", "ls", "--kind", kind, "--stream", stream, "--json"])).output)
    assert {(item["alert"]["kind"], item["alert"]["stream_id"]) for item in some} == {(kind, stream)}
    first = (await asyncio.to_thread(run, app, ["alerts", "ls", "--limit", "2"])).output
    assert first.splitlines()[0].strip() == "the latest 2 alerts of more: --limit lists them"
    premium = json.loads((await asyncio.to_thread(run, app, ["alerts", "ls", "--label", "tier:premium", "--json"])).output)
    assert {item["alert"]["labels"]["tier"] for item in premium} == {"premium"}
    wrong = await asyncio.to_thread(run, app, ["alerts", "ls", "--kind", "blak"])
    assert isinstance(wrong.exception, WallError)
    assert "blak" in str(wrong.exception)
