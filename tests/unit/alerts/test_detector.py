"""Alert logic: what fires, what does not, and that everything fires once and resolves once."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.alerts.detector import close_all, open_alerts, step, tick
from streams.alerts.policy import default_limits, parse_policy
from streams.alerts.state import StreamState, from_json, to_json
from streams.events import QualityAlert, SegmentScore
from tests.support.alerts import BEGIN, fold, make_score

LIMITS = default_limits()
AFTER = LIMITS.no_segments.after


def course(*stretches: tuple[int, float], **fields: object) -> list[SegmentScore]:
    """Scores: so many segments at such a score, one stretch after the other."""
    values = [value for count, value in stretches for _ in range(count)]
    return [make_score(sequence, value, **fields) for sequence, value in enumerate(values)]


def names(alerts: list[QualityAlert]) -> list[tuple[str, str]]:
    return [(alert.kind, alert.state) for alert in alerts]


def test_a_good_stream_raises_nothing() -> None:
    dice = random.Random(1)
    assert fold(make_score(i, 70 + dice.uniform(-6, 6)) for i in range(2000))[1] == []


def test_low_quality_fires_after_its_minimum_and_resolves_when_it_is_gone() -> None:
    limits = parse_policy({"alerts": {"quality_drop": {"enabled": False}}}).of({})
    alerts = fold(course((10, 70), (20, 20), (20, 70)), limits)[1]
    assert names(alerts) == [("low-quality", "firing"), ("low-quality", "resolved")]
    firing, resolved = alerts
    assert firing.alert_id == resolved.alert_id
    # The smoothed score is under 40 in the second bad segment; five of them are the minimum of 10 s.
    assert (firing.segment_id, firing.started_at) == ("channel/15", BEGIN + timedelta(seconds=22))
    assert resolved.started_at == firing.started_at
    assert resolved.ended_at is not None
    assert resolved.ended_at >= BEGIN + timedelta(seconds=60)


def test_hysteresis_holds_an_alert_between_its_two_limits() -> None:
    limits = parse_policy({"alerts": {"quality_drop": {"enabled": False}}}).of({})
    assert names(fold(course((10, 70), (20, 20), (100, 44)), limits)[1]) == [("low-quality", "firing")]
    assert names(fold(course((10, 70), (20, 20), (100, 49)), limits)[1])[-1] == ("low-quality", "resolved")


def test_a_short_dip_is_no_alert() -> None:
    assert fold(course((30, 70), (1, 20), (30, 70)))[1] == []


def test_a_drop_of_15_points_is_found_at_once_in_a_calm_stream() -> None:
    state, alerts = fold(course((60, 80), (10, 65)))
    assert names(alerts) == [("quality-drop", "firing")]
    assert alerts[0].started_at == BEGIN + timedelta(seconds=120)
    assert int(alerts[0].segment_id.split("/")[1]) - 60 + 1 <= 3
    assert alerts[0].baseline == pytest.approx(80, abs=1)
    assert [alert.alert_id for alert in open_alerts(state)] == [alerts[0].alert_id]


def test_a_noisy_stream_is_judged_by_its_own_noise() -> None:
    dice = random.Random(3)
    noisy = [make_score(i, 60 + dice.choice((-15, 15)) + dice.uniform(-5, 5)) for i in range(3000)]
    assert fold(noisy)[1] == []
    fallen = [make_score(3000 + i, 15 + dice.uniform(-5, 5)) for i in range(30)]
    assert ("quality-drop", "firing") in names(fold([*noisy, *fallen])[1])


def test_a_drop_that_lasts_becomes_usual() -> None:
    limits = parse_policy({"alerts": {"quality_drop": {"adapt": 60}}}).of({})
    assert names(fold(course((60, 80), (600, 62)), limits)[1]) == [("quality-drop", "firing"), ("quality-drop", "resolved")]


def test_a_black_picture_is_one_alert_not_three() -> None:
    scores = course((30, 75)) + [make_score(30 + i, 5, black=1.0, freeze=1.0) for i in range(10)]
    scores += [make_score(40 + i, 75) for i in range(10)]
    assert names(fold(scores)[1]) == [("black", "firing"), ("black", "resolved")]


def test_a_frozen_picture() -> None:
    scores = course((30, 75)) + [make_score(30 + i, 75, freeze=1.0) for i in range(10)]
    assert names(fold(scores)[1]) == [("frozen", "firing")]


def test_within_the_cool_down_nothing_fires_and_after_it_what_still_is() -> None:
    black = [i % 20 < 10 for i in range(60)]
    limits = parse_policy({"alerts": {"black": {"cool_down": 60}}}).of({})
    scores = [make_score(i, 75, black=float(one)) for i, one in enumerate(black)]
    firing = [alert for alert in fold(scores, limits)[1] if alert.state == "firing"]
    assert len(firing) == 1 + 1  # segments 0-9 and, the cool-down over, 40-49; not 20-29
    lasting = [make_score(i, 75, black=float(i < 10 or i >= 20)) for i in range(80)]
    again = [alert for alert in fold(lasting, limits)[1] if alert.state == "firing"][1]
    assert again.started_at == BEGIN + timedelta(seconds=40)
    assert int(again.segment_id.split("/")[1]) >= 10 + 30 - 1


def test_renditions_are_judged_apart() -> None:
    scores = []
    for i in range(60):
        scores += [make_score(i, 80, rendition="1080p"), make_score(i, 80 if i < 30 else 20, rendition="240p")]
    alerts = fold(scores)[1]
    assert {alert.rendition for alert in alerts} == {"240p"}


def test_a_skipped_segment_says_nothing_of_quality() -> None:
    assert fold([make_score(i, None) for i in range(100)])[1] == []


def test_silence_fires_once_and_resolves_with_the_next_segment() -> None:
    state, _ = fold(course((10, 70)))
    now = BEGIN + timedelta(seconds=60)
    assert tick(state, now, AFTER - 1, LIMITS) == (state, [])
    silent, alerts = tick(state, now, AFTER, LIMITS)
    assert names(alerts) == [("no-segments", "firing")]
    assert silent is not None
    assert tick(silent, now, AFTER + 50, LIMITS) == (silent, [])
    back, alerts = step(silent, make_score(40, 70), LIMITS)
    assert names(alerts) == [("no-segments", "resolved")]
    assert alerts[0].ended_at == BEGIN + timedelta(seconds=80)
    assert tick(back, now, 0, LIMITS) == (back, [])


def test_silence_has_a_cool_down() -> None:
    state, _ = fold(course((10, 70)))
    silent, _ = tick(state, BEGIN, AFTER, LIMITS)
    assert silent is not None
    back, _ = step(silent, make_score(20, 70), LIMITS)
    assert tick(back, BEGIN, AFTER, LIMITS)[1] == []
    assert names(tick(back, BEGIN, 60, LIMITS)[1]) == [("no-segments", "firing")]


def test_a_stream_that_ended_on_purpose_is_not_silent_and_resolves_what_was_open() -> None:
    scores = [*course((60, 80), (10, 50)), make_score(70, 50, ended=True)]
    state, alerts = fold(scores)
    assert names(alerts) == [("quality-drop", "firing"), ("quality-drop", "resolved")]
    assert tick(state, BEGIN + timedelta(hours=1), 3600, LIMITS) == (state, [])


def test_the_end_may_be_told_by_the_last_segment_once_more() -> None:
    scores = course((60, 80), (10, 50))
    ended = scores[-1].model_copy(update={"ended": True})
    state, alerts = fold([*scores, ended, ended])
    assert names(alerts) == [("quality-drop", "firing"), ("quality-drop", "resolved")]
    assert tick(state, BEGIN, 3600, LIMITS)[1] == []


def test_an_end_during_silence_resolves_it_once() -> None:
    silent, _ = tick(fold(course((10, 70)))[0], BEGIN, AFTER, LIMITS)
    assert silent is not None
    assert names(step(silent, make_score(30, 70, ended=True), LIMITS)[1]) == [("no-segments", "resolved")]


def test_an_ended_stream_that_goes_on_is_watched_again() -> None:
    state, _ = fold([*course((10, 70)), make_score(10, 70, ended=True), make_score(50, 70)])
    assert names(tick(state, BEGIN, AFTER, LIMITS)[1]) == [("no-segments", "firing")]


def test_a_stream_that_is_gone_for_good_is_forgotten_and_leaves_nothing_open() -> None:
    state, _ = fold(course((60, 80), (10, 50)))
    silent, _ = tick(state, BEGIN, AFTER, LIMITS)
    assert silent is not None
    gone, alerts = tick(silent, BEGIN + timedelta(days=2), 86400, LIMITS)
    assert gone is None
    assert sorted(names(alerts)) == [("no-segments", "resolved"), ("quality-drop", "resolved")]


def test_a_rendition_that_is_gone_for_good_leaves_nothing_open() -> None:
    limits = parse_policy({"alerts": {"no_segments": {"forget_after": 60}}}).of({})
    scores = [make_score(i, 80 if i < 30 else 40, rendition="240p") for i in range(40)]
    scores += [make_score(i, 80, rendition="1080p") for i in range(30, 120)]
    state, alerts = fold(scores, limits)
    assert names(alerts) == [("quality-drop", "firing"), ("quality-drop", "resolved")]
    assert set(state.courses) == {"1080p"}


def test_numbers_that_begin_anew_are_taken_by_their_time() -> None:
    again = [make_score(i, 30, begin=BEGIN + timedelta(seconds=300)) for i in range(20)]
    state, alerts = fold([*course((60, 80)), *again])
    assert ("quality-drop", "firing") in names(alerts)
    assert state.courses[""].sequence == 19


scores_of_a_stream = st.lists(
    st.tuples(
        st.sampled_from([10.0, 35.0, 45.0, 60.0, 75.0, 90.0, None]),
        st.sampled_from([0.0, 0.0, 0.0, 0.9, 1.0]),  # black
        st.sampled_from([0.0, 0.0, 1.0]),  # freeze
        st.integers(1, 8),  # how many segments of it
        st.sampled_from([0, 0, 0, 0, 5, 40]),  # segments that are missing after it
        st.sampled_from(["", "", "240p"]),
        st.sampled_from([False] * 9 + [True]),  # whether the last one ends the stream
    ),
    max_size=30,
)


def expand(parts: list[tuple[float | None, float, float, int, int, str, bool]]) -> list[SegmentScore]:
    scores, sequence = [], 0
    for value, black, freeze, count, gap, rendition, ended in parts:
        for number in range(count):
            fields = {"rendition": rendition or None, "ended": ended and number == count - 1}
            scores.append(make_score(sequence, value, black=black, freeze=freeze, **fields))
            sequence += 1
        sequence += gap
    return scores


def run(scores: list[SegmentScore], silences: bool) -> tuple[StreamState, list[QualityAlert]]:
    """Fold, and judge silence where segments are missing, as the agent does."""
    state, alerts = StreamState("channel"), []
    for score in scores:
        silent_for = (score.start - state.until).total_seconds() if state.until else 0.0
        if silences:
            ticked, found = tick(state, score.start, silent_for, LIMITS)
            assert ticked is not None
            state, alerts = ticked, alerts + found
        state, found = step(state, score, LIMITS)
        alerts += found
    return state, alerts


@given(scores_of_a_stream, st.booleans())
def test_every_alert_fires_once_and_resolves_once_at_most_after_it(parts: list, silences: bool) -> None:
    state, alerts = run(expand(parts), silences)
    fired: set[str] = set()
    resolved: set[str] = set()
    for alert in alerts:
        if alert.state == "firing":
            assert alert.alert_id not in fired
            fired.add(alert.alert_id)
            assert alert.ended_at is None
        else:
            assert alert.alert_id in fired
            assert alert.alert_id not in resolved
            resolved.add(alert.alert_id)
            assert alert.ended_at is not None
            assert alert.ended_at >= alert.started_at
    left = {alert.alert_id for alert in open_alerts(state)}
    assert left == fired - resolved
    assert {alert.alert_id for alert in close_all(state)} == left


@given(scores_of_a_stream)
def test_one_kind_of_one_rendition_is_open_once_at_a_time(parts: list) -> None:
    open_now: set[tuple[str | None, str]] = set()
    for alert in run(expand(parts), True)[1]:
        key = alert.rendition, alert.kind
        assert (key in open_now) == (alert.state == "resolved")
        open_now ^= {key}


@given(scores_of_a_stream, st.data())
def test_a_restart_anywhere_raises_the_same_alerts_with_the_same_ids(parts: list, data: st.DataObject) -> None:
    scores = expand(parts)
    wanted = fold(scores)[1]
    # Killed after `cut` scores, of which the last ones were not committed and come again.
    cut = data.draw(st.integers(0, len(scores)))
    again = data.draw(st.integers(0, cut))
    before, first = fold(scores[:cut])
    state, seen = from_json(to_json(before)), list(first)
    for score in scores[cut - again :]:
        state, found = step(state, score, LIMITS)
        seen += found
    assert seen == wanted
    # Killed before the state of those was safe: the repeats are word for word the same.
    earlier, first = fold(scores[: cut - again])
    state, seen = from_json(to_json(earlier)), list(first)
    for score in scores[cut - again :]:
        state, found = step(state, score, LIMITS)
        seen += found
    assert seen == wanted


@given(scores_of_a_stream)
def test_a_state_survives_its_json(parts: list) -> None:
    state = run(expand(parts), True)[0]
    assert from_json(to_json(state)) == state
