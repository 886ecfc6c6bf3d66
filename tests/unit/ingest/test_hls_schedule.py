"""When a playlist is loaded next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.ingest.hls.schedule import (
    LONGEST,
    LONGEST_LOAD,
    SEARCHES,
    SHORTEST,
    Outcome,
    longest_load,
    next_load,
    search,
    stay_of,
)

TARGETS = st.floats(0.001, 3600)
OUTCOMES: st.SearchStrategy[Outcome] = st.sampled_from(["changed", "unchanged", "failed", "ended"])


def test_a_playlist_that_changed_is_loaded_again_after_a_target_duration_or_its_last_segment() -> None:
    assert next_load("changed", 6.0, newest=6.0) == 6.0
    assert next_load("changed", 6.0, newest=2.0) == 2.0
    assert next_load("changed", 6.0, newest=9.0) == 6.0
    assert next_load("changed", 6.0) == 6.0


def test_one_that_did_not_change_after_half_of_it() -> None:
    assert next_load("unchanged", 6.0, newest=2.0) == 3.0


def test_one_whose_segments_soon_leave_it_before_half_of_them_can_have_left() -> None:
    assert (stay_of([8.0, 1.0, 2.0]), stay_of([])) == (3.0, LONGEST)
    assert next_load("unchanged", 10.0, newest=2.0, stay=stay_of([2.0, 2.0, 2.0])) == 3.0
    assert next_load("changed", 8.0, newest=8.0, stay=stay_of([1.0, 2.0, 8.0])) == 1.5
    assert next_load("unchanged", 8.0, stay=stay_of([0.1])) == SHORTEST


def test_a_short_rest_before_a_break_does_not_make_loads_frequent() -> None:
    assert next_load("unchanged", 6.0, stay=stay_of([6.0, 6.0, 6.0, 6.0, 6.0, 0.2])) == 3.0
    assert stay_of([6.0, 0.2, 0.2]) == 3 * 0.2


@pytest.mark.parametrize("count", [2, 3, 6])
def test_steady_segments_are_looked_for_as_ever(count: int) -> None:
    stay = stay_of([2.0] * count)
    assert (next_load("changed", 2.0, 2.0, stay=stay), next_load("unchanged", 2.0, 2.0, stay=stay)) == (2.0, 1.0)


def test_one_that_is_complete_every_ten_seconds() -> None:
    assert next_load("ended", 2.0) == 10.0


@pytest.mark.parametrize(("failing", "pause"), [(0, 1.0), (29, 1.0), (31, 2.0), (61, 4.0), (91, 8.0), (121, 10.0), (1e9, 10.0)])
def test_one_that_fails_is_tried_often_at_first(failing: float, pause: float) -> None:
    assert next_load("failed", 2.0, failing=failing) == pause


def test_a_server_that_asks_to_be_left_alone_is() -> None:
    assert next_load("failed", 2.0, retry_after=40.0) == 40.0


@given(OUTCOMES, TARGETS, st.none() | TARGETS, st.floats(0, 1e9), st.floats(0, 60), st.floats(0, 1))
def test_no_playlist_makes_loads_too_often_or_never(
    outcome: Outcome, target: float, newest: float | None, failing: float, retry_after: float, chance: float
) -> None:
    assert SHORTEST <= next_load(outcome, target, newest, failing, retry_after, chance) <= LONGEST


@given(TARGETS, st.floats(0, 1e9), st.floats(0, 1e9), st.floats(0, 1))
def test_a_source_that_fails_longer_is_never_asked_more_often(target: float, short: float, more: float, chance: float) -> None:
    soon = next_load("failed", target, failing=short, chance=chance)
    assert next_load("failed", target, failing=short + more, chance=chance) >= soon


@given(TARGETS)
def test_a_load_takes_three_targets_at_most(target: float) -> None:
    assert SHORTEST <= longest_load(target) <= LONGEST_LOAD


@given(st.floats(0, 1, exclude_max=True))
def test_after_a_few_loads_each_segment_is_seen_within_a_quarter_of_a_target_duration(late: float) -> None:
    """late: after which part of a segment's time the first load comes. Segment k appears at time k."""
    now, seen, tries = late, 0, SEARCHES
    outcome: Outcome
    for load in range(12):
        newest = int(now)
        outcome = "changed" if load == 0 or newest > seen else "unchanged"
        if load > SEARCHES:
            assert now - newest < 0.25 + 1e-9
        tries, factor = search(tries, outcome, newest - seen, window=6)
        seen = newest
        now += factor * next_load(outcome, 2.0, 2.0) / 2.0


def test_a_short_playlist_is_never_loaded_late() -> None:
    assert search(SEARCHES, "changed", 1, window=3) == (SEARCHES, 1.0)


def test_after_a_failure_it_is_found_out_anew() -> None:
    assert search(0, "failed", 0, window=6) == (SEARCHES, 1.0)


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 3))
def test_no_load_is_put_off_by_more_than_two_segments(late: float, unchanged: int) -> None:
    """unchanged: loads that bring nothing before the first segment."""
    tries = SEARCHES
    for _ in range(unchanged):
        tries, factor = search(tries, "unchanged", 0, window=6)
        assert factor == 1.0
    pauses = []
    now, seen = late, 0
    for _ in range(10):
        tries, factor = search(tries, "changed", int(now) - seen, window=6)
        seen = int(now)
        pauses.append(factor)
        now += factor
    assert max(pauses) <= 1.75
    assert sum(pauses) - len(pauses) <= 2.0
    assert pauses[-1] == 1.0
