"""A link to something that was: the stream's page opens at its time, however long ago that is."""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import parse_qs, quote, urlsplit

from selenium.webdriver.common.by import By

from tests.support.operator import Operator

COURSES = "return performance.getEntriesByType('resource').map((one) => one.name).filter((name) => name.includes('/scores?'))"


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
