"""The lists of alerts and of segments: keys act on the row that is marked, and a click marks the row that was clicked."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.support.operator import Operator

MARKED = """
return [...document.querySelectorAll(`table[aria-label="${arguments[0]}"] tbody tr`)]
  .filter((row) => row.classList.contains("active")).map((row) => row.dataset.id ?? row.dataset.segment);
"""


def rows(operator: Operator, table: str) -> list[WebElement]:
    """The rows of a table, from the top."""
    operator.sees(lambda: len(operator.browser.find_elements(By.CSS_SELECTOR, f"table[aria-label='{table}'] tbody tr")) > 5)
    return operator.browser.find_elements(By.CSS_SELECTOR, f"table[aria-label='{table}'] tbody tr")


def marked(operator: Operator, table: str) -> Any:
    """The ids of the rows that are marked."""
    return operator.browser.execute_script(MARKED, table)


def test_the_key_acknowledges_the_alert_that_was_clicked(operator: Operator) -> None:
    operator.opens("/alerts")
    row = rows(operator, "Open alerts")[4]
    row.find_elements(By.TAG_NAME, "td")[5].click()
    assert marked(operator, "Open alerts") == [row.get_attribute("data-id")]
    name = row.find_element(By.CSS_SELECTOR, ".id").get_attribute("title")
    operator.press("a")
    operator.sees(lambda: f"{name}: " in operator.dialog())
    operator.press(Keys.ESCAPE)
    operator.press("j")
    assert marked(operator, "Open alerts") == [rows(operator, "Open alerts")[5].get_attribute("data-id")]
    operator.has_no_complaint()


def test_no_alert_is_acknowledged_that_nobody_has_chosen(operator: Operator) -> None:
    operator.opens("/alerts")
    rows(operator, "Open alerts")
    operator.press("a")
    operator.sees(lambda: operator.was_told("Choose a row first"))
    operator.browser.find_element(By.XPATH, "//button[text()='Acknowledge (a)']").click()
    assert not operator.dialog()
    operator.press("j", "a")
    operator.sees(operator.dialog)
    operator.press(Keys.ESCAPE)


def test_a_segment_that_was_clicked_is_the_one_that_is_rated(operator: Operator) -> None:
    operator.opens("/streams/studio-20")
    rows(operator, "Segments")
    # While somebody is in the table it stands still.
    operator.browser.execute_script("document.querySelector('table[aria-label=Segments]').focus()")
    row = rows(operator, "Segments")[3]
    row.find_elements(By.TAG_NAME, "td")[0].click()
    segment = row.get_attribute("data-segment")
    operator.sees(lambda: marked(operator, "Segments") == [segment])
    asked = "return performance.getEntriesByType('resource').some((one) => one.name.includes(encodeURIComponent(arguments[0])))"
    operator.press("r")
    operator.sees(lambda: operator.browser.execute_script(asked, segment))


def test_a_stream_s_page_says_why_and_leads_to_the_alert(operator: Operator) -> None:
    firing = operator.asks("GET", "/alerts?state=unacknowledged&kind=quality-drop&limit=1")["items"][0]["alert"]
    operator.opens(f"/streams/{quote(firing['stream_id'], safe='')}")
    operator.sees(lambda: firing["cause"]["text"] in operator.text())
    operator.browser.find_element(By.PARTIAL_LINK_TEXT, "open the alert").click()
    operator.sees(lambda: operator.path() == f"/alerts/{firing['alert_id']}")


def test_the_page_of_a_stream_that_is_fine_names_no_cause(operator: Operator) -> None:
    items = operator.asks("GET", "/streams?state=ok&sort=id")["items"]
    fine = next(item["stream_id"] for item in items if item["smoothed"] > 50)
    operator.opens(f"/streams/{quote(fine, safe='')}")
    operator.sees(lambda: "fine since" in operator.text())
    assert "open the alert" not in operator.text()


def test_keys_lead_from_an_alert_to_its_stream_at_that_time(operator: Operator) -> None:
    operator.opens("/alerts")
    row = rows(operator, "Open alerts")[3]
    entry = operator.asks("GET", f"/alerts/{row.get_attribute('data-id')}")["alert"]
    stream = f"/streams/{quote(entry['stream_id'], safe='')}?at={quote(entry['started_at'], safe='')}"
    row.find_elements(By.TAG_NAME, "td")[5].click()
    operator.press_at_once("g", "s")
    operator.sees(lambda: unquote(operator.path()) == unquote(stream))
    operator.opens(f"/alerts/{entry['alert_id']}")
    operator.sees(lambda: "Copy link" in operator.text())
    operator.press_at_once("g", "s")
    operator.sees(lambda: unquote(operator.path()) == unquote(stream))


def test_who_comes_back_from_an_alert_goes_on_at_its_row(operator: Operator) -> None:
    operator.opens("/alerts")
    rows(operator, "Open alerts")
    operator.press("j", "j", "j", "j")
    chosen = marked(operator, "Open alerts")
    operator.press(Keys.ENTER)
    operator.sees(lambda: operator.path() == f"/alerts/{chosen[0]}" and "Copy link" in operator.text())
    operator.press(Keys.ESCAPE)
    operator.sees(lambda: operator.path() == "/alerts")
    operator.sees(lambda: marked(operator, "Open alerts") == chosen)
    following = operator.browser.execute_script("return document.querySelector('tr.active').nextElementSibling.dataset.id")
    operator.press("j")
    assert marked(operator, "Open alerts") == [following]
    operator.has_no_complaint()


def test_an_alert_that_a_link_has_opened_leads_back_to_the_fleet(operator: Operator) -> None:
    operator.opens("/alerts")
    operator.opens(operator.real_path("ALERT"))
    operator.sees(lambda: "Copy link" in operator.text())
    operator.press(Keys.ESCAPE)
    operator.sees(lambda: operator.path() == "/")


NO_ANSWER = """
window.refused = new Set();
window.fetch = async (address) => {
  window.refused.add(new URL(address, location.href).pathname);
  throw new TypeError("no connection");
};
"""


def test_groups_and_past_alerts_stay_in_sight_while_the_server_does_not_answer(operator: Operator) -> None:
    operator.opens("/alerts")
    over = "return document.querySelectorAll('h3 + table tbody tr').length"
    operator.sees(lambda: "Together" in operator.text() and operator.browser.execute_script(over))
    before = operator.browser.execute_script(over)
    operator.browser.execute_script(NO_ANSWER)
    both = "return ['/api/v1/groups', '/api/v1/alerts'].every((one) => refused.has(one))"
    operator.sees(lambda: operator.browser.execute_script(both))
    assert "Together" in operator.text()
    assert "could not be read" not in operator.text()
    assert operator.browser.execute_script(over) == before
