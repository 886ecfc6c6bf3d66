"""The fleet in a real Chromium: rows, their order, hostile names, phones, televisions, who may see it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from streams.web.access.tokens import digest_of
from tests.support.browser import accessibility_problems, set_size, set_theme
from tests.support.operator import Operator
from tests.support.wall_page import HOSTILE_IDS, serving


def test_the_worst_stream_is_first_and_healthy_ones_are_folded_away(operator: Operator) -> None:
    operator.opens()
    operator.sees_rows()
    rows = operator.rows()
    assert rows[0]["state"] == "black"
    assert rows[0]["alert"] == "firing"
    assert all(row["alert"] or row["state"] != "ok" or int(row["score"]) < 50 for row in rows)
    assert "are fine" in operator.text()
    # All streams: within those without an alert and with a score, the order is that of the scores.
    operator.opens("/?all=1")
    operator.sees_rows()
    operator.press("j", Keys.END)
    operator.sees(lambda: operator.rows()[-1]["place"] > 290)

    def are_in_order() -> bool:
        operator.press(".")
        scores = [int(row["score"]) for row in operator.rows() if row["score"] != "–" and row["state"] == "ok"]
        return len(scores) > 10 and scores == sorted(scores)

    # The keyboard is in the list, which holds the order while scores go on; the key asks for the order of now.
    operator.sees(are_in_order)
    assert operator.browser.execute_script("return document.querySelectorAll('.row').length") < 60
    operator.has_no_complaint()


def test_the_order_stands_still_while_somebody_reads(operator: Operator) -> None:
    operator.opens()
    operator.sees_rows()
    target = next(row for row in operator.rows() if row["alert"] == "firing" and row["state"] == "frozen")
    operator.press("j")
    operator.sees(operator.active)
    before = [row["id"] for row in operator.rows()]
    [entry] = operator.asks("GET", f"/alerts?state=firing&stream_id={quote(target['id'], safe='')}&limit=1")["items"]
    operator.asks("PUT", f"/alerts/{entry['alert']['alert_id']}/ack", {"note": "seen"})
    try:
        # The acknowledged stream belongs further down, but its row stays, and a chip says that rows would move.
        operator.sees(lambda: next(row for row in operator.rows() if row["id"] == target["id"])["alert"] == "acked")
        assert [row["id"] for row in operator.rows()][: len(before)] == before
        operator.sees(lambda: "moved (.)" in operator.text())

        def takes_the_new_order() -> bool:
            # Scores go on, and the keyboard is still in the list: rows may wait to move again before both are read.
            operator.press(".")
            return [row["id"] for row in operator.rows()][: len(before)] != before and "moved (.)" not in operator.text()

        operator.sees(takes_the_new_order)
    finally:
        operator.asks("DELETE", f"/alerts/{entry['alert']['alert_id']}/ack")


def test_several_rows_are_acknowledged_in_one_form_and_taken_back(operator: Operator) -> None:
    operator.opens("/?q=shop")
    operator.sees(lambda: len([row for row in operator.rows() if row["alert"] == "firing"]) >= 2)
    operator.press("j", "x", "j", "X")
    operator.sees(lambda: sum(row["selected"] for row in operator.rows()) == 2)
    chosen = [row["id"] for row in operator.rows() if row["selected"]]
    operator.press("a")
    operator.sees(lambda: "Acknowledge 2 alerts" in operator.dialog())
    operator.press("<b>on it</b>", Keys.TAB, Keys.TAB, Keys.ENTER)
    operator.sees(lambda: not operator.dialog())
    operator.sees(lambda: all(row["alert"] == "acked" for row in operator.rows() if row["id"] in chosen))
    acked = operator.asks("GET", "/alerts?state=acknowledged&limit=1000")["items"]
    notes = {entry["alert"]["stream_id"]: entry["ack"]["note"] for entry in acked}
    assert all(notes[stream] == "<b>on it</b>" for stream in chosen)
    # In the list of alerts the note is text, and an acknowledgement can be taken back.
    operator.opens("/alerts")
    operator.sees(lambda: "<b>on it</b>" in operator.text())
    mine = next(entry["alert"] for entry in acked if entry["alert"]["stream_id"] == chosen[0])
    operator.opens(f"/alerts/{mine['alert_id']}")
    operator.sees(lambda: "acknowledged by local" in operator.text())
    operator.press("a")
    operator.sees(lambda: "Take back" in operator.dialog())
    operator.browser.find_element(By.XPATH, "//dialog//button[contains(., 'Take back')]").click()
    operator.sees(lambda: "acknowledged by" not in operator.text())
    operator.has_no_complaint()


def test_a_phone_acknowledges_with_the_bar_at_the_foot(operator: Operator) -> None:
    set_size(operator.browser, 390, 844, mobile=True)
    operator.opens()
    operator.sees_rows()
    operator.browser.execute_script("document.querySelector('#rows .row input').click()")
    operator.sees(lambda: "1 selected" in operator.text())
    operator.browser.find_element(By.XPATH, "//div[@id='bar']//button[text()='ack']").click()
    operator.sees(lambda: "cknowledge" in operator.dialog())


def test_a_television_has_no_controls_and_turns_its_pages(operator: Operator) -> None:
    operator.opens("/?tv=1")
    operator.sees_rows()
    shown = operator.browser.execute_script(
        "return [...document.querySelectorAll('button, select, input')].filter((one) => one.checkVisibility()).length"
    )
    assert shown <= 1  # the fold's button is at the end of the list
    assert operator.browser.execute_script("return getComputedStyle(document.body).fontSize") == "24px"
    top = operator.browser.execute_script("return document.getElementById('list').scrollTop")
    operator.sees(lambda: operator.browser.execute_script("return document.getElementById('list').scrollTop") > top)


def test_forced_colours_keep_every_number(operator: Operator) -> None:
    set_theme(operator.browser, "dark", ("forced-colors", "active"))
    operator.opens()
    operator.sees_rows()
    borders = operator.browser.execute_script(
        "return [...document.querySelectorAll('.row:not([hidden]) .chip')].map((chip) => getComputedStyle(chip).borderTopStyle)"
    )
    assert set(borders) <= {"solid", "dotted"}
    assert any(row["score"] != "–" for row in operator.rows())


@pytest.mark.parametrize("hostile_id", HOSTILE_IDS, ids=range(len(HOSTILE_IDS)))
def test_a_hostile_id_is_text_in_its_row_and_its_view(operator: Operator, hostile_id: str) -> None:
    operator.opens()
    operator.sees_rows()
    shown = operator.browser.execute_async_script(
        "const done = arguments[1]; import('/dom.js').then(({ printable }) => done(printable(arguments[0])))", hostile_id
    )
    assert not any(char in shown for char in "\u202e\u202c\n")
    operator.sees(lambda: shown in [row["id"] for row in operator.rows()])
    # The first key selects the first row, and holds the order: before it, rows may change places.
    operator.press("j")
    place = [row["id"] for row in operator.rows()].index(shown)
    operator.press(*["j"] * place, Keys.ENTER)
    operator.sees(lambda: operator.view() == "stream" and "Segments" in operator.text())
    title = operator.browser.execute_script("return document.querySelector('main .title .id').title")
    assert title == shown
    operator.sees(lambda: "<script>window.hurt = 1</script>" in operator.text())
    assert operator.browser.execute_script("return window.hurt") is None
    assert operator.browser.execute_script("return document.querySelectorAll('main img[src=\"x\"]').length") == 0
    operator.has_no_complaint()


def test_a_server_that_dies_is_told_and_comes_back(browser: webdriver.Chrome) -> None:
    with serving(60) as server:
        operator = Operator(browser, server)
        operator.opens()
        operator.sees_rows()
        operator.sees(lambda: "live" in operator.text())
        server.kill()
        # How soon: `test_what_is_seen_is_old_after_two_and_a_half_seconds`, without a clock.
        operator.sees(
            lambda: "What you see is old" in operator.text() and " old" in operator.browser.find_element(By.ID, "age").text
        )
        assert operator.browser.title.startswith("(old)")
        assert operator.rows(), "what was there stays in sight"
        server.start()
        operator.sees(
            lambda: "What you see is old" not in operator.text() and "live" in operator.browser.find_element(By.ID, "age").text
        )
        assert not operator.browser.title.startswith("(old)")


def test_a_person_signs_in_and_sees_what_the_token_allows(browser: webdriver.Chrome, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.json"
    names = {"reader": ["read"], "keeper": ["read", "ack"]}
    entries = [
        {"name": name, "sha256": digest_of(name * 3), "scopes": scopes, "labels": {"tier": "premium"}}
        for name, scopes in names.items()
    ]
    tokens.write_text(json.dumps({"tokens": entries}))
    with serving(60, tokens) as server:
        operator = Operator(browser, server)
        operator.opens()
        operator.sees(lambda: "Your token" in operator.dialog())
        operator.press("nonsense", Keys.ENTER)
        operator.sees(lambda: "not known" in operator.dialog())
        operator.press("readerreaderreader", Keys.ENTER)
        operator.sees(lambda: not operator.dialog() and operator.rows())
        operator.press("j", "a")
        operator.sees(lambda: operator.was_told("lacks the scope ack"))
        assert operator.browser.execute_script("return document.querySelectorAll('.row img:not([hidden])').length") == 0
        # What the token would be refused is not offered.
        for path in ("/streams/studio-0", "/alerts", f"/alerts/{reader_s_alert(operator)}"):
            operator.opens(path)
            operator.sees(lambda: operator.browser.find_elements(By.CSS_SELECTOR, "main .title h2"))
            operator.sees(lambda: "Loading" not in operator.text())
            assert operator.browser.execute_script(REFUSED_BUTTONS) == [], path
            assert "lacks the scope" not in operator.text()
        # A link with a token signs in, and the token leaves the address bar. The token's labels limit what is seen.
        operator.browser.delete_all_cookies()
        operator.opens("/#token=keeperkeeperkeeper")
        operator.sees(lambda: operator.rows() and not operator.dialog() and "token" not in operator.browser.current_url)
        operator.press("j", "a")
        operator.sees(lambda: "cknowledge" in operator.dialog())
        operator.press(Keys.ESCAPE)

        def premium() -> int:
            return operator.browser.execute_async_script(
                "fetch('/api/v1/summary').then((answer) => answer.json()).then((summary) => arguments[0](summary.streams))"
            )

        # The hostile streams' first segments come in the server's first seconds.
        operator.sees(lambda: f"{premium()} streams" in operator.text())
        assert premium() < 60
    browser.delete_all_cookies()


REFUSED_BUTTONS = """
return [...document.querySelectorAll("button, nav a")].filter((one) => one.checkVisibility())
  .map((one) => one.textContent).filter((text) => /^(ack|rate|clips|▸ play)/i.test(text));
