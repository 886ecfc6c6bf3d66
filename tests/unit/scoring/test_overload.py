"""What is left out when there is too much: the same share of every stream, and priorities last."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.events import SegmentEvent
from streams.kafka.arrivals import Arrivals
from streams.scoring import overload
from streams.scoring.overload import LEAST_SHARE, PRIORITY, Freshness, Shedder, has_priority, share_kept

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


@given(streams=st.dictionaries(st.text(max_size=8), st.floats(0, 59.9), min_size=1, max_size=12), rounds=st.integers(50, 80))
def test_every_stream_keeps_the_same_number_of_its_segments_whatever_it_waits_itself(
    streams: dict[str, float], rounds: int
) -> None:
    shedder = Shedder(WINDOW)

    kept = dict.fromkeys(streams, 0)
    for _ in range(rounds):
        for stream, waited in streams.items():
            kept[stream] += shedder.keeps(stream, False, waited)

    # Before the longest wait was seen, the first round may keep more.
    fair = rounds * share_kept(max(streams.values()), WINDOW, False)
    assert all(fair - 1 <= count <= fair + 2 for count in kept.values())


def test_streams_that_come_together_do_not_lose_the_same_segments() -> None:
    shedder = Shedder(WINDOW)

    kept = [sum(shedder.keeps(f"channel-{number}", False, 34.0) for number in range(1000)) for _ in range(6)]

    assert all(400 < count < 600 for count in kept)


@pytest.mark.parametrize("sizes", [(40,), (25, 15), (20, 10, 6, 4)])
def test_twice_too_much_settles_within_the_window_with_all_priorities_scored(sizes: Sequence[int]) -> None:
    # 40 streams, a fifth of them with priority, a segment a second each; the workers score 20 a second. They read the partitions
    # in turn, and the streams are unevenly over them.
    shedder = Shedder(WINDOW)
    partition_of = [number for number, size in enumerate(sizes) for _ in range(size)]
    queues: list[deque[tuple[float, int]]] = [deque() for _ in sizes]
    scored = dict.fromkeys(range(40), 0)
    longest = 0.0
    for second in range(900):
        for stream in range(40):
            queues[partition_of[stream]].append((float(second), stream))
        room = 20
        while room and any(queues):
            for queue in queues:
                if not queue or not room:
                    continue
                sent, stream = queue.popleft()
                waited = second + 1 - sent
                longest = max(longest, waited)
                if waited <= WINDOW and shedder.keeps(str(stream), stream % 5 == 0, waited):
                    room -= 1
                    scored[stream] += second >= 300

    ordinary = [count for stream, count in scored.items() if stream % 5]
    assert longest < PRIORITY[0] * WINDOW, "no segment with a priority is left out"
    assert all(scored[stream] > 595 for stream in range(0, 40, 5))
    assert min(ordinary) > 200
    assert sum(ordinary) ** 2 / (len(ordinary) * sum(count**2 for count in ordinary)) > 0.99, "Jain's index of fairness"


@pytest.mark.parametrize("renditions", [("720p", "360p"), ("1080p", "720p", "540p", "360p", "240p")])
@pytest.mark.parametrize("waits", [33.0, 36.0, 45.0, 59.0])
def test_every_rendition_of_a_stream_keeps_its_part(renditions: Sequence[str], waits: float) -> None:
    freshness = Freshness(WINDOW)
    kept = dict.fromkeys(renditions, 0)

    for number in range(100):
        for rendition in renditions:
            start = datetime.fromtimestamp(time.time() - waits - 2, UTC)
            event = SegmentEvent(
                stream_id="s",
                segment_id=str(number),
                sequence=number,
                uri="http://x/a.ts",
                start=start,
                duration=2,
                rendition=rendition,
            )
            kept[rendition] += freshness.shed(event, None) is None

    fair = 100 * share_kept(waits, WINDOW, False)
    assert all(fair - 3 <= count <= fair + 3 for count in kept.values())


def test_no_more_streams_are_remembered_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overload, "MOST_RENDITIONS", 3)
    shedder = Shedder(WINDOW)

    for number in range(10):
        shedder.keeps(str(number), False, 45.0)

    assert list(shedder._credit) == ["7", "8", "9"]


class Queue:
    """A partition as a worker reads it, with looks at its end, and what is shed of it."""

    def __init__(self) -> None:
        self.arrivals, self.freshness = Arrivals(), Freshness(WINDOW)
        self._offset = 0

    def look(self, waits: float) -> None:
        """What comes after this look waits for so many seconds."""
        self.arrivals.note({0: self._offset}, time.time() - waits)

    def sheds(self, stream: str, waits: float, behind: float) -> bool:
        """Whether the next segment is shed. behind: what its own times are before its arrival, seconds."""
        now, offset = time.time(), self._offset
        self._offset += 1
        sent = now - waits - behind
        start = datetime.fromtimestamp(sent - 2, UTC)
        event = SegmentEvent(
            stream_id=stream, segment_id=f"{stream}/{offset}", sequence=offset, uri="http://x/a.ts", start=start, duration=2
        )
        return self.freshness.shed(event, self.arrivals.earliest(0, offset, sent)) is not None


@pytest.mark.parametrize("behind", [20.0, 30.0, 45.0, 59.0])
def test_a_packager_whose_hosts_clock_is_behind_costs_no_stream_a_segment(behind: float) -> None:
    queue = Queue()

    for _ in range(20):
        queue.look(waits=5)
        shed = [queue.sheds(f"channel-{number}", 1.0, behind if number == 0 else 0.0) for number in range(100)]
        assert not any(shed)


def test_a_packager_that_sends_what_it_had_kept_costs_no_stream_a_segment() -> None:
    queue = Queue()

    for second in range(6):
        queue.look(waits=5)
        kept = [queue.sheds("was-away", 1.0, 50 - 2 * number) for number in range(25)] if second == 2 else []
        shed = kept + [queue.sheds(f"channel-{number}", 1.0, 0.0) for number in range(100)]
        assert not any(shed)


def test_a_worker_that_is_behind_sheds_of_all_streams_whatever_their_clocks_say() -> None:
    queue = Queue()

    shed = []
    for _ in range(20):
        queue.look(waits=36)
        shed += [queue.sheds(f"channel-{number}", 34.0, 40.0 if number == 0 else 0.0) for number in range(100)]

    assert 0.4 < sum(shed) / len(shed) < 0.7


def test_a_backlog_from_before_the_worker_came_is_judged_by_its_own_times() -> None:
    queue = Queue()
    queue.arrivals.note({0: 1000}, time.time())

    assert sum(queue.sheds("channel", 34.0, 0.0) for _ in range(100)) > 40
