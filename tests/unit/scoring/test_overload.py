"""What is left out when there is too much: the same share of every stream, and priorities last."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.scoring import overload
from streams.scoring.overload import LEAST_SHARE, Shedder, has_priority, share_kept

WINDOW = 60.0


@pytest.mark.parametrize(
    ("labels", "priority"),
    [
        ({}, False),
        ({"priority": "high"}, True),
        ({"priority": "1"}, True),
        ({"priority": "True"}, True),
        ({"priority": " Low "}, False),
        ({"priority": "0"}, False),
        ({"tier": "high"}, False),
    ],
)
def test_the_label_says_which_streams_come_first(labels: dict[str, str], priority: bool) -> None:
    assert has_priority(labels) is priority


def test_nothing_is_left_out_after_a_short_wait() -> None:
    shedder = Shedder(WINDOW)

    assert all(shedder.keeps("a", False, waited) for waited in (-5.0, 0.0, 23.0, 24.0))


@given(st.floats(-10, 200), st.floats(0, 60), st.booleans())
def test_who_waits_longer_is_left_out_more_and_a_priority_never_more_than_the_others(
    waited: float, more: float, priority: bool
) -> None:
    share = share_kept(waited, WINDOW, priority)

    assert LEAST_SHARE <= share_kept(waited + more, WINDOW, priority) <= share <= 1
    assert share_kept(waited, WINDOW, True) >= share_kept(waited, WINDOW, False)


@given(
    st.lists(st.text(max_size=8), min_size=1, max_size=12, unique=True), st.lists(st.floats(24.1, 59.9), min_size=50, max_size=80)
)
def test_every_stream_keeps_the_same_number_of_its_segments_whatever_the_waits(streams: list[str], waits: list[float]) -> None:
    shedder = Shedder(WINDOW)

    kept = {stream: sum(shedder.keeps(stream, False, waited) for waited in waits) for stream in sorted(streams)}

    fair = sum(share_kept(waited, WINDOW, False) for waited in waits)
    assert all(fair - 1 <= count <= fair + 1 for count in kept.values())


def test_streams_that_come_together_do_not_lose_the_same_segments() -> None:
    shedder = Shedder(WINDOW)

    kept = [sum(shedder.keeps(f"channel-{number}", False, 37.0) for number in range(1000)) for _ in range(6)]

    assert all(400 < count < 600 for count in kept)


def test_twice_too_much_settles_within_the_window_with_all_priorities_scored() -> None:
    # 40 streams, a fifth of them with priority, a segment a second each; the workers score 20 a second.
    shedder = Shedder(WINDOW)
    queue: list[tuple[float, int]] = []
    scored = dict.fromkeys(range(40), 0)
    longest = 0.0
    for second in range(900):
        queue += [(float(second), stream) for stream in range(40)]
        room = 20
        while queue and room:
            sent, stream = queue.pop(0)
            waited = second + 1 - sent
            longest = max(longest, waited)
            if waited <= WINDOW and shedder.keeps(str(stream), stream % 5 == 0, waited):
                room -= 1
                scored[stream] += second >= 300

    ordinary = [count for stream, count in scored.items() if stream % 5]
    assert longest < 0.7 * WINDOW
    assert all(scored[stream] > 595 for stream in range(0, 40, 5))
    assert min(ordinary) > 200
    assert sum(ordinary) ** 2 / (len(ordinary) * sum(count**2 for count in ordinary)) > 0.99, "Jain's index of fairness"


def test_no_more_streams_are_remembered_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overload, "MOST_STREAMS", 3)
    shedder = Shedder(WINDOW)

    for number in range(10):
        shedder.keeps(str(number), False, 45.0)

    assert list(shedder._credit) == ["7", "8", "9"]
