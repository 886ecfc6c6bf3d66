"""The wall's page in a real Chromium, on a seeded fleet: rows, keys, acknowledgements, addresses, phones, hostile names."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from streams.web.access.tokens import digest_of
from tests.support.browser import accessibility_problems, chromium_or_skip, set_size, set_theme
from tests.support.wall_page import HOSTILE_IDS, Server, serving

ROWS = """
return [...document.querySelectorAll("#rows .row")].filter((row) => !row.hidden)
  .sort((one, other) => one.getAttribute("aria-rowindex") - other.getAttribute("aria-rowindex"))
  .map((row) => ({
    place: Number(row.getAttribute("aria-rowindex")), id: row.querySelector(".id").title,
    score: row.querySelector(".chip b").textContent,
    alert: row.dataset.alert || "", state: row.dataset.state, active: row.classList.contains("active"),
    selected: row.getAttribute("aria-selected") === "true",
  }));
"""
"""The rows that are in the document, from the top."""

TELL_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) => console.error("violated", event.violatedDirective, event.blockedURI));
"""

WIDEST = """
const boxes = [document.documentElement, ...document.querySelectorAll(".scroll, #list")];
return Math.max(...boxes.map((box) => box.scrollWidth));
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium_or_skip(tmp_path_factory.mktemp("browser")) as chrome:
        chrome.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": TELL_VIOLATIONS})
        yield chrome


@pytest.fixture
def browser(chrome: webdriver.Chrome) -> webdriver.Chrome:
    """The browser as a fresh one: an empty page, a desk's size, a dark system, no messages."""
    chrome.get("about:blank")
    set_size(chrome, 1280, 800)
    set_theme(chrome, "dark")
    chrome.get_log("browser")
    return chrome


class Operator:
    """Somebody before the wall, with a keyboard and eyes."""

    def __init__(self, browser: webdriver.Chrome, server: Server) -> None:
        self.browser, self.server = browser, server

    def opens(self, path: str = "/") -> None:
        self.browser.get(self.server.address + path)

    def press(self, *keys: str) -> None:
        ActionChains(self.browser).send_keys(*keys).perform()

    def sees(self, condition: Callable[[], Any], within: float = 20) -> None:
        try:
            WebDriverWait(self.browser, within, poll_frequency=0.05).until(lambda _: condition())
        except TimeoutException:
            pytest.fail(f"not seen at {self.path()}: {self.text()[:1500]}\n{self.browser.get_log('browser')}")

    def rows(self) -> list[dict[str, Any]]:
        return self.browser.execute_script(ROWS)

    def path(self) -> str:
        return self.browser.execute_script("return location.pathname + location.search")

    def text(self) -> str:
        return self.browser.execute_script("return document.body.innerText")

    def view(self) -> str:
        return self.browser.execute_script("return document.body.dataset.view") or ""

    def dialog(self) -> str:
        return self.browser.execute_script("return document.querySelector('dialog[open]')?.innerText ?? ''")

    def sees_rows(self) -> None:
        self.sees(lambda: len(self.rows()) > 5)

    def active(self) -> str:
        return next((row["id"] for row in self.rows() if row["active"]), "")

    def has_no_complaint(self) -> None:
        """Nothing violated the content security policy, and no script failed."""
        complaints = [
            entry for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE" and "404" not in entry["message"]
        ]
        assert complaints == []

    def asks(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.server.address}/api/v1{path}", data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read() or b"null")


@pytest.fixture
def operator(browser: webdriver.Chrome, server: Server) -> Operator:
    return Operator(browser, server)


