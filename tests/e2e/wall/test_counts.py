"""What the page counts is what its words say."""

from __future__ import annotations

from selenium.webdriver.common.by import By

from tests.support.operator import Operator


def test_streams_without_segments_are_not_called_silent(operator: Operator) -> None:
    """`silent` is the word for a stream without sound."""
    operator.opens("/")
    operator.sees_rows()
    counts = operator.browser.find_element(By.ID, "counts")
    operator.sees(lambda: f"{operator.asks('GET', '/summary')['no_segments']} down" in counts.text)
    assert "silent" not in counts.text
