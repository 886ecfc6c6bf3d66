"""The watermark: until when a stream was certainly silent, and not just waiting to be scored."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.alerts.watermark import Watermark


def test_it_moves_once_everything_announced_is_answered_and_read() -> None:
    watermark = Watermark()
    assert watermark.advance(10, {0: 5}, {0: 3}, {0: 3}, {0: 3}) is None
    # All five segments are answered, and their scores end at offset 5; the caller has read up to 4.
    assert watermark.advance(11, {0: 9}, {0: 5}, {0: 5}, {0: 4}) is None
    assert watermark.advance(12, {0: 9}, {0: 6}, {0: 7}, {0: 5}) == 10


def test_it_stays_while_a_scorer_is_stuck() -> None:
    watermark = Watermark()
    assert watermark.advance(10, {0: 5, 1: 2}, {0: 5, 1: 2}, {0: 9}, {0: 9}) == 10
    for now in range(11, 600):
        assert watermark.advance(now, {0: 5, 1: now}, {0: 5, 1: 2}, {0: 9}, {0: 9}) == 10


def test_it_follows_the_clock_while_no_segment_waits() -> None:
    watermark = Watermark()
    assert [watermark.advance(now, {0: 5}, {0: 5}, {0: 9}, {0: 9}) for now in (1, 2, 3)] == [1, 2, 3]
    assert watermark.advance(4, {}, {}, {}, {}) == 4


def test_it_does_not_wait_for_a_partition_that_another_worker_has_now() -> None:
    watermark = Watermark()
    assert watermark.advance(1, {0: 5}, {0: 5}, {0: 9, 1: 4}, {0: 9, 1: 3}) is None
    assert watermark.advance(2, {0: 5}, {0: 5}, {0: 9}, {0: 9}) == 1


def test_after_a_restart_it_does_not_wait_for_what_was_announced_before() -> None:
    watermark = Watermark()
    assert watermark.advance(10, {0: 5}, {0: 3}, {0: 3}, {0: 3}) is None
    watermark.restart()
    assert watermark.advance(20, {0: 7}, {0: 7}, {0: 9}, {0: 9}) == 20


@given(st.data())
def test_it_never_passes_a_segment_that_is_not_read_yet(data: st.DataObject) -> None:
    """Segments are announced, answered and read at random: the watermark is never later than the first one not read."""
    watermark, announced, answered, read = Watermark(), [], 0, 0
    for now in range(1, 40):
        for action in data.draw(st.lists(st.sampled_from(["announce", "answer", "read"]), max_size=4)):
            if action == "announce":
                announced.append(float(now))
            elif action == "answer" and answered < len(announced):
                answered += 1
            elif action == "read" and read < answered:
                read += 1
        until = watermark.advance(now + 0.5, {0: len(announced)}, {0: answered}, {0: answered}, {0: read})
        if until is not None and read < len(announced):
            assert until < announced[read]
