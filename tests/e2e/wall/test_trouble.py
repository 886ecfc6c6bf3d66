"""Trouble before the wall: odd addresses, impatient hands, late answers, a server that refuses, dies and comes back."""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import quote

import pytest
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.support.browser import set_size
from tests.support.operator import Operator
from tests.support.waiting import wait_for
from tests.support.wall_page import HOSTILE_IDS, serving

DELAYED = """
const real = window.fetch;
const waiting = [];
const answered = [];
let wanted = null;
let instead = null;
window.fetch = async (address, options) => {
  const path = new URL(address, location.href).pathname;
  try {
    if (wanted === null || !path.includes(wanted)) return await real(address, options);
    const content = instead;
    await new Promise((go) => waiting.push(go));
    return content ? Response.json(content) : await real(address, options);
  } finally {
    answered.push(path);
  }
};
window.hold = (part, content = null) => { wanted = part; instead = content; };
window.held = () => waiting.length > 0;
window.stopHolding = () => { wanted = null; answered.length = 0; };
window.letGo = () => { wanted = null; waiting.splice(0).forEach((go) => go()); };
window.passed = (part) => answered.some((path) => path.includes(part));
"""
"""hold(part, content): requests whose path has this part wait for letGo(); then the content answers them, or the server."""

REFUSED_LATE = """
const real = window.fetch;
window.fetch = async (address, options) => {
  if (!String(address).endsWith("/ack")) return await real(address, options);
  await new Promise((go) => { window.refuse = go; });
  return Response.json({ detail: "The server is full." }, { status: 507 });
};
"""
"""An acknowledgement is refused once refuse() is called."""

REFUSED_ONCE = """
const real = window.fetch;
let refused = false;
window.fetch = (address, options) => {
  if (options?.method !== "PUT" || refused) return real(address, options);
  refused = true;
  return Promise.resolve(new Response('{"detail": "too many requests"}', { status: 429, headers: { "Retry-After": "1" } }));
};
"""


def test_something_that_is_no_label_is_left_out_and_named(operator: Operator) -> None:
    operator.opens("/?label=garbage")
    operator.sees_rows()
    operator.sees(lambda: operator.was_told("No label, so left out: garbage"))
    operator.opens("/?label=nobody:has-this")
    operator.sees(lambda: "No stream fits the filter" in operator.text())


def test_a_filter_holds_at_once_while_rows_are_selected(operator: Operator) -> None:
    operator.opens()
    operator.sees_rows()
    operator.press("j", "x", "/")
    name = operator.rows()[3]["id"]
    operator.press(name)
    operator.sees(lambda: [row["id"] for row in operator.rows()] == [name])
    operator.press(Keys.ESCAPE)


def test_a_filter_finds_a_stream_by_what_the_page_shows_of_its_name(operator: Operator) -> None:
    operator.opens()
    operator.sees_rows()
    operator.press("/")
    operator.press(r"\u{202e}right-to-left")
    operator.sees(lambda: [row["id"] for row in operator.rows()] == [r"\u{202e}right-to-left\u{202c}"])
    for label in (r"city:New\u{200b}York", "city:new\u200byork"):
        operator.opens(f"/?q={quote(label)}")
        operator.sees(lambda: len(operator.rows()) == len(HOSTILE_IDS))


def test_one_rating_is_asked_for_however_often_the_key_is_pressed(operator: Operator) -> None:
    operator.opens()
    operator.sees_rows()
    operator.press("j")
    press = "document.dispatchEvent(new KeyboardEvent('keydown', {key: 'r'}));"
    operator.browser.execute_script(DELAYED + "hold('/clips');" + press * 3)
    operator.browser.execute_script("letGo()")
    operator.sees(operator.dialog)
    assert operator.browser.execute_script("return document.querySelectorAll('dialog').length") == 1
    operator.press(Keys.ESCAPE)
    # Whoever has gone elsewhere meanwhile is not asked any more.
    operator.browser.execute_script("hold('/clips');" + press)
    operator.press_at_once("g", "a")
    operator.sees(lambda: operator.view() == "alerts")
    operator.browser.execute_script("letGo()")
    with pytest.raises(TimeoutException):
        WebDriverWait(operator.browser, 1, poll_frequency=0.1).until(lambda _: operator.dialog())


def test_a_late_course_of_another_range_is_not_drawn(operator: Operator) -> None:
    operator.opens("/streams/studio-20?range=10m")
    operator.sees(lambda: operator.browser.find_elements(By.CSS_SELECTOR, ".chart canvas"))
    operator.browser.execute_script(DELAYED + "hold('/scores', {items: [], step: 172.8, next: null});")
    operator.press("t")
    operator.sees(lambda: operator.browser.execute_script("return held()"))
    operator.browser.execute_script("stopHolding()")
    operator.press("t")
    operator.sees(lambda: operator.browser.execute_script("return passed('/scores')"))
    operator.browser.execute_script("letGo()")
    with pytest.raises(TimeoutException):
        WebDriverWait(operator.browser, 1, poll_frequency=0.1).until(lambda _: "No scores of this stream" in operator.text())