def test_the_worst_stream_is_first_and_healthy_ones_are_folded_away(operator: Operator) -> None:
    operator.opens()
    operator.sees_rows()
    rows = operator.rows()
    assert rows[0]["state"] == "black"
    assert rows[0]["alert"] == "firing"
    assert all(row["alert"] or row["state"] != "ok" or int(row["score"]) < 50 for row in rows)
    assert "are fine" in operator.text()
    # All streams: within those without an alert and with a score, the order is that of the scores.
    operator.opens("/?all=1")
    operator.sees_rows()
    operator.press("j", Keys.END)
    operator.sees(lambda: operator.rows()[-1]["place"] > 290)
    scores = [int(row["score"]) for row in operator.rows() if row["score"] != "–" and row["state"] == "ok"]
    assert len(scores) > 10
    assert scores == sorted(scores)
    assert operator.browser.execute_script("return document.querySelectorAll('.row').length") < 60
    operator.has_no_complaint()


def test_the_order_stands_still_while_somebody_reads(operator: Operator) -> None:
    operator.opens()
    operator.sees_rows()
    target = next(row for row in operator.rows() if row["alert"] == "firing" and row["state"] == "frozen")
    operator.press("j")
    operator.sees(operator.active)
    before = [row["id"] for row in operator.rows()]
    [entry] = operator.asks("GET", f"/alerts?state=firing&stream_id={quote(target['id'], safe='')}&limit=1")["items"]
    operator.asks("PUT", f"/alerts/{entry['alert']['alert_id']}/ack", {"note": "seen"})
    try:
        # The acknowledged stream belongs further down, but its row stays, and a chip says that rows would move.
        operator.sees(lambda: next(row for row in operator.rows() if row["id"] == target["id"])["alert"] == "acked")
        assert [row["id"] for row in operator.rows()][: len(before)] == before
        operator.sees(lambda: "moved (.)" in operator.text())
        operator.press(".")
        operator.sees(lambda: [row["id"] for row in operator.rows()][: len(before)] != before)
        assert "moved (.)" not in operator.text()
    finally:
        operator.asks("DELETE", f"/alerts/{entry['alert']['alert_id']}/ack")


def test_every_view_is_reached_with_the_keyboard_alone(operator: Operator) -> None:
    operator.opens()
    operator.sees_rows()
    operator.press("j", "j", "j", "k")
    operator.sees(lambda: operator.rows()[1]["active"])
    active = operator.active()
    operator.press(Keys.ENTER)
    operator.sees(lambda: operator.view() == "stream" and "Segments" in operator.text())
    operator.press(Keys.ESCAPE)
    operator.sees(lambda: operator.view() == "fleet" and operator.active() == active)
    operator.press("o")
    operator.sees(lambda: operator.view() == "alert" and "What and why" in operator.text())
    operator.press("g", "a")
    operator.sees(lambda: operator.view() == "alerts" and "since" in operator.text())
    operator.press("j", Keys.ENTER)
    operator.sees(lambda: operator.view() == "alert" and "Timeline" in operator.text())
    operator.press("g", "c")
    operator.sees(lambda: operator.view() == "clips" and "kept as" in operator.text())
    operator.press("?")
    operator.sees(lambda: "acknowledge" in operator.dialog())
    operator.press(Keys.ESCAPE)
    operator.sees(lambda: not operator.dialog())
    operator.press("g", "f")
    operator.sees(lambda: operator.view() == "fleet")
    operator.press("/")
    operator.press("studio")
    operator.sees(lambda: operator.path().endswith("q=studio") and all("studio" in row["id"] for row in operator.rows()))
    operator.has_no_complaint()


