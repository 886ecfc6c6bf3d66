"""What the page counts and hands out is what its words say."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from selenium.webdriver.common.by import By

from tests.support.operator import Operator


def test_streams_without_segments_are_not_called_silent(operator: Operator) -> None:
    """`silent` is the word for a stream without sound."""
    operator.opens("/")
    operator.sees_rows()
    counts = operator.browser.find_element(By.ID, "counts")
    operator.sees(lambda: f"{operator.asks('GET', '/summary')['no_segments']} down" in counts.text)
    assert "silent" not in counts.text


def test_the_csv_has_as_many_alerts_as_the_server_gives(operator: Operator) -> None:
    operator.opens("/alerts?label=tier:premium")
    operator.sees(lambda: operator.browser.find_elements(By.LINK_TEXT, "CSV"))
    address = operator.browser.find_element(By.LINK_TEXT, "CSV").get_attribute("href") or ""
    assert parse_qs(urlsplit(address).query) == {"label": ["tier:premium"], "limit": ["1000"], "format": ["csv"]}
