"""Which segments go deep: the share holds, controls come evenly, the urgent come first, and no stream takes all."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.scoring import deep_plan
from streams.scoring.deep_plan import BURST, Course, DeepLimits, DeepPlan, Facts

ROOM = 1000
GOOD, LOW, UNSURE = (80.0, 5.0), (20.0, 5.0), (80.0, 30.0)


def facts(stream: str, values: tuple[float, float] = GOOD, course: Course = "steady", sequence: int = 0) -> Facts:
    return Facts(stream, sequence, course, *values)


any_facts = st.builds(
    Facts,
    stream=st.sampled_from([f"s{number}" for number in range(40)]),
    sequence=st.integers(0, 5),
    course=st.sampled_from(["steady", "changing", "alert", "no-picture"]),
    score=st.floats(0, 100),
    uncertainty=st.floats(0, 40),
    can_go_deep=st.booleans(),
)


@settings(max_examples=60)
@given(
    workers=st.lists(st.lists(st.lists(any_facts, min_size=1, max_size=8), max_size=60), min_size=1, max_size=4),
    share=st.sampled_from([0.0, 0.001, 0.05, 0.3, 1.0]),
    room=st.integers(0, 20),
)
def test_the_share_holds_over_all_workers_whatever_comes(workers: list[list[list[Facts]]], share: float, room: int) -> None:
    segments = deep = 0
    for batches in workers:
        plan = DeepPlan(DeepLimits(share))
        for batch in batches:
            reasons = plan.plan(batch, room)
            taken = sum(reason is not None for reason in reasons)
            assert taken <= room
            segments += len(batch)
            deep += taken
            for segment, reason in zip(batch, reasons, strict=True):
                assert reason is None or (segment.can_go_deep and segment.course != "no-picture")
    assert deep <= share * segments + 1e-6, "each worker starts with an empty bucket, so there is no burst to add"


@pytest.mark.parametrize("share", [0.02, 0.05, 0.3])
def test_no_stretch_has_more_than_its_share_and_a_burst(share: float) -> None:
    """After quiet hours, an incident on all streams at once."""
    plan, rng = DeepPlan(DeepLimits(share)), random.Random(0)
    taken: list[int] = []
    for number in range(20_000):
        course: Course = "alert" if number > 15_000 else "steady"
        taken += [reason is not None for reason in plan.plan([facts(f"s{rng.randrange(500)}", course=course)], ROOM)]
    for length in (100, 1000, 5000):
        most = max(sum(taken[start : start + length]) for start in range(0, len(taken) - length + 1, 50))
        assert most <= share * length + BURST
    assert sum(taken[15_001:]) >= share * 4_999 - 1, "and where there is a need, the share is used"


@pytest.mark.parametrize("share", [0.02, 0.05, 0.3])
def test_each_stream_has_its_controls_and_they_do_not_depend_on_the_quality(share: float) -> None:
    limits = DeepLimits(share)
    plan, rng = DeepPlan(limits), random.Random(1)
    streams, rounds = 60, 6 * limits.control_every
    controls: Counter[str] = Counter()
    when: Counter[int] = Counter()
    of_values: Counter[tuple[float, float]] = Counter()
    seen: Counter[tuple[float, float]] = Counter()
    for number in range(rounds):
        for stream in range(streams):
            values = rng.choices([GOOD, LOW, UNSURE], [6, 3, 1])[0]
            seen[values] += 1
            if plan.plan([facts(str(stream), values)], ROOM) == ["control"]:
                controls[str(stream)] += 1
                of_values[values] += 1
                when[number // limits.control_every] += 1
    assert set(controls.values()) <= {5, 6}, "one of every so many segments, whatever else is wanted"
    for values, count in seen.items():
        expected = count / limits.control_every
        assert of_values[values] == pytest.approx(expected, abs=4 * expected**0.5), "at the rate at which such segments come"
    assert max(when.values()) - min(when.values()) <= 3, "and as many in each stretch of time"


def test_controls_of_streams_that_start_together_come_at_different_times() -> None:
    limits = DeepLimits(0.05)
    plan = DeepPlan(limits)
    rounds = [
        sum(reason == "control" for stream in range(400) for reason in plan.plan([facts(str(stream))], ROOM))
        for _ in range(2 * limits.control_every)
    ]
    assert max(rounds) < 20
    assert sum(rounds) == pytest.approx(2 * 400, abs=10)


def test_the_most_urgent_goes_first_where_tokens_are_short_and_none_is_left_out() -> None:
    plan = DeepPlan(DeepLimits(0.2))
    batch = [facts("unsure", UNSURE), facts("low", LOW), facts("falling", LOW, "changing"), facts("alert", LOW, "alert")]
    order = [reason for _ in range(4000) for reason in plan.plan(batch, ROOM) if reason not in (None, "control")]
    assert list(dict.fromkeys(order)) == ["alert", "changing", "low", "uncertain"]
    counts = Counter(order)
    assert counts["alert"] > 1.5 * counts["changing"] > 2 * counts["low"] > 2.5 * counts["uncertain"] > 0


def test_uncertain_segments_leave_tokens_for_an_alert() -> None:
    """Streams that are always uncertain have used what they can get; an alert then goes deep at its first segment."""
    plan, rng = DeepPlan(DeepLimits(0.05)), random.Random(2)
    for _ in range(5000):
        plan.plan([facts(f"s{rng.randrange(50)}", UNSURE)], ROOM)
    fresh = [plan.plan([facts("new", LOW, "alert")], ROOM)[0]]
    assert fresh == ["alert"]


@pytest.mark.parametrize(("course", "values"), [("alert", LOW), ("steady", LOW), ("steady", UNSURE)])
def test_streams_that_want_the_same_get_the_same(course: Course, values: tuple[float, float]) -> None:
    plan = DeepPlan(DeepLimits(0.05))
    looks = Counter({str(stream): 0 for stream in range(20)})
    for _ in range(3000):
        # In a fixed order within each round, as packagers that are aligned to the clock send them.
        for stream in range(20):
            looks[str(stream)] += plan.plan([facts(str(stream), values, course)], ROOM)[0] is not None
    counts = list(looks.values())
    jain = sum(counts) ** 2 / (len(counts) * sum(count * count for count in counts))
    assert jain > 0.97
    assert sum(counts) == pytest.approx(0.05 * 60_000, rel=0.01)


def test_a_stream_with_many_segments_does_not_take_what_others_need() -> None:
    plan, rng = DeepPlan(DeepLimits(0.05)), random.Random(4)
    looks: Counter[str] = Counter()
    for _ in range(40_000):
        stream = "loud" if rng.random() < 0.8 else f"quiet{rng.randrange(10)}"
        looks[stream] += plan.plan([facts(stream, LOW)], ROOM)[0] is not None
    quiet = [count for stream, count in looks.items() if stream != "loud"]
    assert len(quiet) == 10
    assert looks["loud"] < sum(looks.values()) / 3, "it has four fifths of the segments"
    assert max(quiet) < 1.5 * min(quiet)


def test_a_stream_that_is_alone_gets_every_token() -> None:
    plan = DeepPlan(DeepLimits(0.05))
    assert sum(plan.plan([facts("only", LOW)], ROOM)[0] is not None for _ in range(4000)) >= 0.05 * 4000 - BURST


def test_what_is_not_taken_for_want_of_room_is_kept() -> None:
    plan = DeepPlan(DeepLimits(0.5))
    for _ in range(100):
        assert plan.plan([facts("s", LOW, "alert")], 0) == [None]
    assert plan.plan([facts("s", LOW, "alert")], 1) == ["control"], "overdue, once"
    assert plan.plan([facts("other", LOW, "alert")], 1) == ["alert"]


def test_a_control_that_had_to_wait_does_not_shift_those_after_it() -> None:
    limits = DeepLimits(1.0)
    plan = DeepPlan(limits)
    reasons = [plan.plan([facts("s")], 0 if number < 12 else ROOM)[0] for number in range(40)]
    places = [number for number, reason in enumerate(reasons) if reason == "control"]
    assert places[0] == 12
    assert {(later - places[1]) % limits.control_every for later in places[1:]} == {0}
    assert places[1] - places[0] <= limits.control_every


def test_streams_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep_plan, "MOST_STREAMS", 50)
    plan = DeepPlan(DeepLimits(0.05))
    for number in range(1000):
        plan.plan([facts(f"s{number}", LOW), facts("busy", LOW)], ROOM)
    assert len(plan._streams) == 50
    assert "busy" in plan._streams


def test_short_streams_have_controls_too() -> None:
    """A stream that ends before its first control would be missing otherwise, and short streams with it."""
    limits = DeepLimits(0.05)
    plan = DeepPlan(limits)
    controls = sum(
        reason == "control" for stream in range(3000) for _ in range(10) for reason in plan.plan([facts(f"s{stream}")], ROOM)
    )
    assert controls == pytest.approx(30_000 / limits.control_every, rel=0.25)
