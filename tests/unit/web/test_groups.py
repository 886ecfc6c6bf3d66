"""Groups of alerts, cursors, and the token bucket: the laws that they keep."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.web.access.limits import Buckets
from streams.web.api.cursors import page_of
from streams.web.api.problems import ApiError
from streams.web.groups import TOGETHER_SECONDS, groups_of
from tests.support.alerts import BEGIN
from tests.unit.web.test_live import make_alert


def test_streams_that_fell_together_are_one_group() -> None:
    fleet = [{"origin": f"fra{number % 2}", "tier": "free"} for number in range(20)]
    alerts = [
        make_alert("black", f"stream {number}", began=BEGIN + timedelta(seconds=number), labels=labels)
        for number, labels in enumerate(fleet)
        if labels["origin"] == "fra1" and number < 17
    ]
    groups = groups_of(alerts, fleet)
    assert [(group.label, group.value, group.streams, group.of) for group in groups] == [("origin", "fra1", 8, 10)]
    assert groups[0].text == "8 of 10 streams with origin:fra1: black within 14 s"
    assert groups_of(alerts, fleet, by="tier") == []


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 200), st.sampled_from(["a", "b"])), max_size=40))
def test_a_group_holds_within_its_time_and_its_label(moments: list[tuple[int, int, str]]) -> None:
    alerts = [
        make_alert("black", f"stream {number}", began=BEGIN + timedelta(seconds=second), labels={"origin": value})
        for number, second, value in moments
    ]
    for group in groups_of(alerts, [alert.labels for alert in alerts]):
        assert group.seconds <= TOGETHER_SECONDS
        assert {alert.labels["origin"] for alert in group.alerts} == {group.value}
        assert 3 <= group.streams <= group.of


@given(st.lists(st.tuples(st.integers(0, 5), st.text(max_size=5)), unique=True, max_size=30), st.integers(1, 7))
def test_pages_give_every_item_once_in_order(keys: list[tuple[int, str]], limit: int) -> None:
    items, cursor, pages = sorted(keys), None, []
    while True:
        page, cursor = page_of(items, lambda key: key, cursor, limit, "numbers")
        pages.append(list(page))
        if cursor is None:
            break
    assert [key for page in pages for key in page] == items
    assert all(len(page) == limit for page in pages[:-1])


@pytest.mark.parametrize("cursor", ["AAAA", "W10", "WzEse31d", "bnVsbA", "x" * 3999, "W1tdXQ", "-_-_"])
def test_a_cursor_of_no_list_is_refused(cursor: str) -> None:
    with pytest.raises(ApiError, match="cursor"):
        page_of([(1, "a"), (2, "b")], lambda key: key, cursor, 1, "numbers")


def test_a_cursor_of_another_list_is_refused() -> None:
    _, cursor = page_of([("a",), ("b",)], lambda key: key, None, 1, "numbers")
    with pytest.raises(ApiError, match="cursor"):
        page_of([(1, "a"), (2, "b")], lambda key: key, cursor, 1, "numbers")
    _, cursor = page_of([(1, "a"), (2, "b")], lambda key: key, None, 1, "letters")
    with pytest.raises(ApiError, match="cursor"):
        page_of([(1, "a"), (2, "b")], lambda key: key, cursor, 1, "numbers")


@given(st.lists(st.floats(0, 2), max_size=200))
def test_a_bucket_gives_no_more_than_its_rate_and_burst(waits: list[float]) -> None:
    buckets, now, given_out = Buckets(rate=5, burst=10), 0.0, 0
    for wait in waits:
        now += wait
        asked = buckets.take("kim", now)
        given_out += asked == 0
        assert asked <= 1 / 5 + 1e-6
    assert given_out <= 10 + 5 * now + 1e-6
    assert buckets.take("lee", now) == 0, "another client has a bucket of its own"
