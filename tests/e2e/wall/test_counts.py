"""What the page counts is what its words say."""

from __future__ import annotations

from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.support.operator import Operator
from tests.support.wall_page import serving


def test_streams_without_segments_are_not_called_silent(operator: Operator) -> None:
    """`silent` is the word for a stream without sound."""
    operator.opens("/")
    operator.sees_rows()
    counts = operator.browser.find_element(By.ID, "counts")
    operator.sees(lambda: f"{operator.asks('GET', '/summary')['no_segments']} down" in counts.text)
    assert "silent" not in counts.text


HIDDEN = """
Object.defineProperty(document, "hidden", { get: () => true });
window.requestAnimationFrame = () => 0;
const real = window.setInterval;
window.setInterval = (run, ms) => real(run, Math.max(ms, 600_000));
"""
"""A tab behind another one: nothing is painted, and timers hardly come."""


def test_the_title_of_a_hidden_tab_counts_the_alerts(operator: Operator) -> None:
    script = operator.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": HIDDEN})
    try:
        operator.opens()
        count = len(operator.asks("GET", "/alerts?state=unacknowledged&limit=1000")["items"])
        operator.sees(lambda: operator.browser.title == f"({count}) FVQ")
    finally:
        operator.browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


BEEPS = """
document.getElementById("sound").checked = true;
window.beeps = 0;
window.AudioContext = class { constructor() { window.beeps += 1; } };
"""


def firing(operator: Operator) -> set[str]:
    """The ids of the alerts that fire now."""
    return {item["alert"]["alert_id"] for item in operator.asks("GET", "/alerts?state=firing&limit=1000")["items"]}


def test_alerts_that_fired_while_the_connection_was_lost_are_heard(browser: webdriver.Chrome) -> None:
    with serving(60) as server:
        operator = Operator(browser, server)
        operator.opens()
        operator.sees_rows()
        known = firing(operator)
        operator.browser.execute_script(BEEPS)
        operator.opens_in_place("/?label=tier:premium")
        operator.sees(lambda: "premium ×" in operator.text() and operator.rows())
        operator.opens_in_place("/")
        operator.sees_rows()
        beeps = operator.browser.execute_script("return beeps")
        # The fleet is live: on a slow machine an alert of its own may fire meanwhile, and is heard.
        assert beeps == 0 or firing(operator) - known, "what another filter brings is not new"
        server.kill()
        server.start()  # it plays another past, with other alerts
        operator.sees(lambda: operator.browser.execute_script("return beeps") == beeps + 1)
