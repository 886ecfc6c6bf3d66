"""Streams that end on purpose: a running wall knows it as soon as a segment says so, and as long as none comes after it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from streams.web.live import Live
from tests.support.alerts import BEGIN, make_score
from tests.unit.web.test_live import feed, row


def test_a_last_segment_that_comes_once_more_as_the_end_ends_the_stream() -> None:
    live = Live()
    feed(live, [make_score(number) for number in range(8)])
    row(live)
    feed(live, [make_score(6, ended=True)])
    assert row(live).state == "ok", "not the last one"
    live.changes()
    feed(live, [make_score(7, ended=True)])
    assert live.changes().streams == {"channel"}
    assert row(live).state == "ended"
    feed(live, [make_score(8)])
    assert row(live).state == "ok"


@pytest.mark.parametrize("back", [0.0, 40.0, 3000.0])
def test_a_stream_has_ended_though_another_rendition_is_behind_until_it_begins_again(back: float) -> None:
    live = Live()
    both = [make_score(number, rendition=name) for number in range(20) for name in ("1080p", "480p")]
    last = both[-2].model_copy(update={"ended": True})
    feed(live, [*both[:-4], last, both[-3], both[-1]])
    assert row(live).state == "ended"
    again = make_score(20, rendition="1080p", begin=BEGIN - timedelta(seconds=back))
    feed(live, [again.model_copy(update={"sequence": 21})])
    assert not live.streams["channel"].ended
