"""Finding drops in the scores of one stream."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.local.drops import describe, find_drops


def test_a_drop_and_its_recovery() -> None:
    (drop,) = find_drops([80, 81, 79, 80, 40, 35, 42, 78, 80])
    assert (drop.first, drop.recovered) == (4, 7)
    assert (drop.usual, drop.lowest, drop.after) == (80, 35, 78)
    text = describe(drop, [2.0 * i for i in range(9)])
    assert text == "quality drop from 80 to 35 at 0:08 (segment 4), recovered to 78 at 0:14 (segment 7)"


def test_a_drop_that_lasts_to_the_end() -> None:
    (drop,) = find_drops([80, 80, 30, 30])
    assert drop.recovered is None
    assert describe(drop, [0, 2, 4, 6]).endswith("not recovered")


def test_two_drops() -> None:
    assert [drop.first for drop in find_drops([80, 80, 50, 80, 80, 50, 80])] == [2, 5]


def test_noise_and_a_slow_decline_are_no_drops() -> None:
    assert find_drops([70, 75, 68, 72, 66, 73]) == []
    assert find_drops([]) == []


@given(st.lists(st.floats(0, 100), max_size=60))
def test_drops_do_not_overlap_and_end_within_the_scores(scores: list[float]) -> None:
    end = -1
    for drop in find_drops(scores):
        assert drop.first > end
        assert drop.lowest < drop.usual
        end = drop.recovered if drop.recovered is not None else len(scores)
        assert drop.first < end <= len(scores)
