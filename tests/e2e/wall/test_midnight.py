"""A page that stays open over midnight: what was today's becomes yesterday's, and says its day."""

from __future__ import annotations

import re

import pytest

from tests.support.operator import Operator

A_DAY_LATER = """
const [now, parse] = [Date.now, JSON.parse];
Date.now = () => now() + 86_400_000;
JSON.parse = (text) => {
  const frame = parse(text);
  if (typeof frame?.at === "number") frame.at += 86_400;
  return frame;
};
"""
"""The browser's clock and the server's in its frames are a day later from now on."""

TEXTS = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)"

DAY = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ")
CLOCK = re.compile(r"\d\d:\d\d:\d\dZ")


@pytest.mark.parametrize(
    ("path", "standing"),
    [
        ("/clips", ".cards > li"),
        ("/alerts", "table.alerts [data-id] td:nth-child(2)"),
        ("/alerts/ALERT", ".facts dd, .timeline time"),
        ("/streams/STREAM", ".sides > span, figcaption > span:first-child, table[aria-label=Segments] td:first-child"),
    ],
)
def test_times_of_the_day_before_get_their_day(operator: Operator, path: str, standing: str) -> None:
    alert = operator.asks("GET", "/alerts?kind=black&q=studio&limit=1")["items"][0]["alert"]
    operator.opens(path.replace("ALERT", alert["alert_id"]).replace("STREAM", alert["stream_id"]))

    def times() -> list[str]:
        return [text for text in operator.browser.execute_script(TEXTS, standing) if CLOCK.search(text)]

    operator.sees(times)
    operator.browser.execute_script("document.querySelector('table')?.focus()")  # a table in which someone is stands still
    operator.browser.execute_script(A_DAY_LATER)
    operator.sees(lambda: times() and all(DAY.search(text) for text in times()), within=20)