"""


def reader_s_alert(operator: Operator) -> str:
    """An open alert that whoever is signed in sees."""
    return operator.browser.execute_async_script(
        "fetch('/api/v1/alerts?limit=1').then((one) => one.json()).then(({ items }) => arguments[0](items[0].alert.alert_id))"
    )


CELLS = """
return [...document.querySelectorAll("#mosaic .cell")].map((cell) => ({
  id: cell.querySelector(".id").title, score: cell.querySelector(".chip b").textContent, state: cell.dataset.state,
  active: cell.classList.contains("active"), selected: cell.getAttribute("aria-selected") === "true",
  pictured: Boolean(cell.querySelector("img:not([hidden])")?.naturalWidth), left: cell.offsetLeft, top: cell.offsetTop,
  text: cell.innerText,
}));
"""


def test_the_mosaic_shows_the_worst_streams_and_is_used_by_keyboard(operator: Operator) -> None:
    def cells() -> list[dict[str, Any]]:
        return operator.browser.execute_script(CELLS)

    operator.opens()
    operator.sees_rows()
    rows = [row["id"] for row in operator.rows()]
    operator.press("m")
    operator.sees(lambda: operator.path() == "/?view=mosaic" and len(cells()) > 20)
    assert len(cells()) <= 48
    assert {cell["id"] for cell in cells()[:8]} & set(rows[:8]), "the same order as the rows"
    operator.sees(lambda: sum(cell["pictured"] for cell in cells()) > len(cells()) / 2)
    black = next(cell for cell in cells() if cell["state"] == "black")
    assert "BLACK" in black["text"]
    assert not black["pictured"], "a black tile is black"
    assert all(cell["score"].isdigit() for cell in cells() if cell["state"] in ("low-quality", "quality-drop"))
    # Right and down, as in a table; then open, come back to the same stream, select, acknowledge.
    operator.press("j", Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    operator.sees(lambda: any(cell["active"] for cell in cells()))
    first, active = cells()[0], next(cell for cell in cells() if cell["active"])
    assert active["top"] > first["top"]
    assert active["left"] == cells()[1]["left"]
    operator.press(Keys.ENTER)
    operator.sees(lambda: operator.view() == "stream")
    operator.press(Keys.ESCAPE)
    operator.sees(lambda: operator.view() == "fleet" and [cell["id"] for cell in cells() if cell["active"]] == [active["id"]])
    operator.press("x", "j", "x")
    operator.sees(lambda: sum(cell["selected"] for cell in cells()) == 2 and "2 selected" in operator.text())
    operator.press("a")
    operator.sees(lambda: "cknowledge" in operator.dialog())
    operator.press(Keys.ESCAPE, Keys.ESCAPE, "m")
    operator.sees(lambda: operator.path() == "/" and operator.rows())
    operator.has_no_complaint()


def test_a_phone_has_no_mosaic(operator: Operator) -> None:
    set_size(operator.browser, 390, 844, mobile=True)
    operator.opens("/?view=mosaic")
    operator.sees_rows()
    assert not operator.browser.find_elements(By.ID, "mosaic")
    assert not operator.browser.execute_script("return document.querySelector('#tools .desk').checkVisibility()")
    operator.press("m")
    operator.sees(lambda: operator.was_told("needs a wider screen"))
    # Turned, or on a larger screen, it is what the address asks for.
    set_size(operator.browser, 900, 600)
    operator.sees(lambda: operator.browser.find_elements(By.CSS_SELECTOR, "#mosaic .cell"))


def test_rows_have_another_order_on_request(operator: Operator) -> None:
    operator.opens("/?all=1&sort=id")
    operator.sees_rows()
    names = [row["id"] for row in operator.rows()]
    assert names == sorted(names)
    operator.press("s")
    operator.sees(lambda: "sort=since" in operator.path())
    operator.press("s")
    operator.sees(lambda: operator.path() == "/?all=1" and operator.rows()[0]["state"] == "black")


def test_two_values_of_a_label_are_shown_as_either(operator: Operator) -> None:
    operator.opens("/?all=1&label=tier%3Apremium&label=origin%3Afra2&label=tier%3Afree")
    operator.sees_rows()
    operator.sees(lambda: "tier:premium ×" in operator.text() and "or tier:free ×" in operator.text())
    wanted = operator.asks(
        "GET", "/streams?label=tier:premium&label=tier:free&label=origin:fra2&limit=1000&fields=stream_id,labels"
    )
    assert {row["id"] for row in operator.rows()} == {item["stream_id"] for item in wanted["items"]}
    assert {item["labels"]["tier"] for item in wanted["items"]} == {"premium", "free"}


@pytest.mark.parametrize(("width", "height"), [(390, 844), (640, 400), (1920, 1080)])
def test_a_fleet_of_thousands_leaves_the_rows_their_place(operator: Operator, width: int, height: int) -> None:
    set_size(operator.browser, width, height)
    operator.opens()
    operator.sees_rows()
    # As high as twenty thousand cells are on a desk, and three thousand and more on a phone.
    operator.browser.execute_script("document.querySelector('#heat canvas').style.height = '400px'")
    strip, rows = operator.browser.execute_script("return ['heat', 'list'].map((id) => document.getElementById(id).clientHeight)")
    assert strip <= height / 4
    assert rows >= height / 4


def test_the_mosaic_says_how_many_it_does_not_show(operator: Operator) -> None:
    operator.opens("/?all=1&view=mosaic")
    fleet = len(operator.asks("GET", "/streams?limit=1000&fields=stream_id")["items"])
    operator.sees(lambda: f"{fleet - 48} more are not in the mosaic" in operator.text())
    operator.press("m")
    operator.sees_rows()
    assert "not in the mosaic" not in operator.text()


def test_a_phone_shows_local_time_too(operator: Operator) -> None:
    set_size(operator.browser, 390, 844, mobile=True)
    operator.opens()
    operator.sees_rows()
    zone = Select(operator.browser.find_element(By.ID, "zone"))
    clock = operator.browser.find_element(By.ID, "clock")
    try:
        zone.select_by_value("local")
        operator.sees(lambda: clock.text and not clock.text.endswith("Z"))
    finally:
        zone.select_by_value("utc")
    operator.sees(lambda: clock.text.endswith("Z"))


def test_a_phone_with_a_fleet_of_thousands_is_accessible(operator: Operator) -> None:
    set_size(operator.browser, 390, 844, mobile=True)
    operator.opens()
    operator.sees_rows()
    operator.browser.execute_script("document.querySelector('#heat canvas').style.height = '400px'")
    operator.sees(lambda: operator.browser.execute_script("return document.getElementById('heat').tabIndex") == 0)
    assert accessibility_problems(operator.browser) == []