def test_several_rows_are_acknowledged_in_one_form_and_taken_back(operator: Operator) -> None:
    operator.opens("/?q=shop")
    operator.sees(lambda: len([row for row in operator.rows() if row["alert"] == "firing"]) >= 2)
    operator.press("j", "x", "j", "X")
    operator.sees(lambda: sum(row["selected"] for row in operator.rows()) == 2)
    chosen = [row["id"] for row in operator.rows() if row["selected"]]
    operator.press("a")
    operator.sees(lambda: "Acknowledge 2 alerts" in operator.dialog())
    operator.press("<b>on it</b>", Keys.TAB, Keys.TAB, Keys.ENTER)
    operator.sees(lambda: not operator.dialog())
    operator.sees(lambda: all(row["alert"] == "acked" for row in operator.rows() if row["id"] in chosen))
    acked = operator.asks("GET", "/alerts?state=acknowledged&limit=1000")["items"]
    notes = {entry["alert"]["stream_id"]: entry["ack"]["note"] for entry in acked}
    assert all(notes[stream] == "<b>on it</b>" for stream in chosen)
    # In the list of alerts the note is text, and an acknowledgement can be taken back.
    operator.opens("/alerts")
    operator.sees(lambda: "<b>on it</b>" in operator.text())
    mine = next(entry["alert"] for entry in acked if entry["alert"]["stream_id"] == chosen[0])
    operator.opens(f"/alerts/{mine['alert_id']}")
    operator.sees(lambda: "acknowledged by local" in operator.text())
    operator.press("a")
    operator.sees(lambda: "Take back" in operator.dialog())
    operator.browser.find_element(By.XPATH, "//dialog//button[contains(., 'Take back')]").click()
    operator.sees(lambda: "acknowledged by" not in operator.text())
    operator.has_no_complaint()


def test_a_segment_is_rated_before_its_score_is_seen(operator: Operator) -> None:
    operator.opens("/streams/studio-20")
    operator.sees(lambda: "Segments" in operator.text() and operator.browser.find_elements(By.CSS_SELECTOR, "tr[data-segment]"))
    operator.press("j", "r")
    operator.sees(lambda: "How good is the picture quality?" in operator.dialog())
    assert not any(char.isdigit() for char in operator.dialog() if char not in "12345")
    operator.press("4")
    operator.sees(lambda: not operator.dialog() and "Rated good. The model said" in operator.text())
    operator.has_no_complaint()


def test_a_stream_shows_its_alert_under_its_course(operator: Operator) -> None:
    operator.opens("/streams/studio-20")
    place = """
    const bar = document.querySelector(".alert-bar[data-open]")?.getBoundingClientRect();
    const plot = document.querySelector(".u-over")?.getBoundingClientRect();
    return bar && plot ? [bar.left > plot.left, Math.abs(bar.right - plot.right)] : null;
    """
    operator.sees(lambda: operator.browser.execute_script(place))
    inside, off = operator.browser.execute_script(place)
    assert inside
    assert off < 3
    # A click on the course puts its time into the address.
    ActionChains(operator.browser).click(operator.browser.find_element(By.CSS_SELECTOR, ".u-over")).perform()
    operator.sees(lambda: "at=20" in operator.path())


def test_clips_play(operator: Operator) -> None:
    operator.opens("/clips")
    operator.sees(lambda: "kept as" in operator.text())
    operator.press("j", Keys.ENTER)
    playing = "const video = document.querySelector('.cards video'); return video && video.currentTime > 0 && !video.paused"
    operator.sees(lambda: operator.browser.execute_script(playing))
    operator.has_no_complaint()


def test_the_address_restores_what_one_saw(operator: Operator) -> None:
    operator.opens("/?all=1&label=tier%3Apremium&q=studio")
    operator.sees_rows()
    assert "tier:premium ×" in operator.text()
    premium = {
        item["stream_id"] for item in operator.asks("GET", "/streams?label=tier:premium&limit=1000&fields=stream_id")["items"]
    }
    assert {row["id"] for row in operator.rows()} <= {name for name in premium if "studio" in name}
    operator.press("j", Keys.ENTER)
    operator.sees(lambda: operator.view() == "stream")
    assert "label=tier%3Apremium" in operator.path()
    operator.browser.back()
    operator.sees(lambda: operator.view() == "fleet" and operator.path() == "/?all=1&label=tier%3Apremium&q=studio")
    operator.opens("/streams/studio-20?hours=6&rendition=720p")
    operator.sees(lambda: "720p" in operator.text())
    chosen = operator.browser.execute_script("return [...document.querySelectorAll('.title select')].map((one) => one.value)")
    assert chosen == ["720p", "6"]


