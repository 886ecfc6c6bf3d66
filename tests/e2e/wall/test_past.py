"""A link to something that was: the stream's page opens at its time, however long ago that is."""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from tests.support.operator import Operator

COURSES = "return performance.getEntriesByType('resource').map((one) => one.name).filter((name) => name.includes('/scores?'))"

ANSWERS = """
const real = window.fetch;
const [name, at] = [arguments[0], arguments[1]];
const time = (seconds) => new Date(seconds * 1000).toISOString();
const segments = []; // of six renditions, two seconds each, the newest first
for (let start = at + 58; start >= at - 60; start -= 2) {
  for (let p = 0; p < 6; p++) segments.push({
    segment_id: `${start}`, rendition: `${p}p`, status: "scored", score: 70, start: time(start), duration: 2,
  });
}
window.fetch = (address, options) => {
  const { pathname, searchParams: query } = new URL(address, location.href);
  if (pathname.endsWith(`/${name}/segments`)) {
    const from = Number(query.get("cursor") ?? 0);
    const to = from + Number(query.get("limit"));
    const next = to < segments.length ? String(to) : null;
    return Promise.resolve(Response.json({ items: segments.slice(from, to), next }));
  }
  if (pathname.endsWith(`/${name}/scores`)) {
    const items = [{ t: time(at), mean: 70, min: 60, max: 80, n: 1, uncertainty: 5 }];
    return Promise.resolve(Response.json({ items, step: 7.2, next: null }));
  }
  return real(address, options);
};
history.pushState(null, "", `/streams/${name}?at=${time(at)}`);
dispatchEvent(new PopStateEvent("popstate"));
"""
"""Opens a stream at a time, of which the store has segments of six renditions."""

AHEAD = """
const Real = Date;
window.Date = class extends Real {
  constructor(...values) { super(...(values.length ? values : [Real.now() + 3_600_000])); }
  static now() { return Real.now() + 3_600_000; }
};
window.WebSocket = class { send() {} close() {} };
"""
"""A browser whose clock is an hour ahead, before the socket has brought anything."""


def last_range(operator: Operator) -> tuple[datetime, datetime] | None:
    """From when to when the page has asked for the course the last time; None before it has."""
    courses = operator.browser.execute_script(COURSES)
    if not courses:
        return None
    query = parse_qs(urlsplit(courses[-1]).query)
    return datetime.fromisoformat(query["from"][0]), datetime.fromisoformat(query["to"][0])


def test_the_course_of_a_chosen_time_is_around_it(operator: Operator) -> None:
    now = datetime.fromisoformat(operator.asks("GET", "/alerts?limit=1")["at"])
    at = now - timedelta(hours=5)
    operator.opens(f"/streams/studio-20?at={quote(at.isoformat())}")
    operator.sees(lambda: operator.browser.find_elements(By.CSS_SELECTOR, ".chart canvas"))
    begin, end = last_range(operator) or (now, now)
    assert begin < at - timedelta(minutes=20)
    assert at + timedelta(minutes=20) < end < at + timedelta(hours=1)
    assert not operator.browser.find_elements(By.CSS_SELECTOR, ".alert-bar"), "its alert began after what is shown"
    operator.browser.find_element(By.XPATH, "//button[text()='show the latest']").click()
    operator.sees(lambda: (last_range(operator) or (now, begin))[1] >= now)
    operator.sees(lambda: operator.browser.find_elements(By.CSS_SELECTOR, ".alert-bar"))
    operator.has_no_complaint()


def test_a_longer_range_that_has_the_chosen_time_ends_now(operator: Operator) -> None:
    now = datetime.fromisoformat(operator.asks("GET", "/alerts?limit=1")["at"])
    operator.opens(f"/streams/studio-20?range=6h&at={quote((now - timedelta(hours=5)).isoformat())}")
    operator.sees(lambda: last_range(operator) is not None)
    assert (last_range(operator) or (now, now - timedelta(days=1)))[1] >= now


def test_where_no_scores_are_left_of_that_time_the_page_says_so(operator: Operator) -> None:
    operator.opens("/streams/studio-20?at=2020-01-01T00:00:00Z")
    operator.sees(lambda: "No scores of this stream around 2020-01-01 00:00:00Z." in operator.text())


