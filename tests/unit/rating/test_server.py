"""The rating page's server: who can sign in, what a browser learns, and which ratings are kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import CookieJar
from aiohttp.test_utils import TestClient, TestServer

from scorer.errors import MediaError
from streams.errors import BrokerError
from streams.events import TrainingExample
from streams.rating.playable import PlayableClips
from streams.rating.server import COOKIE, RatingPage, make_app
from streams.rating.store import RatingError, RatingStore
from tests.support.media import make_clip
from tests.support.rating import make_example, read_file

Client = TestClient[Any, Any]


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[TrainingExample]:
    folder = tmp_path_factory.mktemp("clips")
    return [make_example(make_clip(folder / f"{i}.ts", 160 + 16 * i, 120, 0.2), f"secret-studio-{i % 2}", i) for i in range(4)]


@pytest.fixture
def page(tmp_path: Path, examples: list[TrainingExample]) -> RatingPage:
    store = RatingStore(tmp_path)
    page = RatingPage(store, PlayableClips(tmp_path / "rating", read_file), lambda: (list(examples), {}), pause_after=2)
    page.refresh()
    return page


@pytest.fixture
async def client(page: RatingPage) -> AsyncIterator[Client]:
    async with TestClient(TestServer(make_app(page)), cookie_jar=CookieJar(unsafe=True)) as client:
        yield client


@pytest.fixture
async def ada(client: Client, page: RatingPage) -> Client:
    """A browser in which ada is signed in."""
    answer = await client.post("/api/sign-in", json={"token": page.store.add_rater("ada")})
    assert answer.status == 200
    return client


async def rate_next(client: Client, value: float = 4) -> dict[str, Any]:
    """Rate the current clip; returns what the server had answered about it."""
    shown = await (await client.get("/api/next")).json()
    answer = await client.post(
        "/api/ratings", json={"presentation": shown["presentation"], "value": value, "seconds": 1.5, "factor": 1}
    )
    assert answer.status == 201, await answer.text()
    return shown


@pytest.mark.parametrize("path", ["/api/next", "/api/clips/x"])
async def test_nobody_sees_anything_without_a_token(client: Client, page: RatingPage, path: str) -> None:
    page.store.add_rater("ada")
    assert (await client.get(path)).status == 401
    assert (await client.get(path, headers={"Cookie": f"{COOKIE}=guess"})).status == 401


@pytest.mark.parametrize("path", ["/api/ratings", "/api/undo", "/api/skip"])
async def test_nobody_changes_anything_without_a_token(client: Client, path: str) -> None:
    assert (await client.post(path, json={})).status == 401


async def test_a_wrong_token_and_the_token_of_a_removed_rater_are_refused(client: Client, page: RatingPage) -> None:
    token = page.store.add_rater("ada")
    assert (await client.post("/api/sign-in", json={"token": token + "x"})).status == 401
    answer = await client.post("/api/sign-in", json={"token": token})
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert (await client.get("/api/next")).status == 200
    page.store.remove_rater("ada")
    assert (await client.get("/api/next")).status == 401


async def test_a_form_of_another_site_is_refused(ada: Client) -> None:
    body = json.dumps({"presentation": "x", "value": 1, "seconds": 1, "factor": 1})
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        assert (await ada.post("/api/ratings", data=body, headers={"Content-Type": kind})).status == 415


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", "/api/next", "/nowhere"])
async def test_every_answer_has_the_strict_headers(client: Client, path: str) -> None:
    headers = (await client.get(path)).headers
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


async def test_the_page_loads_nothing_from_other_servers(client: Client) -> None:
    for path in ("/", "/page.js", "/page.css"):
        text = await (await client.get(path)).text()
        assert "http:" not in text
        assert "https:" not in text
        assert "style=" not in text


async def test_a_browser_learns_nothing_about_the_clip(ada: Client, examples: list[TrainingExample]) -> None:
    seen = ""
    for _ in examples:
        shown = await rate_next(ada)
        clip = await ada.get(f"/api/clips/{shown['presentation']}")
        seen += json.dumps(shown) + str(clip.headers) + str(clip.url) + (await clip.read()).decode("latin-1")
        assert set(shown) == {
            "state",
            "presentation",
            "scale",
            "enlarge",
            "digit_votes",
            "done",
            "total",
            "minutes",
            "can_undo",
            "pause",
            "name",
        }
    for example in examples:
        for secret in (example.stream_id, example.example_id, example.clip_uri, "12.34", "low-score"):
            assert secret not in seen


async def test_raters_do_not_see_each_others_clips(ada: Client, page: RatingPage) -> None:
    shown = await (await ada.get("/api/next")).json()
    async with TestClient(TestServer(make_app(page)), cookie_jar=CookieJar(unsafe=True)) as grace:
        await grace.post("/api/sign-in", json={"token": page.store.add_rater("grace")})
        assert (await grace.get(f"/api/clips/{shown['presentation']}")).status == 404
        body = {"presentation": shown["presentation"], "value": 1, "seconds": 1, "factor": 1}
        assert (await grace.post("/api/ratings", json=body)).status == 409


async def test_a_clip_is_served_by_ranges(ada: Client) -> None:
    shown = await (await ada.get("/api/next")).json()
    whole = await ada.get(f"/api/clips/{shown['presentation']}")
    data = await whole.read()
    assert whole.content_type == "video/mp4"
    assert data[4:8] == b"ftyp"
    part = await ada.get(f"/api/clips/{shown['presentation']}", headers={"Range": "bytes=10-29"})
    assert part.status == 206
    assert await part.read() == data[10:30]
    assert part.headers["Content-Range"] == f"bytes 10-29/{len(data)}"
    beyond = await ada.get(f"/api/clips/{shown['presentation']}", headers={"Range": f"bytes={len(data)}-"})
    assert beyond.status == 416


@pytest.mark.parametrize(
    "change",
    [
        {"value": 0},
        {"value": 6},
        {"value": 2.5},
        {"value": "4"},
        {"value": None},
        {"seconds": -1},
        {"more": 1},
        {"presentation": ""},
        {"factor": 0},
        {"factor": 9},
        {"factor": None},
    ],
)
async def test_wrong_votes_are_refused(ada: Client, page: RatingPage, change: dict[str, Any]) -> None:
    shown = await (await ada.get("/api/next")).json()
    body = {"presentation": shown["presentation"], "value": 4, "seconds": 1.0, "factor": 1} | change
    answer = await ada.post("/api/ratings", json=body)
    assert answer.status == 400
    assert (await answer.json())["error"]
    assert page.store.ratings() == []


async def test_levels_become_points_and_the_page_asks_for_pauses(ada: Client, page: RatingPage) -> None:
    states = [await rate_next(ada, value) for value in (1, 2, 4, 5)]
    assert [rating.points for rating in page.store.ratings()] == [10, 30, 70, 90]
    assert [state["pause"] for state in states] == [False, False, True, False]
    assert [(state["done"], state["total"]) for state in states] == [(i, 4) for i in range(4)]
    assert (await (await ada.get("/api/next")).json())["state"] == "done"
    assert (await (await ada.post("/api/undo", json={})).json()) == {"undone": True}
    assert (await (await ada.get("/api/next")).json())["presentation"] == states[-1]["presentation"]


async def test_the_slider_keeps_its_points(page: RatingPage) -> None:
    slider = RatingPage(page.store, page.clips, page.load, "slider")
    async with TestClient(TestServer(make_app(slider)), cookie_jar=CookieJar(unsafe=True)) as client:
        await client.post("/api/sign-in", json={"token": page.store.add_rater("ada")})
        await rate_next(client, 0)
        await rate_next(client, 63)
    assert [(rating.points, rating.scale) for rating in page.store.ratings()] == [(0, "slider"), (63, "slider")]


async def test_a_clip_that_cannot_be_shown_is_passed_over(tmp_path: Path, examples: list[TrainingExample]) -> None:
    noise = tmp_path / "noise.ts"
    noise.write_bytes(b"\x47" + bytes(5000))
    store = RatingStore(tmp_path)
    clips = PlayableClips(tmp_path / "rating", read_file)
    page = RatingPage(store, clips, lambda: ([make_example(noise), examples[0]], {}))
    page.refresh()
    async with TestClient(TestServer(make_app(page)), cookie_jar=CookieJar(unsafe=True)) as client:
        await client.post("/api/sign-in", json={"token": store.add_rater("ada")})
        await rate_next(client)
        assert (await (await client.get("/api/next")).json())["state"] == "done"
    assert [rating.key[1] for rating in store.ratings()] == [examples[0].example_id]


@pytest.mark.parametrize(
    "problem", [ConnectionError("no route"), MediaError("not mounted", kind="not-found"), MediaError("no store", kind="refused")]
)
async def test_no_clip_is_dropped_while_the_store_is_away(
    tmp_path: Path, examples: list[TrainingExample], problem: Exception
) -> None:
    away = [True]

    def read(uri: str) -> bytes:
        if away[0]:
            raise problem
        return read_file(uri)

    store = RatingStore(tmp_path)
    page = RatingPage(store, PlayableClips(tmp_path / "rating", read), lambda: (list(examples), {}))
    page.refresh()
    async with TestClient(TestServer(make_app(page)), cookie_jar=CookieJar(unsafe=True)) as client:
        await client.post("/api/sign-in", json={"token": store.add_rater("ada")})
        for _ in range(2):
            assert (await (await client.get("/api/next")).json())["state"] == "waiting"
        away[0] = False
        page.refresh()
        shown = [await rate_next(client) for _ in examples]
        assert shown[-1]["total"] == len(examples)


async def test_raters_go_on_while_one_clip_is_missing(tmp_path: Path, examples: list[TrainingExample]) -> None:
    def read(uri: str) -> bytes:
        if uri == examples[0].clip_uri:
            raise MediaError("gone", kind="not-found")
        return read_file(uri)

    store = RatingStore(tmp_path)
    page = RatingPage(store, PlayableClips(tmp_path / "rating", read), lambda: (list(examples), {}))
    page.refresh()
    async with TestClient(TestServer(make_app(page)), cookie_jar=CookieJar(unsafe=True)) as client:
        await client.post("/api/sign-in", json={"token": store.add_rater("ada")})
        for _ in examples[1:]:
            await rate_next(client)
        page.refresh()
        assert (await (await client.get("/api/next")).json())["state"] == "waiting"
    assert {rating.key[1] for rating in store.ratings()} == {example.example_id for example in examples[1:]}


async def test_behind_a_proxy_with_tls_the_cookie_is_sent_over_tls_only(client: Client, page: RatingPage) -> None:
    token = page.store.add_rater("ada")
    own = f"{client.host}:{client.port}"
    for headers, secure in (
        ({}, False),
        ({"Origin": f"http://{own}"}, False),
        ({"X-Forwarded-Proto": "https"}, True),
        ({"Origin": f"https://{own}"}, True),
    ):
        answer = await client.post("/api/sign-in", json={"token": token}, headers=headers)
        assert ("Secure" in answer.headers["Set-Cookie"]) is secure


def files_with(folder: Path, text: bytes) -> list[Path]:
    return [path for path in folder.glob("ratings.sqlite*") if text in path.read_bytes()]


def playable_clips(folder: Path) -> int:
    return len(list((folder / "rating").glob("*.mp4")))


async def wait_for(condition: Callable[[], bool], client: Client) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await client.get("/")  # lets the server run


async def test_a_deleted_stream_disappears_while_the_page_runs(tmp_path: Path, examples: list[TrainingExample]) -> None:
    queue: list[Any] = [list(examples), {}]
    down = [False]

    def load() -> tuple[list[TrainingExample], dict[str, Any]]:
        if down[0]:
            raise BrokerError("gone")
        return queue[0], queue[1]

    store = RatingStore(tmp_path)
    page = RatingPage(store, PlayableClips(tmp_path / "rating", read_file), load, refresh_seconds=0.01)
    page.refresh()
    async with TestClient(TestServer(make_app(page)), cookie_jar=CookieJar(unsafe=True)) as client:
        await client.post("/api/sign-in", json={"token": store.add_rater("ada")})
        for _ in examples:
            await rate_next(client)
        kept = [example for example in examples if example.stream_id != "secret-studio-0"]
        down[0] = True
        queue[:] = [kept, {"secret-studio-0": examples[0].queued_at}]
        assert len(store.ratings()) == 4
        down[0] = False
        await wait_for(lambda: len(store.ratings()) == 2, client)
        await wait_for(lambda: playable_clips(tmp_path) == 2, client)
    assert {rating.key[0] for rating in store.ratings()} == {"secret-studio-1"}
    assert not files_with(tmp_path, b"secret-studio-0")


HOSTILE = "\u202eada\n<script>alert(1)</script>"


async def test_a_raters_name_is_one_line_and_no_markup(client: Client, page: RatingPage) -> None:
    with pytest.raises(RatingError, match="no control characters"):
        page.store.add_rater(HOSTILE)
    token = page.store.add_rater("ada")
    with page.store._database.transaction() as db:  # as a version before that rule has stored it
        db.execute("update raters set name = ?", (HOSTILE,))
    signed_in = await (await client.post("/api/sign-in", json={"token": token})).json()
    shown = await (await client.get("/api/next")).json()
    assert signed_in["name"] == shown["name"] == r"\u202eada\n<script>alert(1)</script>"


async def test_the_page_writes_text_only_and_learns_nothing_of_the_stream(ada: Client, examples: list[TrainingExample]) -> None:
    script = await (await ada.get("/page.js")).text()
    assert not any(way in script for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("))
    shown = await (await ada.get("/api/next")).text()
    assert not any(example.stream_id in shown for example in examples)
    answer = await ada.get("/")
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]


async def test_a_vote_is_kept_with_the_size_at_which_the_clip_was_seen(ada: Client, page: RatingPage) -> None:
    for factor in (1, 2, 1 / 3):
        shown = await (await ada.get("/api/next")).json()
        body = {"presentation": shown["presentation"], "value": 4, "seconds": 1, "factor": factor}
        assert (await ada.post("/api/ratings", json=body)).status == 201
    shown = await (await ada.get("/api/next")).json()
    unsaid = await ada.post("/api/ratings", json={"presentation": shown["presentation"], "value": 4, "seconds": 1})
    assert unsaid.status == 400
    assert "factor" in (await unsaid.json())["error"]
    assert [rating.factor for rating in page.store.ratings()] == [1, 2, 1 / 3]


async def test_the_page_learns_how_many_clips_and_minutes_are_left(ada: Client, examples: list[TrainingExample]) -> None:
    left = []
    for _ in examples:
        shown = await rate_next(ada)
        left.append((shown["total"] - shown["done"], shown["minutes"]))
    assert left == [(4, 1), (3, 1), (2, 1), (1, 1)]
    done = await (await ada.get("/api/next")).json()
    assert done["minutes"] == 0


PROXY = "https://rate.example:443/clips"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # no browser
        ({"Origin": "http://{own}"}, 200),
        ({"Origin": "https://RATE.example"}, 200),  # a proxy that asks for another host than the browser
        ({"Origin": "https://rate.example", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "https://other.example", "Sec-Fetch-Site": "same-origin"}, 200),  # a browser's own word, and it is current
        ({"Origin": "https://other.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "https://rate.example", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "https://rate.example", "Sec-Fetch-Site": "same-site"}, 403),
    ],
)
async def test_pages_of_other_addresses_cannot_send_anything(page: RatingPage, headers: dict[str, str], status: int) -> None:
    token = page.store.add_rater("ada")
    async with TestClient(TestServer(make_app(replace(page, url=PROXY)))) as client:
        own = f"{client.host}:{client.port}"
        sent = {name: value.format(own=own) for name, value in headers.items()}
        answer = await client.post("/api/sign-in", json={"token": token}, headers=sent)
        assert answer.status == status
        assert ("FVQ_RATE_URL" in await answer.text()) is (status == 403)
        assert (await client.get("/", headers=sent)).status == 200


@pytest.mark.parametrize("origin", ["https://rate.example", "null", ""])
async def test_without_its_address_the_page_takes_no_other_host(client: Client, page: RatingPage, origin: str) -> None:
    token = page.store.add_rater("ada")
    answer = await client.post("/api/sign-in", json={"token": token}, headers={"Origin": origin})
    assert answer.status == 403
