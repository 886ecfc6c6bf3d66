"""The views of the wall in a real Chromium: by keyboard, by address, on phones, held against axe-core."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.support.browser import accessibility_problems, set_size, set_theme
from tests.support.operator import Operator

WIDEST = """
const boxes = [document.documentElement, ...document.querySelectorAll(".scroll, #list")];
return Math.max(...boxes.map((box) => box.scrollWidth));
"""


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
    operator.press_at_once("g", "a")
    operator.sees(lambda: operator.view() == "alerts" and "since" in operator.text())
    operator.press("j", Keys.ENTER)
    operator.sees(lambda: operator.view() == "alert" and "Timeline" in operator.text())
    operator.press_at_once("g", "c")
    operator.sees(lambda: operator.view() == "clips" and "kept as" in operator.text())
    operator.press("?")
    operator.sees(lambda: "acknowledge" in operator.dialog())
    operator.press(Keys.ESCAPE)
    operator.sees(lambda: not operator.dialog())
    operator.press_at_once("g", "f")
    operator.sees(lambda: operator.view() == "fleet")
    operator.press("/")
    operator.press("studio")
    operator.sees(lambda: operator.path().endswith("q=studio") and all("studio" in row["id"] for row in operator.rows()))
    operator.has_no_complaint()


def test_a_segment_is_rated_before_its_score_is_seen(operator: Operator) -> None:
    operator.opens("/streams/studio-20")
    operator.sees(lambda: "Segments" in operator.text() and operator.browser.find_elements(By.CSS_SELECTOR, "tr[data-segment]"))
    operator.press("j", "r")
    operator.sees(lambda: "How good is the picture quality?" in operator.dialog())
    assert not any(char.isdigit() for char in operator.dialog() if char not in "12345")
    operator.press("4")
    operator.sees(lambda: not operator.dialog() and operator.was_told("Rated good. The model said"))
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
    operator.opens("/streams/studio-20?range=6h&rendition=720p")
    # The segments name the rendition too, and may be there before the list of renditions.
    operator.sees(lambda: operator.browser.execute_script("return document.querySelector('.title select')?.value") == "720p")
    assert "720p" in operator.text()
    assert chosen_range(operator) == "6h"


def chosen_range(operator: Operator) -> str:
    return operator.browser.execute_script("return document.querySelector('.switch [aria-pressed=true]').dataset.range")


def test_the_course_has_ranges_from_ten_minutes_to_a_day(operator: Operator) -> None:
    operator.opens("/streams/studio-20")
    operator.sees(lambda: operator.browser.find_elements(By.CSS_SELECTOR, ".u-over"))
    asked = """
    const addresses = performance.getEntriesByType("resource").map((one) => new URL(one.name));
    return addresses.filter((one) => one.pathname.endsWith("/scores")).map(({ searchParams }) =>
      (Date.parse(searchParams.get("to")) - Date.parse(searchParams.get("from"))) / 1000);
    """
    operator.press("t")
    operator.sees(lambda: operator.path().endswith("range=6h"))
    operator.press("t")
    operator.sees(lambda: operator.path().endswith("range=24h") and chosen_range(operator) == "24h")
    operator.browser.find_element(By.CSS_SELECTOR, "[data-range='10m']").click()
    operator.sees(lambda: operator.path().endswith("range=10m"))
    operator.sees(lambda: set(operator.browser.execute_script(asked)) == {3600, 21600, 86400, 600})
    operator.has_no_complaint()


def test_a_chosen_time_shows_the_segments_around_it(operator: Operator) -> None:
    operator.opens("/streams/studio-20")
    rows = "return [...document.querySelectorAll('tr[data-segment]')].map((row) => row.dataset.segment)"
    # The table is full at once: what came before the page was opened is read from the history.
    # The live scores of the first 20 s would be ten.
    operator.sees(lambda: len(operator.browser.execute_script(rows)) >= 20, 20)
    score = operator.asks("GET", "/streams/studio-20/segments?limit=20")["items"][-1]
    operator.opens(f"/streams/studio-20?at={quote(score['start'])}")
    operator.sees(lambda: "Segments around" in operator.text() and score["segment_id"] in operator.browser.execute_script(rows))
    operator.browser.find_element(By.XPATH, "//button[text()='show the latest']").click()
    operator.sees(lambda: "at=" not in operator.path() and "Segments around" not in operator.text())
    operator.sees(lambda: operator.browser.execute_script(rows))
    operator.has_no_complaint()


def test_the_good_and_the_bad_clip_play_in_step(operator: Operator) -> None:
    clips = operator.asks("GET", "/clips?limit=1000")["items"]
    alerts = [entry["alert"] for entry in operator.asks("GET", "/alerts?kind=quality-drop&limit=1000")["items"]]
    with_both = (
        alert["alert_id"]
        for alert in alerts
        if any(has(clip, alert) and clip["start"] >= alert["started_at"] for clip in clips)
        and any(has(clip, alert) and clip["start"] < alert["started_at"] and clip["score"] >= 40 for clip in clips)
    )
    operator.opens(f"/alerts/{next(with_both)}")
    ready = "return [...document.querySelectorAll('.step video')].filter((one) => one.readyState > 2).length === 2"
    operator.sees(lambda: operator.browser.execute_script(ready))
    state = """
    const [good, bad] = document.querySelectorAll(".step video");
    return [good.currentTime, bad.currentTime, good.paused, bad.paused];
    """
    assert operator.browser.execute_script(state) == [0, 0, True, True]
    operator.press("p")

    def play_in_step() -> bool:
        good, bad, *paused = operator.browser.execute_script(state)
        return good > 0.5 and paused == [False, False] and abs(good - bad) < 0.3

    # They come into step, though a busy machine may start or stop one of them late: 0.1 s where nothing else uses it.
    operator.sees(play_in_step)
    operator.press("p")
    operator.sees(lambda: operator.browser.execute_script(state)[2:] == [True, True])
    # One slider moves both, also with its own keys; letters keep their meaning meanwhile.
    operator.browser.execute_script(
        "const slider = document.querySelector('.step input'); slider.value = 1; slider.dispatchEvent(new Event('input'))"
    )
    operator.sees(lambda: [round(time, 1) for time in operator.browser.execute_script(state)[:2]] == [1.0, 1.0])
    operator.browser.find_element(By.CSS_SELECTOR, ".step input").send_keys(Keys.ARROW_RIGHT * 5)
    operator.sees(lambda: [round(time, 1) for time in operator.browser.execute_script(state)[:2]] == [1.2, 1.2])
    operator.press("p")
    operator.sees(lambda: operator.browser.execute_script(state)[2:] == [False, False])
    operator.press("p")
    operator.sees(lambda: operator.browser.execute_script(state)[2:] == [True, True])
    operator.browser.find_element(By.XPATH, "//button[text()='1:1']").click()
    sizes = (
        "return [...document.querySelectorAll('.step video')].map((one) => [one.offsetWidth, one.videoWidth / devicePixelRatio])"
    )
    assert all(shown == own for shown, own in operator.browser.execute_script(sizes))
    box = operator.browser.find_element(By.CSS_SELECTOR, ".step-box")
    box.send_keys(Keys.ARROW_DOWN)
    moved = operator.browser.execute_script(
        "return [...document.querySelectorAll('.step video')].map((one) => one.style.transform)"
    )
    assert moved[0] == moved[1] != "translate(calc(-50% + 0px), calc(-50% + 0px))"
    operator.has_no_complaint()


def has(clip: dict[str, Any], alert: dict[str, Any]) -> bool:
    same = clip["stream_id"] == alert["stream_id"]
    return same and alert.get("rendition") in (None, clip["rendition"])


def test_a_view_is_saved_by_a_name_and_opened_again(operator: Operator) -> None:
    operator.opens("/?label=tier%3Apremium&sort=id&all=1&view=mosaic")
    operator.sees(lambda: operator.browser.find_elements(By.CSS_SELECTOR, "#mosaic .cell"))
    operator.press("w")
    operator.sees(lambda: "No view is saved yet" in operator.dialog())
    operator.press("night <b>shift</b>", Keys.ENTER)
    operator.sees(lambda: "night <b>shift</b>" in operator.dialog())
    operator.press(Keys.ESCAPE)
    operator.opens("/alerts")
    operator.sees(lambda: operator.view() == "alerts")
    operator.press("w")
    operator.sees(lambda: "night <b>shift</b>" in operator.dialog())
    operator.press(Keys.ENTER)
    operator.sees(lambda: operator.path() == "/?label=tier%3Apremium&sort=id&all=1&view=mosaic" and not operator.dialog())
    names = "return [...document.querySelectorAll('#mosaic .id')].map((one) => one.title)"
    operator.sees(lambda: len(operator.browser.execute_script(names)) == 48)
    shown = operator.browser.execute_script(names)
    assert shown == sorted(shown)
    operator.press("w")
    operator.sees(operator.dialog)
    operator.browser.find_element(By.XPATH, "//dialog//button[text()='remove']").click()
    operator.sees(lambda: "No view is saved yet" in operator.dialog())
    operator.has_no_complaint()


@pytest.mark.parametrize("path", ["/", "/?all=1&view=mosaic", "/alerts", "/clips", "/streams/studio-20", "ALERT"])
def test_a_phone_never_scrolls_sideways(operator: Operator, path: str) -> None:
    set_size(operator.browser, 390, 844, mobile=True)
    operator.opens(operator.real_path(path))
    operator.sees(lambda: operator.browser.execute_script("return document.querySelector('main').innerText.length") > 50)
    if path == "/alerts":  # the widest of its times have a day in front of both
        operator.sees(lambda: re.search(r"\d{4}-\d\d-\d\d \S+Z to \d{4}-", operator.text()))
    assert operator.browser.execute_script(WIDEST) <= 390


@pytest.mark.parametrize("path", ["/", "/alerts", "/streams/studio-20"])
def test_at_twice_the_size_nothing_scrolls_sideways(operator: Operator, path: str) -> None:
    set_size(operator.browser, 640, 400)  # 1280 x 800 at 200 %
    operator.opens(path)
    operator.sees(lambda: operator.browser.execute_script("return document.querySelector('main').innerText.length") > 50)
    assert operator.browser.execute_script(WIDEST) <= 640
    # The list still has room for rows under the head.
    assert operator.browser.execute_script("return document.querySelector('#list, .scroll').clientHeight") > 100


def test_errors_and_emptiness_are_said(operator: Operator) -> None:
    operator.opens("/streams/nobody")
    operator.sees(lambda: "Not found" in operator.text() and "no such stream" in operator.text())
    operator.opens("/alerts/nothing")
    operator.sees(lambda: "Not found" in operator.text() and "no such alert" in operator.text())
    operator.opens("/?q=nosuchstream")
    operator.sees(lambda: "No stream fits the filter" in operator.text())


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize(
    "path", ["/", "/?view=mosaic", "/alerts", "/clips", "/streams/studio-20", "ALERT", "DIALOG", "HELP", "VIEWS"]
)
def test_axe_finds_nothing(operator: Operator, path: str, theme: str) -> None:
    set_theme(operator.browser, theme, ("prefers-reduced-motion", "reduce"))
    keys = {"DIALOG": "a", "HELP": "?", "VIEWS": "w"}
    operator.opens("/" if path in keys else operator.real_path(path))
    operator.sees(lambda: operator.browser.execute_script("return document.querySelector('main').innerText.length") > 100)
    if path in keys:
        operator.sees_rows()
        operator.press("j", keys[path])
        operator.sees(operator.dialog)
    assert accessibility_problems(operator.browser) == []