@pytest.mark.parametrize("name", ["studio-20", "gone-1"])
def test_the_segments_around_a_time_are_those_nearest_to_it(operator: Operator, name: str) -> None:
    at = datetime.fromisoformat(operator.asks("GET", "/alerts?limit=1")["at"]).timestamp() // 1 - 7200
    operator.opens()
    operator.sees_rows()
    operator.browser.execute_script(ANSWERS, name, at)
    shown = "return [...document.querySelectorAll('tr[data-segment]')].map((row) => Number(row.dataset.segment))"
    operator.sees(lambda: len(operator.browser.execute_script(shown)) > 100)
    starts = operator.browser.execute_script(shown)
    assert min(starts) < at < max(starts)
    assert len(starts) <= 130
    operator.sees(lambda: operator.browser.find_elements(By.CSS_SELECTOR, ".chart canvas"))
    operator.has_no_complaint()


def test_a_stream_that_the_wall_has_forgotten_shows_what_the_store_keeps(operator: Operator) -> None:
    operator.opens()
    operator.sees_rows()
    operator.browser.execute_script(ANSWERS, "gone-2", 1_790_000_000)
    operator.sees(lambda: "Nothing has come for a day: the wall does not follow it any more." in operator.text())
    operator.sees(lambda: operator.browser.find_elements(By.CSS_SELECTOR, ".chart canvas"))
    operator.sees(lambda: "No pictures of this stream are kept." in operator.text())
    assert "could not be read" not in operator.text()
    assert "Not found" not in operator.text()


def test_a_clock_that_is_wrong_asks_for_the_time_of_the_server(operator: Operator) -> None:
    script = operator.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": AHEAD})
    try:
        operator.opens("/streams/studio-20")
        operator.sees(lambda: last_range(operator) is not None)
        _, end = last_range(operator) or pytest.fail("no course was asked for")
    finally:
        operator.browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
    now = datetime.fromisoformat(operator.asks("GET", "/alerts?limit=1")["at"])
    assert abs(end - now) < timedelta(minutes=2)


def test_a_time_that_cannot_be_read_is_named_and_now_is_shown(operator: Operator) -> None:
    operator.opens("/streams/studio-20?at=nonsense")
    operator.sees(lambda: operator.was_told("The time in the link cannot be read: nonsense."))
    assert operator.path() == "/streams/studio-20"
    operator.sees(lambda: "first bad" in operator.text())
    assert "could not be read" not in operator.text()
    operator.has_no_complaint()


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1790000000", "2026-09-21T14:13:20.000Z"),
        ("1790000000000", "2026-09-21T14:13:20.000Z"),
        ("2026-09-21T14:13:20", "2026-09-21T14:13:20.000Z"),
        ("2026-09-21 14:13:20", "2026-09-21T14:13:20.000Z"),
        ("2026-09-21T19:43:20+05:30", "2026-09-21T14:13:20.000Z"),
        ("2026-13-45T00:00:00Z", None),
        ("9999-01-01T00:00:00Z", None),
        ("tomorrow 5", None),
    ],
)
def test_the_time_of_an_address_is_read_as_the_api_does(operator: Operator, text: str, time: str | None) -> None:
    operator.opens()
    operator.browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Kolkata"})
    script = """
    const [text, done] = arguments;
    import("/time.js").then(({ readTime, iso }) => done(readTime(text) === null ? null : iso(readTime(text))));
    """
    assert operator.browser.execute_async_script(script, text) == time


def test_a_rendition_that_is_not_there_is_said_to_be_gone_and_can_be_left(operator: Operator) -> None:
    operator.opens("/streams/studio-20?rendition=9000p")
    operator.sees(lambda: "No scores of its rendition 9000p in the last 1 h." in operator.text())
    operator.sees(lambda: "No segment has come in the last hour." in operator.text())
    choice = Select(operator.browser.find_element(By.CSS_SELECTOR, ".title select"))
    assert choice.first_selected_option.text == "9000p: not there now"
    choice.select_by_visible_text("all renditions")
    operator.sees(lambda: operator.browser.find_elements(By.CSS_SELECTOR, ".chart canvas"))
    operator.sees(lambda: "9000p" not in operator.text())


def test_what_is_at_the_same_time_is_below_each_other(operator: Operator) -> None:
    operator.opens()
    script = """
    const [stretches, done] = arguments;
    import("/chart.js").then(({ lanesOf }) => done(lanesOf(stretches.map(([from, to]) => ({ from, to })))));
    """
    lanes = operator.browser.execute_async_script(script, [[5, 9], [0, 6], [6, 7], [5, 8], [9, 10]])
    assert lanes == [1, 0, 0, 2, 0]