def test_late_segments_of_another_rendition_are_not_shown(operator: Operator) -> None:
    start = operator.asks("GET", "/streams/studio-20/segments?limit=20")["items"][-1]["start"]
    operator.opens(f"/streams/studio-20?at={quote(start)}")
    renditions = "return [...document.querySelectorAll('tr[data-segment]')].map((row) => row.children[2].textContent)"
    operator.sees(lambda: len(set(operator.browser.execute_script(renditions))) > 1)
    choose = (
        "const list = document.querySelector('.title select'); list.value = arguments[0]; list.dispatchEvent(new Event('change'))"
    )
    operator.browser.execute_script(DELAYED + "hold('/segments', {items: [], next: null});")
    operator.browser.execute_script(choose, "360p")
    operator.sees(lambda: operator.browser.execute_script("return held()"))
    operator.browser.execute_script("stopHolding()")
    operator.browser.execute_script(choose, "720p")
    operator.sees(lambda: set(operator.browser.execute_script(renditions)) == {"720p"})
    operator.browser.execute_script("letGo()")
    with pytest.raises(TimeoutException):
        WebDriverWait(operator.browser, 1, poll_frequency=0.1).until(lambda _: not operator.browser.execute_script(renditions))


def test_late_pictures_of_another_time_are_not_shown(operator: Operator) -> None:
    operator.opens("/streams/studio-20")
    operator.sees(lambda: operator.browser.find_elements(By.CSS_SELECTOR, ".u-over"))
    operator.browser.execute_script(DELAYED + "hold('/compare', {good: null, bad: null});")
    operator.browser.find_element(By.CSS_SELECTOR, ".u-over").click()
    operator.sees(lambda: operator.browser.execute_script("return held()"))
    operator.browser.execute_script("stopHolding()")
    operator.browser.find_element(By.XPATH, "//button[text()='show the latest']").click()
    operator.sees(lambda: operator.browser.execute_script("return passed('/compare')"))
    operator.browser.execute_script("letGo()")
    with pytest.raises(TimeoutException):
        WebDriverWait(operator.browser, 1, poll_frequency=0.1).until(lambda _: "No pictures of this stream" in operator.text())


def test_more_alerts_than_the_server_takes_at_once_are_acknowledged_in_time(operator: Operator) -> None:
    path = operator.real_path("ALERT")
    operator.opens(path)
    operator.sees(lambda: "What and why" in operator.text())
    operator.press("a")
    operator.sees(operator.dialog)
    operator.browser.execute_script(REFUSED_ONCE)
    operator.browser.find_element(By.CSS_SELECTOR, "dialog button[type=submit]").click()
    operator.sees(lambda: operator.was_told("The alert is acknowledged"))
    operator.asks("DELETE", f"{path}/ack")


def begin_three_acknowledgements(operator: Operator) -> None:
    operator.opens("/alerts?q=creator")
    operator.sees(lambda: len(operator.browser.find_elements(By.CSS_SELECTOR, "tr[data-id]")) > 3)
    for box in operator.browser.find_elements(By.CSS_SELECTOR, "tr[data-id]:not([data-alert=acked]) input")[:3]:
        box.click()
    operator.press("a")
    operator.sees(lambda: "Acknowledge all 3" in operator.dialog())


def test_many_acknowledgements_say_how_far_they_are_and_can_be_stopped(operator: Operator) -> None:
    begin_three_acknowledgements(operator)
    operator.browser.execute_script(DELAYED + "hold('/ack', {});")
    operator.browser.find_element(By.CSS_SELECTOR, "dialog button[type=submit]").click()
    operator.sees(lambda: "0 of 3 are sent." in operator.dialog())
    operator.sees(lambda: operator.browser.execute_script("return held()"))
    operator.browser.find_element(By.XPATH, "//dialog//button[text()='Cancel']").click()
    operator.browser.execute_script("stopHolding(); letGo()")
    operator.sees(lambda: operator.was_told("Stopped: 1 of 3 were sent."))


def test_of_acknowledgements_that_were_stopped_those_that_nobody_sent_are_counted_too(operator: Operator) -> None:
    begin_three_acknowledgements(operator)
    operator.browser.execute_script(REFUSED_LATE)
    operator.browser.find_element(By.CSS_SELECTOR, "dialog button[type=submit]").click()
    operator.sees(lambda: operator.browser.execute_script("return window.refuse !== undefined"))
    operator.browser.find_element(By.XPATH, "//dialog//button[text()='Cancel']").click()
    operator.browser.execute_script("refuse()")
    operator.sees(lambda: operator.was_told("3 of 3 were not sent. The server is full."))


