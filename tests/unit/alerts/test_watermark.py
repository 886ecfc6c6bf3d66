"""Until when a stream was silent for certain, and not only waiting to be scored."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.alerts.watermark import Watermark


def test_it_moves_when_everything_has_come_through() -> None:
    mark = Watermark()
    assert mark.advance(10, {0: 5}, {0: 3}, {0: 3}, {0: 3}) is None
    # All five are answered, and their scores end at 5; the caller has read 4.
    assert mark.advance(11, {0: 9}, {0: 5}, {0: 5}, {0: 4}) is None
    assert mark.advance(12, {0: 9}, {0: 6}, {0: 7}, {0: 5}) == 10


def test_a_stuck_scorer_holds_it() -> None:
    mark = Watermark()
    assert mark.advance(10, {0: 5, 1: 2}, {0: 5, 1: 2}, {0: 9}, {0: 9}) == 10
    for now in range(11, 600):
        assert mark.advance(now, {0: 5, 1: now}, {0: 5, 1: 2}, {0: 9}, {0: 9}) == 10


def test_an_idle_system_lets_it_follow_the_clock() -> None:
    mark = Watermark()
    assert [mark.advance(now, {0: 5}, {0: 5}, {0: 9}, {0: 9}) for now in (1, 2, 3)] == [1, 2, 3]
    assert mark.advance(4, {}, {}, {}, {}) == 4


def test_a_partition_that_another_has_now_is_not_waited_for() -> None:
    mark = Watermark()
    assert mark.advance(1, {0: 5}, {0: 5}, {0: 9, 1: 4}, {0: 9, 1: 3}) is None
    assert mark.advance(2, {0: 5}, {0: 5}, {0: 9}, {0: 9}) == 1


@given(st.data())
def test_it_never_passes_a_segment_that_is_on_its_way(data: st.DataObject) -> None:
    """A model of the system: segments are announced, answered, read; the mark is not beyond the first that is not read."""
    mark, announced, answered, read = Watermark(), [], 0, 0
    for now in range(1, 40):
        for action in data.draw(st.lists(st.sampled_from(["announce", "answer", "read"]), max_size=4)):
            if action == "announce":
                announced.append(float(now))
            elif action == "answer" and answered < len(announced):
                answered += 1
            elif action == "read" and read < answered:
                read += 1
        until = mark.advance(now + 0.5, {0: len(announced)}, {0: answered}, {0: answered}, {0: read})
        if until is not None and read < len(announced):
            assert until < announced[read]
