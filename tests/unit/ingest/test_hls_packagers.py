"""Two packagers of one stream behind one address, each with numbers of its own; and encoders that look like the second one."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

import pytest

from streams.ingest.hls.values import MediaPlaylist
from tests.unit.ingest.test_hls_dates import NOW, followed, numbers, playlist


def of_other(first: int, shift: int, count: int = 5, dated: Collection[int] | None = None) -> MediaPlaylist:
    """The list of the other packager: what the first one numbers from `first` on, with numbers that are so much higher."""
    since = NOW - timedelta(seconds=2 * shift)
    return playlist(first + shift, count, dated=[number + shift for number in dated or [first]], since=since)


@pytest.mark.parametrize("shift", [5000, 60, 5, 4, 3, 2, 1, -1, -2, -3, -4, -7, -90])
@pytest.mark.parametrize("all_dated", [True, False])
def test_packagers_that_answer_in_turn_give_each_segment_once(shift: int, all_dated: bool) -> None:
    loads = []
    for first in range(100, 112):
        dated = range(first, first + 5) if all_dated else None
        loads.append(of_other(first, shift, dated=dated) if first % 2 else playlist(first, dated=dated))

    announced, restarts = followed(loads)

    starts = [(event.start - NOW).total_seconds() / 2 for events in announced for event in events]
    assert starts == list(range(104, 116))
    assert [event.sequence for events in announced for event in events] == list(range(12))
    assert restarts == 0


def test_a_packager_that_takes_over_from_another_goes_on_where_that_ended() -> None:
    announced, restarts = followed([playlist(100), playlist(101), of_other(103, 900), of_other(104, 900)])

    assert (numbers(announced), restarts) == ([[104], [105], [1006, 1007], [1008]], 0)


def test_an_encoder_that_restarts_with_its_clock_a_little_back_has_only_new_segments() -> None:
    young = [of_other(105, -105, count) for count in (1, 2, 3)]

    announced, restarts = followed([playlist(100), playlist(101), playlist(102), *young])

    assert numbers(announced)[3:] == [[], [], [0, 1, 2]]
    assert restarts == 1


@pytest.mark.parametrize("all_dated", [True, False])
def test_an_edge_that_is_far_behind_is_no_restart_however_often_it_answers(all_dated: bool) -> None:
    loads = [
        playlist(first, dated=range(first, first + 5) if all_dated else None) for first in (100, *[80] * 10, *range(81, 91), 101)
    ]

    announced, restarts = followed(loads)

    assert (numbers(announced), restarts) == ([[104], *[[]] * 20, [105]], 0)


def test_numbers_and_dates_that_follow_a_clock_which_was_set_back_are_followed_at_last() -> None:
    announced, restarts = followed([playlist(100), *(playlist(first) for first in range(20, 90))])

    assert restarts == 1
    assert numbers(announced)[-1] == [93]