def test_an_acknowledgement_that_has_ended_is_not_offered_to_be_changed(operator: Operator) -> None:
    path = operator.real_path("ALERT")
    now = datetime.fromisoformat(operator.asks("GET", "/alerts?limit=1")["at"])
    until = now + timedelta(seconds=5)  # the server takes no end that is over when it hears of it
    operator.asks("PUT", f"{path}/ack", {"note": "looked at", "until": until.isoformat()})
    # Until the socket's first frame the page knows the time from the header `Date`, which has whole seconds.
    past = until + timedelta(seconds=1)
    wait_for("the end", lambda: datetime.fromisoformat(operator.asks("GET", "/alerts?limit=1")["at"]) > past, 60)
    operator.opens(path)
    operator.sees(lambda: "looked at" in operator.text())
    operator.browser.find_element(By.XPATH, "//button[text()='Acknowledge (a)']")
    operator.press("a")
    operator.sees(operator.dialog)
    assert "Take back" not in operator.dialog()
    operator.asks("DELETE", f"{path}/ack")


def test_a_stream_and_an_alert_come_back_with_the_server(browser: webdriver.Chrome) -> None:
    with serving(60) as server:
        operator = Operator(browser, server)
        operator.opens("/streams/studio-20")
        operator.sees(lambda: operator.browser.find_elements(By.CSS_SELECTOR, ".chart canvas"))
        server.kill()
        operator.sees(lambda: "What you see is old" in operator.text())
        operator.browser.execute_script(DELAYED)
        operator.press("t")
        operator.sees(lambda: operator.browser.execute_script("return passed('/streams/studio-20')"))
        assert "Signals of the last segments" in operator.text(), "what was there stays in sight"
        server.start()
        operator.sees(lambda: "What you see is old" not in operator.text())
        operator.sees(lambda: operator.browser.find_elements(By.CSS_SELECTOR, ".chart canvas"))
        operator.opens(operator.real_path("ALERT"))
        operator.sees(lambda: "What and why" in operator.text())
        server.kill()
        server.start()
        # The new server plays another past, in which there never was such an alert.
        operator.sees(lambda: "no such alert" in operator.text())


def test_the_narrowest_phone_still_shows_whose_row_it_is(operator: Operator) -> None:
    set_size(operator.browser, 320, 568, mobile=True)
    operator.opens()
    operator.sees_rows()
    widths = operator.browser.execute_script(
        "return [...document.querySelectorAll('#rows .row:not([hidden]) .open')].map((id) => id.getBoundingClientRect().width)"
    )
    assert min(widths) >= 80


FIRST_SESSION = """
const real = window.fetch;
let first = true;
window.fetch = (address, options) => {
  if (!String(address).endsWith("/session") || !first) return real(address, options);
  first = false;
  return ANSWER;
};
"""
"""What the server says of who is signed in goes wrong once, as the page is opened."""


@pytest.mark.parametrize("answer", ["new Promise(() => {})", "Promise.resolve(new Response('', { status: 503 }))"])
def test_what_a_person_may_do_is_asked_again_where_there_was_no_answer(operator: Operator, answer: str) -> None:
    source = {"source": FIRST_SESSION.replace("ANSWER", answer)}
    script = operator.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", source)
    try:
        operator.opens()
        operator.sees_rows()
        buttons = "return [...document.querySelectorAll('.row [data-does=ack]')].filter((one) => one.checkVisibility()).length"
        operator.sees(lambda: operator.browser.execute_script(buttons))
        operator.press("j", "a")
        operator.sees(lambda: "cknowledge" in operator.dialog())
        operator.press(Keys.ESCAPE)
    finally:
        operator.browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


HANGING = """
const done = arguments[0];
const wait = window.setTimeout;
window.setTimeout = (run, ms) => wait(run, ms === 60_000 ? 20 : ms);
window.fetch = (_, { signal }) => new Promise((_, fail) => {
  signal?.addEventListener("abort", () => fail(new DOMException("ended", "AbortError")));
});
import("/api.js").then(async ({ call }) => {
  const own = new AbortController();
  const stopped = call("GET", "/x", undefined, { signal: own.signal }).catch((error) => error.name);
  own.abort();
  done([await call("PUT", "/alerts/x/ack", {}).catch((error) => error.message), await stopped]);
});
"""
"""A connection that was lost on its way: no request is answered. A minute is a moment."""


def test_a_request_that_nobody_answers_ends_with_a_message(operator: Operator) -> None:
    operator.opens()
    assert operator.browser.execute_async_script(HANGING) == ["The server does not answer.", "AbortError"]
