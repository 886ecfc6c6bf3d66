"""The rating page in a real Chromium: a rater rates ten clips with the keyboard only; sizes, phones, a proxy."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp import ClientSession, DummyCookieJar, web
from multidict import CIMultiDict
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

from streams.rating.database import RatingsFileError
from streams.rating.mos import LEVEL_POINTS
from streams.rating.playable import PlayableClips
from streams.rating.server import RatingPage
from streams.rating.store import RatingStore
from streams.rating.values import Scale
from tests.support.browser import chromium_or_skip
from tests.support.media import make_clip
from tests.support.rater import Person, served
from tests.support.rating import make_example, read_file
from tests.support.web import in_thread

VOTE_WHILE_IT_PLAYS = """
window.early = {};
document.addEventListener("playing", () => {
  if (next.presentation in window.early) return;
  for (const key of ["5", "Enter"]) document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  window.early[next.presentation] = stage !== "watch" || value() !== null;
}, true);
"""
"""Votes as soon as a clip plays for the first time, and keeps in `window.early` whether the page accepted that.

In the page itself, for a clip may have ended before a slow browser has run another script.
"""


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    with chromium_or_skip(tmp_path / "profile") as chrome:
        yield chrome


@pytest.fixture
def page(tmp_path: Path) -> RatingPage:
    """A page with ten clips of five streams, in three codecs and two containers."""
    kinds = [
        ("ts", ("-c:v", "libx264", "-pix_fmt", "yuv420p")),
        ("ts", ("-c:v", "libx265", "-pix_fmt", "yuv420p", "-x265-params", "log-level=none:pools=1")),
        ("mkv", ("-c:v", "mpeg4")),
    ]
    examples = []
    for number in range(10):
        ending, options = kinds[number % 3]
        clip = make_clip(tmp_path / f"{number}.{ending}", 160 + 16 * number, 120, 0.4, options=options)
        examples.append(make_example(clip, f"studio-{number % 5}", number))
    store = RatingStore(tmp_path / "data")
    page = RatingPage(store, PlayableClips(tmp_path / "data" / "rating", read_file), lambda: (examples, {}), pause_after=6)
    assert page.refresh() == 10
    return page


def test_ten_clips_are_rated_with_the_keyboard_only(browser: webdriver.Chrome, page: RatingPage) -> None:
    token = page.store.add_rater("ada")
    votes: dict[str, int] = {}
    with served(page) as address:
        person = Person(browser)
        before_each_page(browser, VOTE_WHILE_IT_PLAYS)
        browser.get(address)
        person.sees(lambda: person.stage() == "sign-in")
        # The first token is wrong.
        person.press("nonsense", Keys.ENTER)
        person.sees(lambda: "not known" in person.text("status"))
        person.press(token, Keys.ENTER)
        person.sees(lambda: person.stage() == "start")
        person.press(Keys.ENTER)
        undone = replayed = paused = False
        while True:
            person.sees(lambda: person.stage() in ("vote", "notice"))
            if person.stage() == "notice":
                if person.text("notice-title") != "Time for a pause":
                    break
                paused = True
                person.press(Keys.SPACE)
                person.sees(lambda: person.stage() == "vote")
            shown, done = person.shown(), person.progress()
            if len(votes) == 2 and not replayed:
                browser.execute_script("window.plays = 0; get('clip').addEventListener('ended', () => { window.plays += 1; })")
                person.press("r")
                person.sees(lambda: browser.execute_script("return window.plays") == 1)
                person.sees(lambda: person.stage() == "vote")
                replayed = True
            # Enter without a choice sends no rating.
            person.press(Keys.ENTER)
            person.sees(lambda: "Choose" in person.text("status"))
            vote = 1 + done % 5
            votes[shown] = vote
            person.press(str(6 - vote), str(vote), Keys.SPACE if done % 2 else Keys.ENTER)
            person.sees(lambda before=done: person.progress() == before + 1)
            if len(votes) == 4 and not undone:
                person.sees(lambda: person.stage() in ("watch", "vote"))
                person.press(Keys.BACKSPACE)
                person.sees(lambda before=done, at=shown: person.progress() == before and person.shown() == at)
                undone = True
        assert person.text("notice-title") == "All done"
        assert browser.execute_script("return window.early") == dict.fromkeys(votes, False)
        assert undone
        assert replayed
        assert paused
        errors = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    # The browser logs the two refused requests of the sign-in. It would also log a script that failed or was blocked.
    assert all("401" in line["message"] for line in errors), errors
    assert len(errors) == 2

    ratings = page.store.ratings()
    assert {rating.key for rating in ratings} == {(example.stream_id, example.example_id) for example in page.load()[0]}
    assert len(ratings) == 11  # ten clips, and one repeat
    assert sorted(rating.number for rating in ratings) == [1] * 10 + [2]
    assert sorted(rating.points for rating in ratings) == sorted(LEVEL_POINTS[vote - 1] for vote in votes.values())
    by_presentation = {shown: LEVEL_POINTS[vote - 1] for shown, vote in votes.items()}
    assert stored_points(page.store) == by_presentation


def stored_points(store: RatingStore) -> dict[str, float]:
    """Presentation id -> points, read from the file without the store."""
    with sqlite3.connect(store.path) as db:
        return dict(db.execute("select presentation, points from ratings where not undone"))


def test_a_link_signs_in_and_arrow_keys_move_the_slider(browser: webdriver.Chrome, page: RatingPage) -> None:
    token = page.store.add_rater("grace")
    slider = RatingPage(page.store, page.clips, page.load, "slider")
    with served(slider) as address:
        person = Person(browser)
        browser.get(f"{address}/#token={token}")
        person.sees(lambda: person.stage() == "start")
        assert browser.current_url == f"{address}/"
        person.press(Keys.ENTER)
        person.sees(lambda: person.stage() == "vote")
        person.press(Keys.ENTER)
        person.sees(lambda: "Move the slider" in person.text("status"))
        person.press(*[Keys.ARROW_RIGHT] * 3, Keys.ENTER)
        person.sees(lambda: person.progress() == 1)
    assert [(rating.points, rating.scale) for rating in page.store.ratings()] == [(53.0, "slider")]
    assert browser.execute_script("return document.cookie") == ""


KEEP_SIZE = """
document.addEventListener("playing", (event) => {
  const video = event.target, box = video.getBoundingClientRect();
  const [left, top, width, height] = [box.left, box.top, box.width, box.height].map((size) => size * devicePixelRatio);
  window.shown = { left, top, width, height, outline: getComputedStyle(video).outlineStyle,
    clipWidth: video.videoWidth, clipHeight: video.videoHeight };
}, true);
"""
"""When a clip plays, keeps its place and size on the screen, in screen pixels, and its own size, in `window.shown`."""


def set_screen(browser: webdriver.Chrome, width: int, height: int, density: float = 1, mobile: bool = False) -> None:
    """width, height: the window, CSS pixels. density: screen pixels per CSS pixel."""
    screen = {"width": width, "height": height, "deviceScaleFactor": density, "mobile": mobile}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)


WITHOUT_FULL_SCREEN = "delete Element.prototype.requestFullscreen;"
"""Then a clip has the window, whose size a test can set."""


def before_each_page(browser: webdriver.Chrome, script: str) -> None:
    browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})


def one_clip(folder: Path, width: int, height: int, seconds: float = 0.4, **options: Any) -> RatingPage:
    """A page with one clip. options: of `RatingPage`."""
    example = make_example(make_clip(folder / "clip.mp4", width, height, seconds))
    page = RatingPage(
        RatingStore(folder / "data"), PlayableClips(folder / "data/rating", read_file), lambda: ([example], {}), **options
    )
    page.refresh()
    return page


SIZES = [
    (1, (800, 600, 1), 1),  # as in a larger window: the window decides nothing
    (1, (1600, 1000, 1), 1),
    (1, (500, 400, 2), 1),  # two screen pixels for each CSS pixel
    (1, (777, 555, 1.5), 1),
    (2, (1600, 1000, 1), 2),
    (2, (600, 500, 1), 1),  # the asked size does not fit: the next smaller whole number
    (1, (320, 300, 1), 1 / 2),  # not even the clip's own pixels fit
    (1, (150, 400, 1), 1 / 3),
]
"""(enlarge; width and height of the window, CSS pixels, and screen pixels for each; factor) of a clip with 448x336 pixels."""


def test_the_window_does_not_decide_how_large_a_clip_is(browser: webdriver.Chrome, tmp_path: Path) -> None:
    page = one_clip(tmp_path, 448, 336)
    person = Person(browser)
    before_each_page(browser, WITHOUT_FULL_SCREEN + KEEP_SIZE)
    for number, (enlarge, screen, factor) in enumerate(SIZES):
        token = page.store.add_rater(f"rater {number}")
        with served(replace(page, enlarge=enlarge)) as address:
            set_screen(browser, *screen)
            browser.get(f"{address}/#token={token}")
            person.sees(lambda: person.stage() == "start")
            person.press(Keys.ENTER)
            person.sees(lambda: person.stage() == "vote")
            size = browser.execute_script("return window.shown")
            person.press("4", Keys.ENTER)
            person.sees(lambda: person.stage() == "notice")
        assert (size["clipWidth"], size["clipHeight"], size["outline"]) == (448, 336, "none")
        assert size["width"] == pytest.approx(448 * factor, abs=0.6)
        assert size["height"] == pytest.approx(336 * factor, abs=0.6)
        # On whole screen pixels, in the middle.
        for edge, room in (("left", screen[0] * screen[2] - size["width"]), ("top", screen[1] * screen[2] - size["height"])):
            assert size[edge] == pytest.approx(room / 2, abs=1.1)
            assert size[edge] == pytest.approx(round(size[edge]), abs=0.05)
    assert [rating.factor for rating in page.store.ratings()] == pytest.approx([factor for _, _, factor in SIZES])


def test_a_window_that_becomes_too_small_plays_the_clip_again(browser: webdriver.Chrome, tmp_path: Path) -> None:
    page = one_clip(tmp_path, 448, 336, 8)
    token = page.store.add_rater("ada")
    with served(page) as address:
        person = Person(browser)
        before_each_page(browser, WITHOUT_FULL_SCREEN)
        set_screen(browser, 800, 600)
        browser.get(f"{address}/#token={token}")
        person.sees(lambda: person.stage() == "start")
        browser.execute_script("get('clip').defaultPlaybackRate = 16")
        person.press(Keys.ENTER)
        person.sees(lambda: person.stage() == "vote")
        assert browser.execute_script("return factor") == 1
        # It is watched once more; meanwhile the window changes. The clip is slowed down, so that it lasts two minutes.
        browser.execute_script("get('clip').playbackRate = 0.0625")
        person.press("r")
        set_screen(browser, 300, 300)
        person.sees(lambda: browser.execute_script("return factor") == 0.5)
        assert person.stage() == "watch"
        assert browser.execute_script("return get('clip').currentTime") < 4
        # Nobody has seen it to its end at this size: a vote has to wait.
        person.press("4")
        assert browser.execute_script("return [stage, value()]") == ["watch", None]
        browser.execute_script("get('clip').playbackRate = 16")
        person.sees(lambda: person.stage() == "vote")
        person.press("4", Keys.ENTER)
        person.sees(lambda: person.stage() == "notice")
    (rating,) = page.store.ratings()
    assert rating.factor == 0.5


def test_a_rater_who_was_away_for_days_votes_and_may_paste_the_link(browser: webdriver.Chrome, page: RatingPage) -> None:
    token = page.store.add_rater("ada")
    with served(page) as address:
        person = Person(browser)
        browser.get(address)
        person.sees(lambda: person.stage() == "sign-in")
        person.press(f"{address}/#token={token}", Keys.ENTER)
        person.sees(lambda: person.stage() == "start")
        person.press(Keys.ENTER)
        person.sees(lambda: person.stage() == "vote")
        browser.execute_script("asked -= 3 * 86400 * 1000")
        person.press("4", Keys.ENTER)
        person.sees(lambda: person.progress() == 1)
    assert [(rating.points, rating.seconds) for rating in page.store.ratings()] == [(70.0, 86400.0)]


def test_a_server_that_answers_but_cannot_keep_a_vote_is_not_called_away(browser: webdriver.Chrome, tmp_path: Path) -> None:
    page, person = one_clip(tmp_path, 160, 120), Person(browser)
    with served(page) as address:
        browser.get(f"{address}/#token={page.store.add_rater('ada')}")
        person.sees(lambda: person.stage() == "start")
        person.press(Keys.ENTER)
        person.sees(lambda: person.stage() == "vote")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RatingStore, "rate", Mock(side_effect=RatingsFileError("the disk is full")))
            person.press("4", Keys.ENTER)
            person.sees(lambda: person.stage() == "notice")
            assert "No connection" not in person.text("notice-title")
            assert "ratings cannot be kept now" in person.text("notice-text")
        person.press(Keys.ENTER)
        person.sees(lambda: person.text("notice-title") == "All done")


def test_a_digit_is_the_whole_vote_where_the_page_is_told_so(browser: webdriver.Chrome, page: RatingPage) -> None:
    token = page.store.add_rater("ada")
    with served(replace(page, digit_votes=True)) as address:
        person = Person(browser)
        before_each_page(browser, VOTE_WHILE_IT_PLAYS)
        browser.get(f"{address}/#token={token}")
        person.sees(lambda: person.stage() == "start")
        assert person.text("amount") == "11 clips, about 2 minutes"
        assert "the key is the whole vote" in browser.find_element("id", "start").text
        assert "confirm" not in browser.find_element("id", "start").text
        person.press(Keys.ENTER)
        for done in range(4):
            person.sees(lambda: person.stage() == "vote")
            assert person.progress() == done
            person.press(str(1 + done))
            person.sees(lambda before=done: person.progress() == before + 1)
        person.sees(lambda: person.stage() in ("watch", "vote"))
        person.press(Keys.BACKSPACE)
        person.sees(lambda: person.progress() == 3)
        person.sees(lambda: person.stage() == "vote")
        # The arrow keys choose without a vote: then Enter confirms, as ever.
        person.press("\t", Keys.ARROW_DOWN)
        person.sees(lambda: browser.execute_script("return value() !== null"))
        assert (person.stage(), person.progress()) == ("vote", 3)
        person.press(Keys.ENTER)
        person.sees(lambda: person.progress() == 4)
        early = browser.execute_script("return Object.values(window.early)")
    assert len(early) >= 4
    assert not any(early)
    assert [rating.points for rating in page.store.ratings()][:3] == list(LEVEL_POINTS[:3])


OVERFLOW = """
const clipped = [...document.querySelectorAll("main section:not([hidden]) *, footer:not([hidden]) > *")].filter((element) => {
  const box = element.getBoundingClientRect();
  return !element.classList.contains("unseen") && box.width && (box.left < 0 || box.right > innerWidth);
});
const lines = [...document.querySelectorAll("#foot > *, h1, button, .levels span, .keys dt, .keys dd")].filter((element) => {
  const style = getComputedStyle(element);
  const height = element.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
  return element.offsetParent && height > 1.5 * parseFloat(style.lineHeight);
});
return [document.documentElement.scrollWidth, ...[clipped, lines].map((list) => list.map((element) => element.outerHTML))];
"""
"""Returns the width that the page needs, what is outside of the window, and what should be one line but is more."""


@pytest.mark.parametrize("scale", ["acr", "slider"])
def test_nothing_wraps_or_scrolls_sideways_on_a_phone(browser: webdriver.Chrome, page: RatingPage, scale: Scale) -> None:
    token = page.store.add_rater("a rater with a long name, as some institutes have them, and then some more letters")
    set_screen(browser, 390, 844, 3, mobile=True)
    seen = {}
    with served(replace(page, scale=scale)) as address:
        person = Person(browser)
        browser.get(address)
        for stage, keys in (
            ("sign-in", [token, Keys.ENTER]),
            ("start", [Keys.ENTER]),
            ("vote", [Keys.ARROW_RIGHT, Keys.ENTER] if scale == "slider" else ["4", Keys.ENTER]),
        ):
            person.sees(lambda stage=stage: person.stage() == stage)
            seen[stage] = browser.execute_script(OVERFLOW)
            if stage == "vote":
                assert person.text("count") == "0 of 11"
            person.press(*keys)
        person.sees(lambda: person.progress() == 1)
    assert seen == {stage: [390, [], []] for stage in ("sign-in", "start", "vote")}


@contextmanager
def behind_proxy(target: str) -> Iterator[str]:
    """A proxy that serves what is at `target` under /rate/, and asks it for its own host, as nginx does; gives its address."""

    async def forward(request: web.Request) -> web.Response:
        headers = {
            name: request.headers[name] for name in ("Content-Type", "Cookie", "Origin", "Range") if name in request.headers
        }
        async with ClientSession(cookie_jar=DummyCookieJar()) as session:
            answer = await session.request(
                request.method, f"{target}/{request.match_info['path']}", data=await request.read(), headers=headers
            )
            kept = [
                (name, value) for name, value in answer.headers.items() if name not in ("Content-Length", "Transfer-Encoding")
            ]
            return web.Response(status=answer.status, body=await answer.read(), headers=CIMultiDict(kept))

    app = web.Application()
    app.router.add_route("*", "/rate/{path:.*}", forward)
    with in_thread(web.AppRunner(app)) as address:
        yield f"{address}/rate"


def test_a_link_works_behind_a_proxy_with_a_path(browser: webdriver.Chrome, tmp_path: Path) -> None:
    page = one_clip(tmp_path, 160, 120)
    token = page.store.add_rater("ada")
    person = Person(browser)
    # The proxy's address is known only when it runs, and it is a part of the page's settings: so the page asks for it late.
    with served(page) as inner, behind_proxy(inner) as outer:
        object.__setattr__(page, "url", outer)
        browser.get(f"{outer}/#token={token}")
        person.sees(lambda: person.stage() == "start")
        assert browser.current_url == f"{outer}/"
        assert person.text("amount") == "1 clip, about 1 minute"
        person.press(Keys.ENTER)
        person.sees(lambda: person.stage() == "vote")
        person.press("4", Keys.ENTER)
        person.sees(lambda: person.text("notice-title") == "All done")
        assert not [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    assert [rating.points for rating in page.store.ratings()] == [70.0]
