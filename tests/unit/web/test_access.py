"""Who gets in: tokens, sessions, proxies, loopback; hosts, origins, scopes and labels."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp.test_utils import TestClient, TestServer

from streams.addresses import is_loopback
from streams.errors import SettingsError
from streams.web.access.gate import AccessOptions, Gate
from streams.web.access.limits import WebLimits
from streams.web.access.tokens import Scope, Tokens, add_token, read_tokens, remove_token
from streams.web.server import make_app
from tests.support.fleet import Fleet, fleet_wall

ROOT = "/api/v1"
LIMITS = WebLimits(rate=1000, burst=1000)


@asynccontextmanager
async def served(seeded: Fleet, options: AccessOptions) -> AsyncIterator[TestClient]:
    async with TestClient(TestServer(make_app(fleet_wall(seeded, LIMITS, Gate(options))))) as client:
        yield client


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_a_token_is_kept_as_a_hash_alone(file: Path) -> None:
    secret = add_token(file, "tv", ["read", "media"], {"tier": "premium"})
    assert secret not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    tokens = Tokens(file)
    assert tokens.find(secret).name == "tv"
    assert tokens.find(secret[:-1]) is None
    assert tokens.find("") is None
    assert tokens.find("x" * 100_000) is None
    with pytest.raises(SettingsError, match="has a token 'tv'"):
        add_token(file, "tv", ["read"], {})
    remove_token(file, "tv")
    assert read_tokens(file) == []
    with pytest.raises(SettingsError, match="no token 'tv'"):
        remove_token(file, "tv")


def access_of(file: Path) -> tuple[int, int, int]:
    """The owner, the group and the mode of a file."""
    status = file.stat()
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


def test_who_may_read_the_file_may_read_it_after_a_change(file: Path) -> None:
    add_token(file, "tv", ["read"], {})
    if os.geteuid() == 0:
        os.chown(file, 65534, 65533)
    file.chmod(0o640)
    before = access_of(file)
    add_token(file, "kim", ["read"], {})
    assert access_of(file) == before
    remove_token(file, "tv")
    assert access_of(file) == before
    assert [token.name for token in read_tokens(file)] == ["kim"]


def test_a_change_that_would_take_the_file_from_its_owner_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_token(file, "tv", ["read"], {})
    before = file.read_bytes()

    def refuse(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    with pytest.raises(SettingsError, match="run this as root"):
        remove_token(file, "tv")
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"tokens": [{}]}',
        '{"tokens": [{"name": "a", "sha256": "b", "scopes": ["read"]}]}',
        '{"other": 1}',
        "{" * 50_000,
    ],
)
def test_a_tokens_file_that_is_none_stops_the_start(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(SettingsError, match="FVQ_WEB_TOKENS_FILE"):
        Tokens(file)


def test_a_missing_file_stops_the_start_and_a_broken_one_later_changes_nothing(file: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        Tokens(file)
    secret = add_token(file, "tv", ["read"], {})
    gate = Gate(AccessOptions("0.0.0.0", tokens=Tokens(file)))
    file.write_text("nonsense")
    assert gate.of_secret(secret, "token") is not None


def test_without_tokens_only_loopback_is_served() -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        Gate(AccessOptions(host))
    for host in ("0.0.0.0", "::", "192.168.1.5", "wall.example"):
        with pytest.raises(SettingsError, match="fvq web token add"):
            Gate(AccessOptions(host))
    with pytest.raises(SettingsError, match="FVQ_WEB_TRUSTED_PROXIES"):
        Gate(AccessOptions("127.0.0.1", user_header="X-User"))
    assert not is_loopback("127.0.0.1.evil.example")


async def test_a_name_that_is_made_to_point_here_gets_nothing(seeded: Fleet) -> None:
    async with served(seeded, AccessOptions("127.0.0.1", url="https://wall.example/fvq")) as client:
        for host in ("evil.example", "evil.example:8060", "127.0.0.1.evil.example", "", "[", "localhost.evil"):
            for path in (f"{ROOT}/summary", "/", f"{ROOT}/openapi.json"):
                assert (await client.get(path, headers={"Host": host})).status == 403, (host, path)
        for host in ("localhost", "127.0.0.1:1234", "[::1]:80", "LOCALHOST:80"):
            assert (await client.get(f"{ROOT}/summary", headers={"Host": host})).status == 200
        # Its public name is the proxy's: who comes by it is not this machine.
        assert (await client.get(f"{ROOT}/summary", headers={"Host": "wall.example"})).status == 401
        assert (await client.get(f"{ROOT}/summary", headers={"X-Forwarded-For": "8.8.8.8"})).status == 401
        assert (await client.get("/healthz", headers={"Host": "10.1.2.3:8060"})).status == 200


async def test_a_cookie_of_another_wall_on_this_host_keeps_nobody_out(seeded: Fleet, file: Path) -> None:
    add_token(file, "tv", ["read"], {})
    headers = {"Host": "127.0.0.1", "Cookie": "fvq=fvq_of_another_wall"}
    async with served(seeded, AccessOptions("127.0.0.1")) as client:
        assert (await client.get(f"{ROOT}/summary", headers=headers)).status == 200
    async with served(seeded, AccessOptions("127.0.0.1", tokens=Tokens(file))) as client:
        assert (await client.get(f"{ROOT}/summary", headers=headers)).status == 401


async def test_scopes(seeded: Fleet, file: Path) -> None:
    alert = seeded.live.firing()[0].alert_id
    name = quote(next(id for id, stream in seeded.live.streams.items() if stream.pictures.last), safe="")
    needed: dict[Scope, tuple[str, str]] = {
        "read": ("GET", f"{ROOT}/streams"),
        "ack": ("DELETE", f"{ROOT}/alerts/{alert}/ack"),
        "media": ("GET", f"{ROOT}/streams/{name}/picture.jpg"),
    }
    secrets = {scope: add_token(file, scope, [scope], {}) for scope in (*needed, "rate")}
    async with served(seeded, AccessOptions("0.0.0.0", tokens=Tokens(file))) as client:
        for scope, (method, path) in needed.items():
            for other, secret in secrets.items():
                answer = await client.request(method, path, headers=bearer(secret))
                assert (answer.status < 300) == (scope == other), (scope, other)
                if scope != other:
                    assert answer.status == 403
                    assert repr(scope) in (await answer.json())["detail"]
            answer = await client.request(method, path)
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert (await client.request(method, path, headers=bearer("fvq_guess"))).status == 401
        assert (await client.get(f"{ROOT}/openapi.json")).status == 200
        for wrong in (bearer("fvq_guess"), bearer(""), bearer("x" * 5000)):
            refused = await client.get(f"{ROOT}/summary", headers=wrong)
            assert refused.status == 401
            assert "not known" in (await refused.json())["detail"], "it was given, but is wrong"


async def test_a_token_sees_its_labels_and_nothing_else(seeded: Fleet, file: Path) -> None:
    secret = add_token(file, "premium", ["read", "ack", "media"], {"tier": "premium"})
    hidden = next(stream for stream in seeded.live.streams.values() if stream.labels["tier"] != "premium" and stream.alerts)
    name, alert = quote(hidden.id, safe=""), next(iter(hidden.alerts))
    segment = quote(next(iter(hidden.renditions.values())).segment_id, safe="")
    async with served(seeded, AccessOptions("0.0.0.0", tokens=Tokens(file))) as client:
        listed = await (await client.get(f"{ROOT}/streams?limit=1000", headers=bearer(secret))).json()
        assert {item["labels"]["tier"] for item in listed["items"]} == {"premium"}
        alerts = await (await client.get(f"{ROOT}/alerts?state=all&limit=1000", headers=bearer(secret))).json()
        assert {entry["alert"]["labels"]["tier"] for entry in alerts["items"]} == {"premium"}
        summary = await (await client.get(f"{ROOT}/summary", headers=bearer(secret))).json()
        assert summary["streams"] == len(listed["items"])
        health = await (await client.get(f"{ROOT}/health", headers=bearer(secret))).json()
        assert health["models"] == summary["models"], "the models of the others' streams are theirs"
        assert health["lag_p95"] == summary["lag_p95"]
        assert health["shifts"]
        assert all(shift["median_before"] is None and shift["median_after"] is None for shift in health["shifts"])
        clips = await (await client.get(f"{ROOT}/clips?limit=1000", headers=bearer(secret))).json()
        assert {clip["labels"]["tier"] for clip in clips["items"]} <= {"premium"}
        for rest in ("", "/scores", "/pictures", "/picture.jpg", "/compare", f"/segments/{segment}"):
            assert (await client.get(f"{ROOT}/streams/{name}{rest}", headers=bearer(secret))).status == 404, rest
        assert (await client.get(f"{ROOT}/alerts/{alert}", headers=bearer(secret))).status == 404
        assert (await client.put(f"{ROOT}/alerts/{alert}/ack", json={}, headers=bearer(secret))).status == 404
        assert (await client.get(f"{ROOT}/streams?label=tier:free", headers=bearer(secret))).status == 403


async def test_a_session_and_its_end(seeded: Fleet, file: Path) -> None:
    secret = add_token(file, "kim", ["read", "ack"], {})
    alert = seeded.live.firing()[0].alert_id
    async with served(seeded, AccessOptions("0.0.0.0", tokens=Tokens(file))) as client:
        origin = {"Origin": f"http://{client.host}:{client.port}"}
        assert (await client.post(f"{ROOT}/session", json={"token": "fvq_guess"}, headers=origin)).status == 401
        signed = await client.post(f"{ROOT}/session", json={"token": secret}, headers=origin)
        assert (await signed.json())["name"] == "kim"
        cookie = signed.headers["Set-Cookie"]
        assert cookie.startswith("fvq=")
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
        assert (await client.get(f"{ROOT}/summary")).status == 200
        ack = f"{ROOT}/alerts/{alert}/ack"
        # A cookie is sent by every page: only this site's own may change anything.
        assert (await client.put(ack, json={})).status == 403
        assert (await client.put(ack, json={}, headers={"Origin": "https://evil.example"})).status == 403
        assert (await client.put(ack, json={}, headers={"Sec-Fetch-Site": "cross-site", **origin})).status == 403
        made = await client.put(ack, json={}, headers=origin)
        assert made.status in (200, 201)
        assert (await made.json())["ack"]["by"] == "kim"
        assert (await client.delete(ack)).status == 403
        assert (await client.delete(ack, headers={"Sec-Fetch-Site": "same-origin"})).status == 204
        remove_token(file, "kim")
        # The tokens' file is looked at once a second.
        for _ in range(100):
            if (await client.get(f"{ROOT}/summary")).status == 401:
                break
            await asyncio.sleep(0.1)
        assert (await client.get(f"{ROOT}/summary")).status == 401
        out = await client.delete(f"{ROOT}/session", headers={"Sec-Fetch-Site": "same-origin"})
        assert out.status == 204


async def test_behind_https_the_cookie_is_bound_to_it(seeded: Fleet, file: Path) -> None:
    secret = add_token(file, "kim", ["read"], {})
    options = AccessOptions("127.0.0.1", Tokens(file), "https://wall.example", proxies=(ip_network("127.0.0.1/32"),))
    async with served(seeded, options) as client:
        headers = {"Host": "wall.example", "Origin": "https://wall.example", "X-Forwarded-Proto": "https"}
        signed = await client.post(f"{ROOT}/session", json={"token": secret}, headers=headers)
        assert signed.status == 200
        assert signed.headers["Set-Cookie"].startswith("__Host-fvq=")
        assert "Secure" in signed.headers["Set-Cookie"]
        cookie = signed.headers["Set-Cookie"].split(";")[0]
        assert (await client.get(f"{ROOT}/summary", headers={**headers, "Cookie": cookie})).status == 200


@pytest.mark.parametrize("url", ["https://Wall.Example", "https://wall.example:443/fvq"])
async def test_a_person_signs_in_however_the_public_address_is_written(seeded: Fleet, file: Path, url: str) -> None:
    """A proxy often asks for another host than the browser did."""
    secret = add_token(file, "kim", ["read"], {})
    async with served(seeded, AccessOptions("0.0.0.0", Tokens(file), url, origins=("https://Ops.Example:443",))) as client:
        headers = {"Host": "wall:8060", "Origin": "https://wall.example", "Sec-Fetch-Site": "same-origin"}
        assert (await client.post(f"{ROOT}/session", json={"token": secret}, headers=headers)).status == 200
        other = await client.get(f"{ROOT}/summary", headers=bearer(secret) | {"Origin": "https://ops.example"})
        assert other.headers["Access-Control-Allow-Origin"] == "https://ops.example"


async def test_a_trusted_proxy_names_the_person(seeded: Fleet) -> None:
    options = AccessOptions("0.0.0.0", user_header="X-Forwarded-User", proxies=(ip_network("127.0.0.0/8"),))
    async with served(seeded, options) as client:
        assert (await client.get(f"{ROOT}/session")).status == 401
        answer = await client.get(f"{ROOT}/session", headers={"X-Forwarded-User": "Kim\u202e Lee"})
        assert (await answer.json())["name"] == "Kim\\u202e Lee"
    foreign = AccessOptions("0.0.0.0", user_header="X-Forwarded-User", proxies=(ip_network("10.0.0.0/8"),))
    async with served(seeded, foreign) as client:
        assert (await client.get(f"{ROOT}/session", headers={"X-Forwarded-User": "Kim"})).status == 401


async def test_other_sites_pages_may_call_with_a_token_only(seeded: Fleet, file: Path) -> None:
    secret = add_token(file, "grafana", ["read", "ack"], {})
    options = AccessOptions("0.0.0.0", Tokens(file), origins=("https://ops.example",))
    async with served(seeded, options) as client:
        own, other = {"Origin": "https://ops.example"}, {"Origin": "https://evil.example"}
        preflight = await client.options(f"{ROOT}/streams", headers=own | {"Access-Control-Request-Method": "GET"})
        assert preflight.status == 204
        assert preflight.headers["Access-Control-Allow-Origin"] == "https://ops.example"
        assert "Access-Control-Allow-Credentials" not in preflight.headers
        assert (await client.options(f"{ROOT}/streams", headers=other)).status == 405
        answer = await client.get(f"{ROOT}/streams", headers=own | bearer(secret))
        assert answer.headers["Access-Control-Allow-Origin"] == "https://ops.example"
        assert {"ETag", "Link", "Retry-After"} <= set(answer.headers["Access-Control-Expose-Headers"].split(", "))
        answer = await client.get(f"{ROOT}/streams", headers=other | bearer(secret))
        assert "Access-Control-Allow-Origin" not in answer.headers
        async with client.ws_connect(f"{ROOT}/live", headers=own) as socket:
            await socket.send_str(json.dumps({"type": "hello", "token": secret}))
            assert json.loads(await socket.receive_str(timeout=5))["type"] == "snapshot"


async def test_no_secret_is_in_an_answer(seeded: Fleet, file: Path) -> None:
    secret = add_token(file, "kim", ["read"], {})
    async with served(seeded, AccessOptions("0.0.0.0", Tokens(file))) as client:
        for path in ("/session", "/health", "/summary", "/openapi.json", "/nothing", f"/streams?token={secret}"):
            text = await (await client.get(ROOT + path, headers=bearer(secret))).text()
            assert secret not in text
            assert Tokens(file).find(secret).sha256 not in text
