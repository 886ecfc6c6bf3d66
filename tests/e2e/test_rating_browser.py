"""The rating page in a real Chromium: a rater rates ten clips with the keyboard only."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from streams.rating.mos import LEVEL_POINTS
from streams.rating.playable import PlayableClips
from streams.rating.server import RatingPage, make_app
from streams.rating.store import RatingStore
from tests.support.browser import chromium_or_skip
from tests.support.media import make_clip
from tests.support.rating import make_example, read_file

VOTE_WHILE_IT_PLAYS = """
if (stage !== "watch") return [];
for (const key of ["5", "Enter"]) document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
return [stage !== "watch" || value() !== null];
"""
"""Returns whether the page accepted a vote while a clip was playing; an empty list if the clip has ended already."""


@contextmanager
def served(page: RatingPage) -> Iterator[str]:
    """Runs the page's server in a thread; gives its address."""
    loop, started = asyncio.new_event_loop(), threading.Event()
    address = ""
    end = asyncio.Event()

    async def serve() -> None:
        nonlocal address
        runner = web.AppRunner(make_app(page))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        started.set()
        await end.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert started.wait(30)
        yield address
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
        loop.close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    with chromium_or_skip(tmp_path / "profile") as chrome:
        yield chrome


class Person:
    """A rater with a keyboard and eyes, without a mouse."""

    def __init__(self, browser: webdriver.Chrome) -> None:
        self.browser = browser

    def press(self, *keys: str) -> None:
        ActionChains(self.browser).send_keys(*keys).perform()

    def sees(self, condition: Callable[[], bool]) -> None:
        try:
            WebDriverWait(self.browser, 20, poll_frequency=0.02).until(lambda _: condition())
        except TimeoutException:
            texts = f"{self.text('status')} {self.text('notice-title')}"
            pytest.fail(f"not seen; stage {self.stage()}, {self.progress()} rated, {texts}, {self.browser.get_log('browser')}")

    def stage(self) -> str:
        return self.browser.execute_script("return document.body.dataset.stage") or ""

    def text(self, name: str) -> str:
        return self.browser.execute_script("return document.getElementById(arguments[0]).textContent", name)

    def shown(self) -> str:
        return self.browser.execute_script("return next && next.presentation") or ""

    def progress(self) -> int:
        return self.browser.execute_script("return next ? next.done : -1")


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
        browser.get(address)
        person.sees(lambda: person.stage() == "sign-in")
        # The first token is wrong.
        person.press("nonsense", Keys.ENTER)
        person.sees(lambda: "not known" in person.text("status"))
        person.press(token, Keys.ENTER)
        person.sees(lambda: person.stage() == "start")
        person.press(Keys.ENTER)
        undone = replayed = paused = False
        early: list[object] = []
        while True:
            early += browser.execute_script(VOTE_WHILE_IT_PLAYS)
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
        assert early
        assert not any(early)
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
