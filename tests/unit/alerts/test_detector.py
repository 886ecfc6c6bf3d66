"""The detector: what fires, what does not, and that every alert fires once and resolves at most once."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.alerts.detector import close_all, open_alerts, step, tick
from streams.alerts.policy import default_limits, parse_policy
from streams.alerts.state import StreamState, from_json, to_json
from streams.events import AlertCause, AudioSummary, FaceSummary, QualityAlert, SegmentScore
from tests.support.alerts import BEGIN, fold, kinds_and_states, make_score, stream_of

LIMITS = default_limits()
AFTER = LIMITS.no_segments.after


def test_a_good_stream_raises_nothing() -> None:
    dice = random.Random(1)
    assert fold(make_score(i, 70 + dice.uniform(-6, 6)) for i in range(2000))[1] == []


def test_low_quality_fires_after_its_minimum_and_resolves_once_quality_is_back() -> None:
    limits = parse_policy({"alerts": {"quality_drop": {"enabled": False}}}).of({})
    alerts = fold(stream_of((10, 70), (20, 20), (20, 70)), limits)[1]
    assert kinds_and_states(alerts) == [("low-quality", "firing"), ("low-quality", "resolved")]
    firing, resolved = alerts
    assert firing.alert_id == resolved.alert_id
    # The smoothed score is below 40 from the second bad segment on; five segments are the minimum of 10 s.
    assert (firing.segment_id, firing.started_at) == ("channel/15", BEGIN + timedelta(seconds=22))
    assert resolved.started_at == firing.started_at
    assert resolved.ended_at is not None
    assert resolved.ended_at >= BEGIN + timedelta(seconds=60)


def test_a_score_between_threshold_and_hysteresis_keeps_an_alert_open() -> None:
    limits = parse_policy({"alerts": {"quality_drop": {"enabled": False}}}).of({})
    assert kinds_and_states(fold(stream_of((10, 70), (20, 20), (100, 44)), limits)[1]) == [("low-quality", "firing")]
    assert kinds_and_states(fold(stream_of((10, 70), (20, 20), (100, 49)), limits)[1])[-1] == ("low-quality", "resolved")


def test_a_black_picture_raises_one_alert_and_not_frozen_or_a_drop_too() -> None:
    scores = stream_of((30, 75)) + [make_score(30 + i, 5, black=1.0, freeze=1.0) for i in range(10)]
    scores += [make_score(40 + i, 75) for i in range(10)]
    assert kinds_and_states(fold(scores)[1]) == [("black", "firing"), ("black", "resolved")]


def test_a_frozen_picture_fires() -> None:
    scores = stream_of((30, 75)) + [make_score(30 + i, 75, freeze=1.0) for i in range(10)]
    assert kinds_and_states(fold(scores)[1]) == [("frozen", "firing")]


def test_nothing_fires_within_the_cool_down_and_what_still_lasts_fires_after_it() -> None:
    black = [i % 20 < 10 for i in range(60)]
    limits = parse_policy({"alerts": {"black": {"cool_down": 60}}}).of({})
    scores = [make_score(i, 75, black=float(is_black)) for i, is_black in enumerate(black)]
    firing = [alert for alert in fold(scores, limits)[1] if alert.state == "firing"]
    assert len(firing) == 2  # segments 0-9, and 40-49 after the cool-down; not 20-29
    lasting = [make_score(i, 75, black=float(i < 10 or i >= 20)) for i in range(80)]
    again = [alert for alert in fold(lasting, limits)[1] if alert.state == "firing"][1]
    assert again.started_at == BEGIN + timedelta(seconds=40)
    assert int(again.segment_id.split("/")[1]) >= 10 + 30 - 1


def test_only_the_bad_rendition_of_a_stream_raises_alerts() -> None:
    scores = []
    for i in range(60):
        scores += [make_score(i, 80, rendition="1080p"), make_score(i, 80 if i < 30 else 20, rendition="240p")]
    alerts = fold(scores)[1]
    assert {alert.rendition for alert in alerts} == {"240p"}


def test_skipped_segments_raise_no_alert() -> None:
    assert fold([make_score(i, None) for i in range(100)])[1] == []


def test_silence_fires_once_and_resolves_with_the_next_segment() -> None:
    state, _ = fold(stream_of((10, 70)))
    now = BEGIN + timedelta(seconds=60)
    assert tick(state, now, AFTER - 1, LIMITS) == (state, [])
    silent, alerts = tick(state, now, AFTER, LIMITS)
    assert kinds_and_states(alerts) == [("no-segments", "firing")]
    assert silent is not None
    assert tick(silent, now, AFTER + 50, LIMITS) == (silent, [])
    resumed, alerts = step(silent, make_score(40, 70), LIMITS)
    assert kinds_and_states(alerts) == [("no-segments", "resolved")]
    assert alerts[0].ended_at == BEGIN + timedelta(seconds=80)
    assert tick(resumed, now, 0, LIMITS) == (resumed, [])


def test_silence_is_explained_once_when_its_alert_fires_and_the_explanation_stays_until_its_end() -> None:
    state, now = fold(stream_of((10, 70)))[0], BEGIN + timedelta(seconds=40)
    away = AlertCause(where="source", text="the playlist has not answered since 12:00:20 UTC")
    asked: list[AlertCause] = []

    def explain(_: StreamState) -> AlertCause:
        asked.append(away)
        return away

    assert tick(state, now, AFTER - 1, LIMITS, explain) == (state, [])
    silent, (firing,) = tick(state, now, AFTER, LIMITS, explain)
    assert silent is not None
    assert (firing.cause, len(asked)) == (away, 1)
    silent = from_json(to_json(silent))
    assert [alert.cause for alert in open_alerts(silent)] == [away], "also in a worker that takes over"
    assert tick(silent, now, 2 * AFTER, LIMITS, explain) == (silent, [])
    _, (resolved,) = step(silent, make_score(30), LIMITS)
    assert (resolved.state, resolved.cause, len(asked)) == ("resolved", away, 1)


def test_silence_within_the_cool_down_does_not_fire_again() -> None:
    state, _ = fold(stream_of((10, 70)))
    silent, _ = tick(state, BEGIN, AFTER, LIMITS)
    assert silent is not None
    resumed, _ = step(silent, make_score(20, 70), LIMITS)
    assert tick(resumed, BEGIN, AFTER, LIMITS)[1] == []
    assert kinds_and_states(tick(resumed, BEGIN, 60, LIMITS)[1]) == [("no-segments", "firing")]


def test_a_late_segment_from_before_a_silence_does_not_end_it() -> None:
    scores = [make_score(i, 70, rendition=name) for i in range(30) for name in ("1080p", "480p") if name == "1080p" or i < 27]
    silent, _ = tick(fold(scores)[0], BEGIN, AFTER, LIMITS)
    assert silent is not None
    late, alerts = step(silent, make_score(27, 70, rendition="480p"), LIMITS)
    assert alerts == [], "the stream is dead: its last segments only come late"
    assert [alert.kind for alert in open_alerts(late)] == ["no-segments"]
    ended, alerts = step(late, make_score(28, 70, rendition="480p", ended=True), LIMITS)
    assert kinds_and_states(alerts) == [("no-segments", "resolved")]
    assert alerts[0].ended_at == alerts[0].started_at
    assert list(open_alerts(ended)) == []
    alive, alerts = step(late, make_score(30, 70, rendition="480p"), LIMITS)
    assert kinds_and_states(alerts) == [("no-segments", "resolved")]
    assert kinds_and_states(tick(alive, BEGIN, 60, LIMITS)[1]) == [("no-segments", "firing")]


@pytest.mark.parametrize(
    ("kind", "usual", "bad", "unmeasured"),
    [
        ("low-quality", {}, {"score": 20}, {"black": 1.0}),
        ("quality-drop", {}, {"score": 20}, {"freeze": 1.0}),
        ("no-face", {}, {"faces": FaceSummary(count=0, area=0)}, {"faces": None}),
        ("silent", {"audio": AudioSummary(present=True, silent=0)}, {"audio": AudioSummary(present=False)}, {"audio": None}),
    ],
)
def test_an_alert_whose_kind_is_no_longer_enabled_resolves_also_while_its_kind_cannot_be_judged(
    kind: str, usual: dict[str, Any], bad: dict[str, Any], unmeasured: dict[str, Any]
) -> None:
    state, alerts = fold([*(make_score(i, **usual) for i in range(20)), *(make_score(i, **bad) for i in range(20, 60))])
    assert (kind, "firing") in kinds_and_states(alerts)
    off = parse_policy({"alerts": {kind.replace("-", "_"): {"enabled": False}}}).of({})
    state, alerts = step(state, make_score(60, **unmeasured), off)
    assert kinds_and_states(alerts) == [(kind, "resolved")]
    assert kind not in [alert.kind for alert in open_alerts(state)]


def test_a_silence_whose_kind_is_no_longer_enabled_resolves() -> None:
    silent, _ = tick(fold(stream_of((10, 70)))[0], BEGIN, AFTER, LIMITS)
    assert silent is not None
    off = parse_policy({"alerts": {"no_segments": {"enabled": False, "after": 3600}}}).of({})
    state, alerts = tick(silent, BEGIN + timedelta(seconds=50), 5, off)
    assert kinds_and_states(alerts) == [("no-segments", "resolved")]
    assert alerts[0].ended_at == BEGIN + timedelta(seconds=50)
    assert state is not None
    assert tick(state, BEGIN + timedelta(seconds=51), 6, off) == (state, [])
    assert tick(state, BEGIN + timedelta(seconds=500), AFTER + 460, LIMITS)[1] == [], "the same silence is not told twice"


def test_a_stream_that_ended_on_purpose_is_not_silent_and_resolves_what_was_open() -> None:
    scores = [*stream_of((60, 80), (10, 50)), make_score(70, 50, ended=True)]
    state, alerts = fold(scores)
    assert kinds_and_states(alerts) == [("quality-drop", "firing"), ("quality-drop", "resolved")]
    assert tick(state, BEGIN + timedelta(hours=1), 3600, LIMITS) == (state, [])


def test_the_last_segment_announced_again_as_the_end_closes_the_stream_once() -> None:
    scores = stream_of((60, 80), (10, 50))
    ended = scores[-1].model_copy(update={"ended": True})
    state, alerts = fold([*scores, ended, ended])
    assert kinds_and_states(alerts) == [("quality-drop", "firing"), ("quality-drop", "resolved")]
    assert tick(state, BEGIN, 3600, LIMITS)[1] == []


def test_a_last_segment_after_a_silence_resolves_it_once() -> None:
    silent, _ = tick(fold(stream_of((10, 70)))[0], BEGIN, AFTER, LIMITS)
    assert silent is not None
    assert kinds_and_states(step(silent, make_score(30, 70, ended=True), LIMITS)[1]) == [("no-segments", "resolved")]


def test_what_the_last_segments_of_another_rendition_fire_after_the_end_resolves() -> None:
    scores = [make_score(i, 70, black=float(i > 10), rendition=name) for name in ("720p", "480p") for i in range(20)]
    scores.insert(20, make_score(20, 70, black=1.0, rendition="720p", ended=True))
    state, alerts = fold(scores)
    assert kinds_and_states(alerts) == [("black", "firing"), ("black", "resolved"), ("black", "firing")]
    assert state.until is not None
    now = state.until + timedelta(seconds=30)
    closed, resolved = tick(state, now, 30, LIMITS)
    assert kinds_and_states(resolved) == [("black", "resolved")]
    assert (resolved[0].alert_id, resolved[0].ended_at) == (alerts[-1].alert_id, state.until)
    assert closed is not None
    assert tick(closed, now, 31, LIMITS) == (closed, [])


def test_an_ended_stream_that_goes_on_is_watched_again() -> None:
    state, _ = fold([*stream_of((10, 70)), make_score(10, 70, ended=True), make_score(50, 70)])
    assert kinds_and_states(tick(state, BEGIN, AFTER, LIMITS)[1]) == [("no-segments", "firing")]


def test_a_stream_that_is_gone_for_good_is_forgotten_and_leaves_nothing_open() -> None:
    state, _ = fold(stream_of((60, 80), (10, 50)))
    silent, _ = tick(state, BEGIN, AFTER, LIMITS)
    assert silent is not None
    given_up = BEGIN + timedelta(days=2)
    gone, alerts = tick(silent, given_up, 86400, LIMITS)
    assert gone is None
    assert sorted(kinds_and_states(alerts)) == [("no-segments", "resolved"), ("quality-drop", "resolved")]
    assert {alert.ended_at for alert in alerts} == {given_up}, "an end of long ago would be too old to be delivered"


def test_a_rendition_that_is_gone_for_good_is_forgotten_and_leaves_nothing_open() -> None:
    limits = parse_policy({"alerts": {"no_segments": {"forget_after": 60}}}).of({})
    scores = [make_score(i, 80 if i < 30 else 40, rendition="240p") for i in range(40)]
    scores += [make_score(i, 80, rendition="1080p") for i in range(30, 120)]
    state, alerts = fold(scores, limits)
    assert kinds_and_states(alerts) == [("quality-drop", "firing"), ("quality-drop", "resolved")]
    assert set(state.renditions) == {"1080p"}


def test_segments_after_a_restart_of_their_numbers_are_judged_by_their_time() -> None:
    restarted = [make_score(i, 30, begin=BEGIN + timedelta(seconds=300)) for i in range(20)]
    state, alerts = fold([*stream_of((60, 80)), *restarted])
    assert ("quality-drop", "firing") in kinds_and_states(alerts)
    assert state.renditions[""].sequence == 19


stretches_of_a_stream = st.lists(
    st.tuples(
        st.sampled_from([10.0, 35.0, 45.0, 60.0, 75.0, 90.0, None]),
        st.sampled_from([0.0, 0.0, 0.0, 0.9, 1.0]),  # black
        st.sampled_from([0.0, 0.0, 1.0]),  # freeze
        st.integers(1, 8),  # number of such segments
        st.sampled_from([0, 0, 0, 0, 5, 40]),  # number of segments missing after them
        st.sampled_from(["", "", "240p"]),
        st.sampled_from([False] * 9 + [True]),  # whether the last one ends the stream
    ),
    max_size=30,
)


def scores_of(stretches: list[tuple[float | None, float, float, int, int, str, bool]]) -> list[SegmentScore]:
    scores, sequence = [], 0
    for value, black, freeze, count, gap, rendition, ended in stretches:
        for number in range(count):
            fields = {"rendition": rendition or None, "ended": ended and number == count - 1}
            scores.append(make_score(sequence, value, black=black, freeze=freeze, **fields))
            sequence += 1
        sequence += gap
    return scores


def run(scores: list[SegmentScore], silences: bool) -> tuple[StreamState, list[QualityAlert]]:
    """Judge scores, and with `silences` also the silence where segments are missing, as the agent does."""
    state, alerts = StreamState("channel"), []
    for score in scores:
        silent_for = (score.start - state.until).total_seconds() if state.until else 0.0
        if silences:
            ticked, new_alerts = tick(state, score.start, silent_for, LIMITS)
            assert ticked is not None
            state, alerts = ticked, alerts + new_alerts
        state, new_alerts = step(state, score, LIMITS)
        alerts += new_alerts
    return state, alerts


@given(stretches_of_a_stream, st.booleans())
def test_every_alert_fires_once_and_then_resolves_at_most_once(stretches: list, silences: bool) -> None:
    state, alerts = run(scores_of(stretches), silences)
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
    still_open = {alert.alert_id for alert in open_alerts(state)}
    assert still_open == fired - resolved
    assert {alert.alert_id for alert in close_all(state)} == still_open


@given(stretches_of_a_stream)
def test_a_rendition_has_at_most_one_open_alert_of_each_kind(stretches: list) -> None:
    open_now: set[tuple[str | None, str]] = set()
    for alert in run(scores_of(stretches), True)[1]:
        key = alert.rendition, alert.kind
        assert (key in open_now) == (alert.state == "resolved")
        open_now ^= {key}


@given(stretches_of_a_stream, st.data())
def test_a_worker_restarted_anywhere_raises_the_same_alerts_with_the_same_ids(stretches: list, data: st.DataObject) -> None:
    scores = scores_of(stretches)
    expected = fold(scores)[1]
    # Killed after `cut` scores. The last ones were not committed, and are read again.
    cut = data.draw(st.integers(0, len(scores)))
    repeated = data.draw(st.integers(0, cut))
    before, first = fold(scores[:cut])
    state, sent = from_json(to_json(before)), list(first)
    for score in scores[cut - repeated :]:
        state, new_alerts = step(state, score, LIMITS)
        sent += new_alerts
    assert sent == expected
    # Killed before the state after them was acknowledged: the alerts that are raised again are the same in every field.
    earlier, first = fold(scores[: cut - repeated])
    state, sent = from_json(to_json(earlier)), list(first)
    for score in scores[cut - repeated :]:
        state, new_alerts = step(state, score, LIMITS)
        sent += new_alerts
    assert sent == expected


@given(stretches_of_a_stream)
def test_a_state_written_as_json_and_read_again_is_the_same(stretches: list) -> None:
    state = run(scores_of(stretches), True)[0]
    assert from_json(to_json(state)) == state


def glance(sequence: int, score: float, **fields: object) -> SegmentScore:
    """A segment that had only a glance, with its full look's score."""
    return make_score(sequence, score, tier="glance", rests_on="channel/0", **fields)


