"""What blocking HTTP clients share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from scorer.http_client import retry_after


@pytest.mark.parametrize("header", ["", "soon", "-3", "1.5", "Wed, 21 Oct", "Mon, 99 Jan 2099 00:00:00 GMT", "²"])
def test_a_retry_after_that_cannot_be_read_asks_for_nothing(header: str) -> None:
    assert retry_after(header) is None


def test_retry_after_is_a_number_of_seconds_or_a_date() -> None:
    assert (retry_after("7"), retry_after(" 0 "), retry_after("9" * 400)) == (7, 0, float("inf"))
    now = datetime.now(UTC)
    assert retry_after(format_datetime(now - timedelta(days=1), usegmt=True)) == 0
    ahead = now + timedelta(hours=1)
    # The obsolete form has a zone that says nothing of the server's place.
    for date in (format_datetime(ahead, usegmt=True), ahead.strftime("%a, %d %b %Y %H:%M:%S -0000")):
        seconds = retry_after(date)
        assert seconds is not None
        assert 3000 < seconds <= 3600