@pytest.mark.parametrize("path", ["/", "/?all=1", "/alerts", "/clips", "/streams/studio-20", "ALERT"])
def test_a_phone_never_scrolls_sideways(operator: Operator, path: str) -> None:
    set_size(operator.browser, 390, 844, mobile=True)
    operator.opens(real_path(operator, path))
    operator.sees(lambda: operator.browser.execute_script("return document.querySelector('main').innerText.length") > 50)
    assert operator.browser.execute_script(WIDEST) <= 390


@pytest.mark.parametrize("path", ["/", "/alerts", "/streams/studio-20"])
def test_at_twice_the_size_nothing_scrolls_sideways(operator: Operator, path: str) -> None:
    set_size(operator.browser, 640, 400)  # 1280 x 800 at 200 %
    operator.opens(path)
    operator.sees(lambda: operator.browser.execute_script("return document.querySelector('main').innerText.length") > 50)
    assert operator.browser.execute_script(WIDEST) <= 640
    # The list still has room for rows under the head.
    assert operator.browser.execute_script("return document.querySelector('#list, .scroll').clientHeight") > 100


def test_a_phone_acknowledges_with_the_bar_at_the_foot(operator: Operator) -> None:
    set_size(operator.browser, 390, 844, mobile=True)
    operator.opens()
    operator.sees_rows()
    operator.browser.execute_script("document.querySelector('#rows .row input').click()")
    operator.sees(lambda: "1 selected" in operator.text())
    operator.browser.find_element(By.XPATH, "//div[@id='bar']//button[text()='ack']").click()
    operator.sees(lambda: "cknowledge" in operator.dialog())


def real_path(operator: Operator, path: str) -> str:
    """The path; for ALERT that of a firing alert."""
    if path != "ALERT":
        return path
    return "/alerts/" + operator.asks("GET", "/alerts?state=firing&kind=quality-drop&limit=1")["items"][0]["alert"]["alert_id"]


@pytest.mark.parametrize("hostile_id", HOSTILE_IDS, ids=range(len(HOSTILE_IDS)))
def test_a_hostile_id_is_text_in_its_row_and_its_view(operator: Operator, hostile_id: str) -> None:
    operator.opens()
    operator.sees_rows()
    shown = operator.browser.execute_async_script(
        "const done = arguments[1]; import('/dom.js').then(({ printable }) => done(printable(arguments[0])))", hostile_id
    )
    assert not any(char in shown for char in "\u202e\u202c\n")
    operator.sees(lambda: shown in [row["id"] for row in operator.rows()])
    place = [row["id"] for row in operator.rows()].index(shown)
    operator.press(*["j"] * (place + 1), Keys.ENTER)
    operator.sees(lambda: operator.view() == "stream" and "Segments" in operator.text())
    title = operator.browser.execute_script("return document.querySelector('main .title .id').title")
    assert title == shown
    operator.sees(lambda: "<script>window.hurt = 1</script>" in operator.text())
    assert operator.browser.execute_script("return window.hurt") is None
    assert operator.browser.execute_script("return document.querySelectorAll('main img[src=\"x\"]').length") == 0
    operator.has_no_complaint()


def test_a_server_that_dies_is_told_within_three_seconds_and_comes_back(browser: webdriver.Chrome) -> None:
    with serving(60) as server:
        operator = Operator(browser, server)
        operator.opens()
        operator.sees_rows()
        operator.sees(lambda: "live" in operator.text())
        server.kill()
        killed = time.monotonic()
        operator.sees(
            lambda: "What you see is old" in operator.text() and " old" in operator.browser.find_element(By.ID, "age").text, 10
        )
        assert time.monotonic() - killed < 4.5  # 3 s, and what the polling and a busy machine take
        assert operator.browser.title.startswith("(old)")
        assert operator.rows(), "what was there stays in sight"
        server.start()
        operator.sees(
            lambda: "What you see is old" not in operator.text() and "live" in operator.browser.find_element(By.ID, "age").text,
            60,
        )
        assert not operator.browser.title.startswith("(old)")


