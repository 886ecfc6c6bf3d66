"""Which look a segment gets: what always needs a full look, what a glance is enough for, and how far apart full looks can be."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.sampling.glance import Glance, glance
from streams import scoring
from streams.events import FullReason, SegmentEvent
from streams.scoring.distance import (
    LARGEST,
    LEAST,
    MOST,
    Spread,
    damage,
    distance,
    first_spread,
    names,
    usual_deviations,
    values_of,
)
from streams.scoring.tiers import (
    Facts,
    Plan,
    StreamTier,
    TierLimits,
    asked_by,
    differences_to,
    is_repeat,
    plan,
    with_full_look,
    with_glance,
    with_score,
    with_skipped,
)
from tests.support.alerts import make_score
from tests.support.glances import make_glance
from tests.support.media import face_frames, write_frames

LIMITS = TierLimits()
PICTURED = (0, 1, 2)
"""The kinds of damage that a picture shows by itself: blur, upscaling, noise."""

BEGIN = datetime(2026, 5, 1, tzinfo=UTC)


def segment(sequence: int, late: float = 0.0) -> SegmentEvent:
    """A segment of two seconds. late: seconds after its place."""
    start = BEGIN + timedelta(seconds=2 * sequence + late)
    return SegmentEvent(stream_id="s", segment_id=str(sequence), sequence=sequence, uri="file:///s", start=start, duration=2.0)


def looked_at(sequence: int = 0, glance: Glance | None = None) -> StreamTier:
    """The state after a full look whose score may be rested on."""
    return with_full_look(None, Facts(segment(sequence), "m", glance or make_glance()))


def final(state: StreamTier | None, seen: Glance, of: SegmentEvent, model: str = "m") -> tuple[Plan, Facts]:
    """The last plan for a segment, and what was known of it. seen: what a look at its keyframe shows."""
    facts = Facts(of, model)
    step = plan(state, facts, LIMITS)
    for _ in range(2):
        if step.step == "headers":
            facts = Facts(of, model, Glance(seen.bitstream))
        elif step.step == "keyframe":
            facts = Facts(of, model, seen, tried=True)
        else:
            break
        step = plan(state, facts, LIMITS)
    assert step.step in ("glance", "full"), "two looks are enough to know"
    return step, facts


def test_a_new_stream_gets_a_full_look_before_anything_is_read() -> None:
    assert plan(None, Facts(segment(0), "m"), LIMITS) == Plan("full", "start")


def test_a_segment_as_the_one_before_gets_a_glance_at_its_packets_alone() -> None:
    step, facts = final(looked_at(), make_glance(), segment(1))
    assert step.step == "glance"
    assert not facts.tried


def test_where_the_packets_moved_the_keyframe_decides() -> None:
    moved = make_glance(packets=4.0)
    assert plan(looked_at(), Facts(segment(1), "m", Glance(moved.bitstream)), LIMITS).step == "keyframe"
    assert final(looked_at(), moved, segment(1))[0].step == "glance"
    step, _ = final(looked_at(), make_glance(packets=5.0, picture=4.0), segment(1))
    assert (step.step, step.reason) == ("full", "changed")


def test_a_keyframe_is_looked_at_now_and_then_also_where_the_packets_are_as_before() -> None:
    """The light can change, or the camera, without that the packets show it."""
    state, tried = looked_at(), []
    for sequence in range(1, 8):
        step, facts = final(state, make_glance(), segment(sequence))
        assert step.step == "glance"
        state = with_glance(state, facts)
        tried.append(facts.tried)
    assert tried == [False, False, True, False, False, True, False]
    due = replace(looked_at(), unseen=LIMITS.seen - 1)
    assert plan(due, Facts(segment(1), "m"), LIMITS).step == "keyframe", "packets are not read twice where the keyframe is due"
    without = looked_at()
    for sequence in range(1, 8):
        step, facts = final(without, make_glance(picture=None, keyframes=0), segment(sequence))
        assert step.step == "glance", "segments without a keyframe are judged by their packets alone"
        without = with_glance(without, facts)


def test_a_keyframe_that_is_due_is_waited_for_where_most_segments_have_none() -> None:
    state = replace(looked_at(), unseen=LIMITS.seen - 1)
    for sequence in range(1, 4):
        step, facts = final(state, make_glance(picture=None, keyframes=0), segment(sequence))
        assert step.step == "glance"
        state = with_glance(state, facts)
    _, facts = final(state, make_glance(), segment(4))
    assert facts.tried
    assert with_glance(state, facts).unseen == 0


@pytest.mark.parametrize("kind", PICTURED)
@pytest.mark.parametrize("sign", [1, -1])
def test_damage_that_few_numbers_show_gets_a_full_look(kind: int, sign: int) -> None:
    """Light blur takes away fine detail and leaves all else. A stream that becomes good again is looked at as well."""
    state = replace(looked_at(), unseen=LIMITS.seen - 1)
    for far, step in ((LIMITS.damage - 1, "glance"), (LIMITS.damage + 0.5, "full")):
        damaged = make_glance(damage=sign * far, kind=kind)
        assert distance(values_of(damaged) - state.reference, first_spread()) < LIMITS.distance
        assert final(state, damaged, segment(1))[0].step == step


@pytest.mark.parametrize("picture", [None, 0.0])
def test_packets_that_moved_without_a_keyframe_that_can_be_decoded_get_a_full_look(picture: float | None) -> None:
    without = make_glance(packets=8.0, picture=None, keyframes=0 if picture is None else 1)
    step, _ = final(looked_at(), without, segment(1))
    assert (step.step, step.reason) == ("full", "changed")


@pytest.mark.parametrize(
    ("glance", "reason"),
    [
        (make_glance(codec="hevc"), "format"),
        (make_glance(width=1280), "format"),
        (make_glance(fps=15.0), "format"),
        (make_glance(packets=5.0, black=0.95), "black"),
        (make_glance(other_bytes=500.0), "frozen"),
    ],
)
def test_what_a_picture_like_the_last_one_could_hide_gets_a_full_look(glance: Glance, reason: str) -> None:
    """A frozen stream's keyframes are as good as ever, and a black one's may be missing."""
    step, _ = final(looked_at(), glance, segment(1))
    assert (step.step, step.reason) == ("full", reason)


@pytest.mark.parametrize(
    ("of", "reason"),
    [(segment(2), "gap"), (segment(1, late=1.5), "gap"), (segment(1, late=-1.5), "gap"), (segment(0, late=100), "gap")],
)
def test_a_gap_gets_a_full_look(of: SegmentEvent, reason: str) -> None:
    assert final(looked_at(), make_glance(), of)[0].reason == reason


def test_segments_that_are_skipped_because_of_too_much_work_are_no_gap() -> None:
    state = looked_at()
    for sequence in range(1, 5):
        state = with_skipped(state, segment(sequence))
    assert final(state, make_glance(), segment(5))[0].step == "glance"
    assert with_skipped(state, segment(9)) == state
    assert final(with_skipped(state, segment(9)), make_glance(), segment(10))[0].reason == "gap"


def test_another_model_and_what_the_last_score_asks_for_get_a_full_look() -> None:
    assert final(looked_at(), make_glance(), segment(1), model="other")[0].reason == "model"
    assert final(with_score(looked_at(), "again", None, None, LIMITS), make_glance(), segment(1))[0].reason == "again"


def test_a_repeat_is_none_of_the_next_segments() -> None:
    assert is_repeat(looked_at(5), segment(5))
    assert is_repeat(looked_at(5), segment(3))
    assert not is_repeat(looked_at(5), segment(6))
    restarted = segment(0).model_copy(update={"start": BEGIN + timedelta(hours=1)})
    assert not is_repeat(looked_at(5), restarted), "the packager's numbers began anew"


reasons = st.sampled_from([None, None, None, "again", "alert"])
glances = st.builds(
    make_glance,
    packets=st.floats(-10, 10),
    picture=st.one_of(st.none(), st.floats(-6, 6)),
    black=st.floats(0, 1),
    fps=st.sampled_from([25.0, 24.0, 12.0]),
    keyframes=st.integers(0, 2),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(glances, reasons, st.sampled_from([1, 1, 1, 1, 2])), max_size=40))
def test_whatever_comes_a_glance_rests_on_a_full_look_of_the_same_format_and_none_is_overdue(
    course: list[tuple[Glance, FullReason | None, int]],
) -> None:
    limits = TierLimits(due=7)
    state: StreamTier | None = None
    sequence = since = 0
    for seen, asks, step in course:
        sequence += step
        of = segment(sequence)
        facts = Facts(of, "m")
        step_of_plan = plan(state, facts, limits)
        looks = 0
        while step_of_plan.step in ("headers", "keyframe"):
            facts = Facts(of, "m", seen if looks else Glance(seen.bitstream), tried=bool(looks))
            looks += 1
            step_of_plan = plan(state, facts, limits)
        assert looks <= 2
        if step_of_plan.step == "glance":
            assert state is not None
            assert state.asks is None
            assert (seen.bitstream.width, seen.bitstream.codec) == (state.format.width, state.format.codec)
            assert step == 1
            state, since = with_glance(state, facts), since + 1
        else:
            differences = differences_to(state, seen)
            state, since = with_score(with_full_look(state, Facts(of, "m", seen)), asks, 0.0, differences, limits), 0
        assert since < limits.due
        low, high = LEAST * usual_deviations(), MOST * usual_deviations()
        learned = state.spread.deviations()
        assert np.all((learned >= low - 1e-9) & (learned <= high + 1e-9) | np.isnan(learned))


@given(st.floats(-30, 30), st.floats(0, 30))
def test_a_distance_is_0_for_the_same_and_grows_with_the_difference_up_to_a_bound(far: float, more: float) -> None:
    spread, usual = first_spread(), usual_deviations()
    assert distance(0 * usual, spread) == 0
    assert distance(far * usual, spread) == pytest.approx(min(abs(far), LARGEST))
    assert distance((abs(far) + more) * usual, spread) >= distance(far * usual, spread)


def test_a_distance_of_nothing_that_can_be_compared_is_0() -> None:
    assert distance(usual_deviations() * np.nan, first_spread()) == 0


def test_a_stream_that_moves_is_judged_by_what_is_usual_for_it() -> None:
    usual = usual_deviations()
    restless: Spread = first_spread()
    calm: Spread = first_spread()
    for sign in (1, -1) * 30:
        restless = restless.with_differences(sign * 2.0 * usual)
        calm = calm.with_differences(sign * 0.1 * usual)
    assert distance(3 * usual, restless) < 2.0 < distance(3 * usual, first_spread()) < distance(3 * usual, calm)
    wild = first_spread().with_differences(1000 * usual)
    assert distance(6 * usual, wild) > 2.0, "one segment that was called unchanged by mistake does not blind the plan"


@pytest.mark.parametrize(
    ("change", "is_damage"),
    [
        ("gblur=sigma=1.6", True),
        ("scale=-2:180,scale=-2:360", True),
        ("noise=alls=14:allf=t", True),
        ("eq=brightness=-0.04", False),
        ("hflip", False),
    ],
)
def test_light_damage_is_told_from_other_light_and_another_view(tmp_path: Path, change: str, is_damage: bool) -> None:
    frames = face_frames(640, 360, 0.3, 10)
    values = []
    for number, filters in enumerate(("null", change)):
        options = ("-vf", filters, "-crf", "24", "-pix_fmt", "yuv420p")
        values.append(values_of(glance(write_frames(tmp_path / f"{number}.mp4", frames, 10, options), sound=False)))
    differences = values[1] - values[0]
    assert (damage(differences, first_spread()) >= LIMITS.damage) == is_damage


def test_how_far_a_stream_moves_along_damage_is_learned_too() -> None:
    """The focus of a camera that breathes moves fine detail all the time."""
    still = values_of(make_glance())
    blurred = values_of(make_glance(damage=4.0)) - still
    restless = calm = first_spread()
    for sign in (1, -1) * 30:
        restless = restless.with_differences(values_of(make_glance(damage=sign * 2.0)) - still)
        calm = calm.with_differences(values_of(make_glance(damage=sign * 0.1)) - still)
    new = damage(blurred, first_spread())
    assert damage(blurred, restless) < LIMITS.damage < new
    assert damage(blurred, calm) == pytest.approx(new / LEAST), "a still picture's every flicker is no damage"
    wild = first_spread().with_differences(1000 * blurred)
    assert damage(2 * blurred, wild) > LIMITS.damage, "one segment that was called unchanged by mistake does not blind the plan"


def test_packets_alone_say_nothing_of_damage_and_teach_nothing_of_it() -> None:
    unseen = values_of(make_glance(packets=3.0, picture=None)) - values_of(make_glance())
    assert damage(unseen, first_spread()) == 0
    assert np.array_equal(first_spread().with_differences(unseen).damage, first_spread().damage)


def test_a_number_that_is_unknown_is_left_out_of_the_damage() -> None:
    """Other codecs than H.264 and HEVC have no quantiser."""
    differences = values_of(make_glance(damage=5.0)) - values_of(make_glance())
    known = damage(differences, first_spread())
    differences[names().index("qp_mean")] = np.nan
    assert damage(differences, first_spread()) == known > LIMITS.damage


def test_the_tables_name_numbers_that_a_glance_has() -> None:
    for table in ("usual_changes.json", "damage_directions.json"):
        content = json.loads((Path(scoring.__file__).parent / table).read_text())
        for numbers in content.values() if table.startswith("damage") else [content]:
            assert set(numbers) <= set(names())


def test_a_full_look_that_finds_the_same_score_teaches_what_is_usual() -> None:
    state = looked_at()
    far = make_glance(packets=5.0, picture=3.0)
    taught = worse = state
    for _ in range(20):
        taught = with_score(taught, None, 2.0, differences_to(state, far), LIMITS)
        worse = with_score(worse, None, -20.0, differences_to(state, far), LIMITS)
    assert worse.spread is state.spread, "another score says that something changed"
    assert final(state, far, segment(1))[0].reason == "changed"
    assert final(taught, far, segment(1))[0].step == "glance"


@pytest.mark.parametrize(
    ("score", "before", "undecided", "picture", "asks"),
    [
        (70.0, 72.0, False, True, None),
        (70.0, None, False, True, "again"),
        (70.0, 80.0, False, True, "again"),
        (80.0, 70.0, False, True, "again"),
        (70.0, 72.0, True, True, "alert"),
        (70.0, 72.0, True, False, "no-picture"),
    ],
)
def test_what_a_score_asks_for(score: float, before: float | None, undecided: bool, picture: bool, asks: str | None) -> None:
    assert asked_by(make_score(0, score, uncertainty=5.0), before, undecided, picture, LIMITS) == asks


def test_a_score_that_the_model_is_not_sure_of_is_not_rested_on() -> None:
    assert asked_by(make_score(0, 70.0, uncertainty=25.0), 70.0, False, True, LIMITS) == "uncertain"
