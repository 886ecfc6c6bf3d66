"""Two people before the wall acknowledge the same alert."""

from __future__ import annotations

from datetime import datetime, timedelta

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.support.operator import Operator

SUBMIT = "dialog button[type=submit]"


def opens_form(operator: Operator, path: str) -> None:
    operator.opens(path)
    operator.sees(lambda: "What and why" in operator.text())
    operator.press("a")
    operator.sees(operator.dialog)


def test_who_is_later_does_not_take_the_place_of_who_was_first(operator: Operator) -> None:
    path = operator.real_path("ALERT")
    opens_form(operator, path)
    operator.asks("PUT", f"{path}/ack", {"note": "the other one's"})
    operator.browser.find_element(By.CSS_SELECTOR, SUBMIT).click()
    operator.sees(lambda: "has acknowledged it already" in operator.dialog())
    assert operator.asks("GET", path)["ack"]["note"] == "the other one's"
    operator.asks("DELETE", f"{path}/ack")


def test_a_change_does_not_take_the_place_of_one_that_its_form_does_not_show(operator: Operator) -> None:
    path = operator.real_path("ALERT")
    operator.asks("PUT", f"{path}/ack", {"note": "seen"})
    opens_form(operator, path)
    operator.asks("PUT", f"{path}/ack", {"note": "the vendor is called"})
    for button in (SUBMIT, "dialog .actions button[type=button]"):
        operator.browser.find_element(By.CSS_SELECTOR, button).click()
        operator.sees(lambda: "another was faster" in operator.dialog())
        assert operator.asks("GET", path)["ack"]["note"] == "the vendor is called"
    operator.asks("DELETE", f"{path}/ack")


def test_of_several_acknowledgements_in_one_form_each_keeps_its_own_note_and_end(operator: Operator) -> None:
    answer = operator.asks("GET", "/alerts?state=unacknowledged&limit=1000")
    until = datetime.fromisoformat(answer["at"]) + timedelta(hours=5)
    alerts = [entry["alert"] for entry in answer["items"] if entry["alert"]["stream_id"].startswith("shop")]
    paths = {alert["stream_id"]: f"/alerts/{alert['alert_id']}" for alert in alerts[:2]}
    wanted = dict(zip(paths.values(), [("the encoder restarts", None), ("the vendor is called", until.isoformat())], strict=True))
    for path, (note, end) in wanted.items():
        operator.asks("PUT", f"{path}/ack", {"note": note, "until": end})
    operator.opens("/?q=shop")
    for stream in paths:
        operator.sees(lambda stream=stream: any(row["id"] == stream and row["alert"] == "acked" for row in operator.rows()))
        operator.press(Keys.HOME)  # the order is that of the scores: the second may be above the first
        while operator.active() != stream:
            operator.press("j")
        operator.press("x")
    operator.press("a")
    operator.sees(lambda: "Acknowledge 2 alerts" in operator.dialog())
    operator.browser.find_element(By.CSS_SELECTOR, SUBMIT).click()
    operator.sees(lambda: operator.was_told("2 alerts are acknowledged"))
    for path, (note, end) in wanted.items():
        ack = operator.asks("GET", path)["ack"]
        assert ack["note"] == note
        assert ack.get("until", "")[:19] == (end or "")[:19]
        operator.asks("DELETE", f"{path}/ack")


def test_who_changes_an_acknowledgement_keeps_its_note_and_its_end(operator: Operator) -> None:
    path = operator.real_path("ALERT")
    until = datetime.fromisoformat(operator.asks("GET", "/alerts?limit=1")["at"]) + timedelta(hours=5)
    operator.asks("PUT", f"{path}/ack", {"note": "the vendor is called", "until": until.isoformat()})
    opens_form(operator, path)
    note = operator.browser.find_element(By.CSS_SELECTOR, "dialog textarea")
    assert note.get_attribute("value") == "the vendor is called"
    note.send_keys(" again")
    operator.browser.find_element(By.CSS_SELECTOR, SUBMIT).click()
    operator.sees(lambda: operator.was_told("The alert is acknowledged"))
    ack = operator.asks("GET", path)["ack"]
    assert ack["note"] == "the vendor is called again"
    assert abs(datetime.fromisoformat(ack["until"]) - until) < timedelta(seconds=1)
    operator.asks("DELETE", f"{path}/ack")
