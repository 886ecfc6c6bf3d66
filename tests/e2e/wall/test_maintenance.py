"""Maintenance on the page: rows, tiles and a stream's own page say until when nothing new fires, and the filter finds them."""

from __future__ import annotations

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.support.operator import Operator
from tests.support.wall_page import HOSTILE_IDS


def test_an_operator_sees_that_a_stream_is_in_maintenance_and_until_when(operator: Operator) -> None:
    operator.opens("/?q=maintenance")
    operator.sees(lambda: operator.browser.find_elements(By.CSS_SELECTOR, ".row:not([hidden])"))
    rows = [row.text for row in operator.browser.find_elements(By.CSS_SELECTOR, ".row:not([hidden])")]
    assert len(rows) == len(HOSTILE_IDS)
    assert all("maintenance until " in row for row in rows)
    operator.press("m")
    operator.sees(lambda: operator.browser.find_elements(By.CSS_SELECTOR, ".cell .kind"))
    tiles = [tile.text for tile in operator.browser.find_elements(By.CSS_SELECTOR, ".cell .kind")]
    assert all("maintenance until " in tile for tile in tiles)
    operator.press("j", Keys.ENTER)
    operator.sees(lambda: ", in maintenance until " in operator.text() and "nothing new of it fires" in operator.text())