def test_glances_alone_fire_nothing_and_break_no_stretch() -> None:
    good = stream_of((30, 70))
    assert fold([*good, make_score(30, 20), *(glance(i, 20) for i in range(31, 200))])[1] == []
    looked = [*good, make_score(30, 40), glance(31, 40), glance(32, 40)]
    assert fold(looked)[1] == []
    assert kinds_and_states(fold([*looked, make_score(33, 40), make_score(34, 40)])[1]) == [("quality-drop", "firing")]


@pytest.mark.parametrize("duration", [2.0, 10.0])
def test_after_glances_an_alert_on_a_score_needs_two_full_looks_however_long_they_are(duration: float) -> None:
    def timed(score: SegmentScore) -> SegmentScore:
        start = BEGIN + timedelta(seconds=duration * score.sequence)
        return score.model_copy(update={"start": start, "duration": duration})

    course = [*stream_of((4, 80)), *(glance(i, 80) for i in range(4, 20)), *(make_score(i, 30) for i in range(20, 40))]
    firing = next(alert for alert in fold(map(timed, course))[1] if alert.kind == "quality-drop")
    assert firing.segment_id == "channel/21"


@pytest.mark.parametrize("kind", ["black", "freeze"])
def test_black_and_frozen_are_as_quick_after_glances(kind: str) -> None:
    bad = [make_score(i, 70, **{kind: 1.0}) for i in range(20, 30)]
    without = fold([*stream_of((20, 70)), *bad])[1]
    with_glances = fold([*stream_of((2, 70)), *(glance(i, 70) for i in range(2, 20)), *bad])[1]
    assert [alert.segment_id for alert in with_glances] == [alert.segment_id for alert in without]