def test_a_person_signs_in_and_sees_what_the_token_allows(browser: webdriver.Chrome, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.json"
    names = {"reader": ["read"], "keeper": ["read", "ack"]}
    entries = [
        {"name": name, "sha256": digest_of(name * 3), "scopes": scopes, "labels": {"tier": "premium"}}
        for name, scopes in names.items()
    ]
    tokens.write_text(json.dumps({"tokens": entries}))
    with serving(60, tokens) as server:
        operator = Operator(browser, server)
        operator.opens()
        operator.sees(lambda: "Your token" in operator.dialog())
        operator.press("nonsense", Keys.ENTER)
        operator.sees(lambda: "not known" in operator.dialog())
        operator.press("readerreaderreader", Keys.ENTER)
        operator.sees(lambda: not operator.dialog() and operator.rows())
        operator.press("j", "a")
        operator.sees(lambda: "lacks the scope ack" in operator.text())
        assert operator.browser.execute_script("return document.querySelectorAll('.row img:not([hidden])').length") == 0
        # A link with a token signs in, and the token leaves the address bar. The token's labels limit what is seen.
        operator.browser.delete_all_cookies()
        operator.opens("/#token=keeperkeeperkeeper")
        operator.sees(lambda: operator.rows() and not operator.dialog() and "token" not in operator.browser.current_url)
        operator.press("j", "a")
        operator.sees(lambda: "cknowledge" in operator.dialog())
        operator.press(Keys.ESCAPE)
        premium = operator.browser.execute_async_script(
            "fetch('/api/v1/summary').then((answer) => answer.json()).then((summary) => arguments[0](summary.streams))"
        )
        operator.sees(lambda: f"{premium} streams" in operator.text())
        assert premium < 60
    browser.delete_all_cookies()


def test_a_television_has_no_controls_and_turns_its_pages(operator: Operator) -> None:
    operator.opens("/?tv=1")
    operator.sees_rows()
    shown = operator.browser.execute_script(
        "return [...document.querySelectorAll('button, select, input')].filter((one) => one.checkVisibility()).length"
    )
    assert shown <= 1  # the fold's button is at the end of the list
    assert operator.browser.execute_script("return getComputedStyle(document.body).fontSize") == "24px"
    top = operator.browser.execute_script("return document.getElementById('list').scrollTop")
    operator.sees(lambda: operator.browser.execute_script("return document.getElementById('list').scrollTop") > top, 30)


def test_errors_and_emptiness_are_said(operator: Operator) -> None:
    operator.opens("/streams/nobody")
    operator.sees(lambda: "Not found" in operator.text() and "no such stream" in operator.text())
    operator.opens("/alerts/nothing")
    operator.sees(lambda: "Not found" in operator.text() and "no such alert" in operator.text())
    operator.opens("/?q=nosuchstream")
    operator.sees(lambda: "No stream fits the filter" in operator.text())


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("path", ["/", "/alerts", "/clips", "/streams/studio-20", "ALERT", "DIALOG", "HELP"])
def test_axe_finds_nothing(operator: Operator, path: str, theme: str) -> None:
    set_theme(operator.browser, theme, ("prefers-reduced-motion", "reduce"))
    operator.opens("/" if path in ("DIALOG", "HELP") else real_path(operator, path))
    operator.sees(lambda: operator.browser.execute_script("return document.querySelector('main').innerText.length") > 100)
    if path in ("DIALOG", "HELP"):
        operator.sees_rows()
        operator.press("j", "a" if path == "DIALOG" else "?")
        operator.sees(operator.dialog)
    assert accessibility_problems(operator.browser) == []


def test_forced_colours_keep_every_number(operator: Operator) -> None:
    set_theme(operator.browser, "dark", ("forced-colors", "active"))
    operator.opens()
    operator.sees_rows()
    borders = operator.browser.execute_script(
        "return [...document.querySelectorAll('.row:not([hidden]) .chip')].map((chip) => getComputedStyle(chip).borderTopStyle)"
    )
    assert set(borders) <= {"solid", "dotted"}
    assert any(row["score"] != "–" for row in operator.rows())
