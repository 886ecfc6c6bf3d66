"""The filter at the head holds in every view that lists streams, alerts or clips."""

from __future__ import annotations

import csv

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.support.operator import Operator

ALERTS = "return [...document.querySelectorAll('table[aria-label=\"Open alerts\"] tr[data-id] .id')].map((id) => id.title)"
CLIPS = "return [...document.querySelectorAll('.cards > li')].map((card) => card.dataset.stream)"
OVER = "return [...document.querySelectorAll('h3 + table .id')].map((id) => id.title)"
SHORT_PAGES = """
const real = window.fetch;
window.fetch = (address, options) => real(address.replace(/limit=\\d+/, "limit=" + (address.includes("csv") ? 7 : 1)), options);
const make = URL.createObjectURL;
window.files = [];
URL.createObjectURL = (blob) => { blob.text().then((text) => window.files.push(text)); return make.call(URL, blob); };
"""
"""Pages of lists have fewer items than the page asks for; `files` has what it gives to be saved."""
SELECTED = "return [...document.querySelectorAll('tr[data-id] input:checked')]"
ACTIVE = "return [...document.querySelectorAll('.cards > li')].indexOf(document.activeElement.closest('.cards > li'))"


def test_the_filter_s_text_holds_for_alerts(operator: Operator) -> None:
    stream = operator.asks("GET", "/alerts?state=firing&kind=quality-drop&limit=1")["items"][0]["alert"]["stream_id"]
    operator.opens("/alerts")
    operator.sees(lambda: len(operator.browser.execute_script(ALERTS)) > 5)
    operator.press("/", *stream)
    operator.sees(lambda: {stream} == set(operator.browser.execute_script(ALERTS)))
    operator.press("~~")
    operator.sees(lambda: "No open alert fits the filter." in operator.text())
    assert "No alert that is over fits the filter." in operator.text()
    operator.press(*[Keys.BACKSPACE] * (len(stream) + 2))
    operator.sees(lambda: len(operator.browser.execute_script(ALERTS)) > 5)
    operator.has_no_complaint()


def test_the_filter_finds_what_is_wrong(operator: Operator) -> None:
    firing = operator.asks("GET", "/alerts?state=firing&kind=no-segments&limit=1000")["items"]
    silent = {entry["alert"]["stream_id"] for entry in firing}
    operator.opens()
    operator.sees_rows()
    operator.press("/", *"No segm")
    operator.sees(lambda: {row["id"] for row in operator.rows()} == silent)
    operator.opens("/alerts?q=frozen")
    kinds = "return [...document.querySelectorAll('table.alerts a[href*=\\'/alerts/\\']')].map((one) => one.textContent)"
    operator.sees(lambda: set(operator.browser.execute_script(kinds)) == {"frozen"})
    operator.has_no_complaint()


def test_labels_and_the_filter_s_text_hold_for_clips(operator: Operator) -> None:
    clips = operator.asks("GET", "/clips?limit=1000")["items"]
    operator.opens("/clips?label=tier:premium")
    wanted = [clip["stream_id"] for clip in clips if clip["labels"]["tier"] == "premium"][:24]
    operator.sees(lambda: operator.browser.execute_script(CLIPS) == wanted)
    operator.press("/", *"no one")
    operator.sees(lambda: "No clip fits the filter." in operator.text())
    operator.press(*[Keys.BACKSPACE] * len("no one"))
    operator.sees(lambda: operator.browser.execute_script(CLIPS) == wanted)
    operator.has_no_complaint()


def test_a_range_of_alerts_that_the_filter_has_shortened_is_selected(operator: Operator) -> None:
    stream = operator.asks("GET", "/alerts?state=firing&kind=quality-drop&limit=1")["items"][0]["alert"]["stream_id"]
    operator.opens("/alerts")
    operator.sees(lambda: len(operator.browser.execute_script(ALERTS)) > 5)
    operator.press("j", *"jjjj", "x", "x")
    operator.press("/", *stream)
    operator.sees(lambda: {stream} == set(operator.browser.execute_script(ALERTS)))
    operator.browser.execute_script("document.activeElement.blur()")
    operator.press("X")
    operator.has_no_complaint()
    operator.sees(lambda: len(operator.browser.execute_script(SELECTED)) >= 1)


def test_a_key_acts_on_no_clip_that_the_filter_has_brought(operator: Operator) -> None:
    operator.opens("/clips")
    operator.sees(lambda: len(operator.browser.execute_script(CLIPS)) == 24)
    operator.press(*"jjj")
    stream = operator.browser.execute_script(CLIPS)[0]
    operator.press("/", *stream)
    operator.sees(lambda: {stream} == set(operator.browser.execute_script(CLIPS)))
    operator.browser.execute_script("document.activeElement.blur()")
    operator.press("j")
    operator.sees(lambda: operator.browser.execute_script(ACTIVE) == 0)


def test_the_filter_finds_an_alert_that_is_over_though_it_is_not_among_the_latest(operator: Operator) -> None:
    over = [entry["alert"]["stream_id"] for entry in operator.asks("GET", "/alerts?state=resolved&limit=1000")["items"]]
    operator.opens("/alerts")
    operator.sees(lambda: len(operator.browser.execute_script(OVER)) > 1)
    operator.browser.execute_script(SHORT_PAGES)
    operator.sees(lambda: operator.browser.execute_script(OVER) == over[:1])
    assert "These are the latest 1;" in operator.text()
    operator.press("/", *over[-1])
    operator.sees(lambda: operator.browser.execute_script(OVER) == over[-1:])
    operator.has_no_complaint()


def test_the_alerts_of_all_pages_are_in_one_csv(operator: Operator) -> None:
    path = "/alerts?label=tier:premium&q=o"
    wanted = [entry["alert"]["alert_id"] for entry in operator.asks("GET", f"{path}&state=all&limit=1000")["items"]]
    assert len(wanted) > 7, "they are on several pages"
    operator.opens(path)
    operator.sees(lambda: len(operator.browser.execute_script(ALERTS)) > 5)
    operator.browser.execute_script(SHORT_PAGES)
    operator.browser.find_element(By.XPATH, "//*[text()='CSV']").click()
    operator.sees(lambda: operator.browser.execute_script("return files.length"))
    lines = list(csv.DictReader(operator.browser.execute_script("return files")[0].splitlines()))
    assert [line["alert_id"] for line in lines] == wanted
    operator.has_no_complaint()


def test_a_filter_that_is_typed_on_a_single_stream_opens_the_fleet(operator: Operator) -> None:
    operator.opens("/streams/studio-20?range=6h")
    operator.sees(lambda: operator.view() == "stream")
    operator.press("/", "right-to-left", Keys.ENTER)
    operator.sees(lambda: len(operator.rows()) == 1)
    assert operator.path() == "/?q=right-to-left"
    operator.press("j")
    operator.sees(operator.active)
    operator.browser.execute_script("history.back()")
    operator.sees(lambda: operator.view() == "stream")
    operator.press("/", *[Keys.BACKSPACE] * 20, "tier:premium", Keys.ENTER)
    operator.sees(operator.rows)
    assert operator.path() == "/?label=tier%3Apremium"
    operator.has_no_complaint()