def test_an_alert_resolves_by_glances_only_after_a_full_look_was_good() -> None:
    """A worker that took the stream over does not know of the alert."""
    fired = [*stream_of((30, 80), (6, 40))]
    assert kinds_and_states(fold([*fired, *(glance(i, 80) for i in range(36, 60))])[1]) == [("quality-drop", "firing")]
    # Three full looks: only with the third one the smoothed score is back.
    looked = [*fired, *(make_score(i, 80) for i in range(36, 39)), *(glance(i, 80) for i in range(39, 60))]
    assert kinds_and_states(fold(looked)[1]) == [("quality-drop", "firing"), ("quality-drop", "resolved")]


def test_glances_keep_what_is_usual_and_add_no_noise() -> None:
    state, _ = fold([make_score(0, 60), *(glance(i, 60) for i in range(1, 50))])
    alone, _ = fold([make_score(0, 60)])
    rendition = state.renditions[""]
    assert rendition.baseline == pytest.approx(60)
    assert rendition.baseline_seconds > LIMITS.quality_drop.warm_up
    assert rendition.variance == alone.renditions[""].variance
    assert from_json(to_json(state)) == state


def test_a_stream_of_glances_is_not_silent() -> None:
    state, _ = fold([make_score(0, 60), *(glance(i, 60) for i in range(1, 50))])
    assert state.until == BEGIN + timedelta(seconds=100)
