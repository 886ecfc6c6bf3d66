"""The filter at the head holds in every view that lists streams, alerts or clips."""

from __future__ import annotations

from selenium.webdriver.common.keys import Keys

from tests.support.operator import Operator

ALERTS = "return [...document.querySelectorAll('table[aria-label=\"Open alerts\"] tr[data-id] .id')].map((id) => id.title)"
CLIPS = "return [...document.querySelectorAll('.cards > li')].map((card) => card.dataset.stream)"
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
