"""Wrong clocks of packagers: alerts fire as they would by the right clock, also from states that a wrong clock got into."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.alerts.clock import FAST_SECONDS
from streams.alerts.detector import step, tick
from streams.alerts.policy import default_limits
from streams.alerts.state import StreamState, from_json, to_json
from streams.events import FaceSummary, QualityAlert, SegmentScore
from tests.support.alerts import BEGIN, SECONDS, fold, make_score

LIMITS = default_limits()
LAG = timedelta(seconds=3)
"""From a segment's end to the writing of its score."""

DAY = 86400.0


def shifted(score: SegmentScore, seconds: float, **fields: object) -> SegmentScore:
    """The score as a packager with another clock would have announced it."""
    return score.model_copy(update={"start": score.start + timedelta(seconds=seconds)} | fields)


def written_at(place: int) -> datetime:
    """When the score in this place of a live stream is written."""
    return BEGIN + timedelta(seconds=(place + 1) * SECONDS) + LAG


def judged(
    scores: Iterable[SegmentScore], state: StreamState | None = None, first: int = 0
) -> tuple[StreamState, list[QualityAlert]]:
    """Judge the scores of a live stream. first: the place of the first score. Every state passes through its JSON."""
    state, alerts = state or StreamState("channel"), []
    for place, score in enumerate(scores, start=first):
        state, new_alerts = step(from_json(to_json(state)), score, LIMITS, written_at(place))
        alerts += new_alerts
        assert state.until is not None
        assert state.until <= written_at(place) + timedelta(minutes=1), "a time in the state passes the broker's"
    return state, alerts


def black_from(place: int, count: int) -> list[SegmentScore]:
    return [make_score(i, 70, black=float(i >= place)) for i in range(count)]


@pytest.mark.parametrize("ahead", [15.0, 50.0, 600.0, 3 * 3600.0, DAY, 365 * DAY, 7000 * 365 * DAY])
@pytest.mark.parametrize("sequence", [20, 2**40])
@pytest.mark.parametrize("strays", [1, 3])
@pytest.mark.parametrize("ended", [False, True])
def test_segments_of_a_wrong_clock_do_not_blind_alerts(ahead: float, sequence: int, strays: int, ended: bool) -> None:
    scores = black_from(20, 60)
    for stray in range(strays):
        scores.insert(20, shifted(make_score(20), ahead + SECONDS * (strays - stray), sequence=sequence, ended=ended))
    alerts = judged(scores)[1]
    assert [(alert.kind, alert.state) for alert in alerts] == [("black", "firing")]
    assert BEGIN <= alerts[0].started_at <= BEGIN + timedelta(seconds=40 + 75)


@pytest.mark.parametrize("strays", [1, 3])
@pytest.mark.parametrize("good", [0, 20])
def test_a_backlog_that_is_read_after_segments_of_a_wrong_clock_has_its_alerts(strays: int, good: int) -> None:
    scores = black_from(good, good + 100)
    for stray in range(strays):
        scores.insert(good, shifted(make_score(good), DAY + SECONDS * (strays - stray), sequence=2**40 + strays - stray))
    state, alerts = StreamState("channel"), []
    for score in scores:
        # All are read an hour later, at once.
        state, new_alerts = step(from_json(to_json(state)), score, LIMITS, BEGIN + timedelta(hours=1))
        alerts += new_alerts
    assert [(alert.kind, alert.state, alert.started_at) for alert in alerts] == [("black", "firing", make_score(good).start)]


@pytest.mark.parametrize(
    ("kind", "bad", "good"),
    [
        ("black", {"black": 1.0}, {}),
        ("no-face", {"faces": FaceSummary(count=0, area=0)}, {"faces": FaceSummary(count=1, area=0.1)}),
    ],
)
def test_an_alert_of_a_wrong_clock_resolves_in_the_backlog_after_it(
    kind: str, bad: dict[str, object], good: dict[str, object]
) -> None:
    scores = [shifted(make_score(i, **bad), DAY) for i in range(20)] + [make_score(i, 70, **good) for i in range(20, 60)]
    state, alerts = StreamState("channel"), []
    for score in scores:
        state, new_alerts = step(from_json(to_json(state)), score, LIMITS, BEGIN + timedelta(hours=1))
        alerts += new_alerts
    assert [(alert.kind, alert.state) for alert in alerts] == [(kind, "firing"), (kind, "resolved")]
    assert alerts[1].ended_at is not None
    assert alerts[1].ended_at >= alerts[0].started_at


@pytest.mark.parametrize("duration", [70.0, 3600.0])
@pytest.mark.parametrize("count", [1, 4])
def test_segments_with_a_wrong_duration_do_not_blind_alerts(duration: float, count: int) -> None:
    scores = black_from(20, 60)
    for place in reversed(range(count)):
        long = make_score(20).model_copy(update={"sequence": 2**40 + place, "duration": duration})
        scores.insert(20, shifted(long, place * duration))
    alerts = step_all(StreamState("channel"), scores, 0)[1]
    assert [(alert.kind, alert.state) for alert in alerts] == [("black", "firing")]
    assert alerts[0].started_at == make_score(20).start


@pytest.mark.parametrize("lag", [1.0, 12.0])
def test_a_segment_with_a_wrong_duration_does_not_move_the_times_of_those_after_it(lag: float) -> None:
    scores = black_from(130, 160)
    scores[100] = scores[100].model_copy(update={"duration": 50.0})
    state, alerts = StreamState("channel"), []
    for place, score in enumerate(scores):
        written = start_of(place + 1) + timedelta(seconds=lag)
        state, new_alerts = step(from_json(to_json(state)), score, LIMITS, written)
        alerts += new_alerts
    assert [(alert.kind, alert.started_at) for alert in alerts] == [("black", start_of(130))]
    assert state.renditions[""].until == start_of(160)


@pytest.mark.parametrize("ahead", [600.0, DAY])
def test_a_stray_within_a_black_stretch_does_not_delay_its_alert(ahead: float) -> None:
    expected = judged(black_from(20, 30))[1]
    scores = black_from(20, 30)
    for place in (24, 23, 22, 21):
        scores.insert(place, shifted(make_score(place), ahead, sequence=2**40 + place))
    (alert,) = judged(scores)[1]
    assert alert.started_at == expected[0].started_at
    assert alert.segment_id == expected[0].segment_id


@pytest.mark.parametrize("ahead", [-DAY, 30.0, 600.0, DAY, 7000 * 365 * DAY])
def test_a_packager_whose_clock_is_always_wrong_has_alerts_as_one_whose_clock_is_right(ahead: float) -> None:
    scores = [make_score(i, 70, black=float(20 <= i < 40)) for i in range(60)]
    expected = fold(scores)[1]
    alerts = judged(shifted(score, ahead) for score in scores)[1]
    assert [(a.kind, a.state, a.segment_id) for a in alerts] == [(a.kind, a.state, a.segment_id) for a in expected]
    assert alerts[1].started_at - alerts[0].started_at == timedelta(0)
    assert alerts[0].started_at <= written_at(60)


def test_a_burst_of_a_clock_that_is_ahead_is_judged_by_its_durations() -> None:
    state, alerts = StreamState("channel"), []
    for score in black_from(5, 20):
        state, new_alerts = step(state, shifted(score, 6000), LIMITS, BEGIN)
        alerts += new_alerts
    assert [(alert.kind, alert.segment_id) for alert in alerts] == [("black", "channel/7")]


@pytest.mark.parametrize("overlap", [0.0, 0.04])
def test_a_recording_whose_segments_overlap_is_judged_as_one_whose_do_not(overlap: float) -> None:
    state, alerts = StreamState("channel"), []
    for score in black_from(100, 200):
        longer = score.model_copy(update={"duration": SECONDS + overlap})
        state, new_alerts = step(from_json(to_json(state)), longer, LIMITS, BEGIN)
        alerts += new_alerts
    assert [(alert.kind, alert.segment_id) for alert in alerts] == [("black", "channel/102")]


def test_a_recording_that_is_announced_faster_than_it_plays_is_judged_by_its_own_time() -> None:
    scores = [make_score(i, 70, black=float(i % 400 > 390)) for i in range(6000)]
    state, alerts = StreamState("channel"), []
    for score in scores:
        state, new_alerts = step(state, score, LIMITS, BEGIN)
        alerts += new_alerts
    assert 6000 * SECONDS < FAST_SECONDS
    assert alerts == fold(scores)[1]


@pytest.mark.parametrize("moves", [-DAY, -3600.0, 3600.0, DAY])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_clock_that_is_set_for_good_is_followed(moves: float, restarts: bool) -> None:
    scores = black_from(30, 60)
    scores[20:] = [shifted(score, moves, sequence=score.sequence - 20 * restarts) for score in scores[20:]]
    if moves < 0:
        # Back from a clock that was ahead.
        scores = [shifted(score, -moves) for score in scores]
    assert [(alert.kind, alert.state) for alert in judged(scores)[1]] == [("black", "firing")]


RESTARTS = pytest.mark.parametrize("restarts", [False, True])


def set_back(scores: list[SegmentScore], place: int, by: float, restarts: bool) -> list[SegmentScore]:
    """The scores of a stream whose packager's clock is set back at this place. restarts: its numbers are, too."""
    moved = [shifted(score, -by, sequence=score.sequence - place * restarts) for score in scores[place:]]
    return scores[:place] + moved


def start_of(place: int) -> datetime:
    """The start of the segment in this place, by a right clock."""
    return BEGIN + timedelta(seconds=place * SECONDS)


@pytest.mark.parametrize("by", [45.0, 250.0, 3600.0, DAY])
@RESTARTS
def test_a_clock_that_is_set_back_blinds_alerts_for_no_longer_than_a_silence_takes(by: float, restarts: bool) -> None:
    black = 150 + int(LIMITS.no_segments.after / SECONDS)
    scores = [make_score(i, 70, black=float(black <= i < black + 20)) for i in range(black + 40)]
    state, alerts = judged(set_back(scores, 150, by, restarts))
    assert [(alert.kind, alert.state) for alert in alerts] == [("black", "firing"), ("black", "resolved")]
    for alert, place in zip(alerts, (black, black + 20), strict=True):
        assert abs((alert.ended_at or alert.started_at) - start_of(place)) <= 2 * LAG, "when it arrived"
    assert abs(state.renditions[""].until - start_of(black + 40)) <= 2 * LAG
    assert state.renditions[""].behind is None


@pytest.mark.parametrize("ahead", [3600.0, DAY])
def test_a_clock_that_was_ahead_and_is_behind_after_a_restart_is_followed_as_soon(ahead: float) -> None:
    black = 150 + int(LIMITS.no_segments.after / SECONDS)
    scores = [make_score(i, 70, black=float(i >= black)) for i in range(black + 20)]
    scores[50:100] = [shifted(score, ahead) for score in scores[50:100]]
    scores[100:] = [shifted(score, -45.0, sequence=score.sequence - 100) for score in scores[100:]]
    state, alerts = judged(scores)
    assert [(alert.kind, alert.state) for alert in alerts] == [("black", "firing")]
    assert abs(alerts[0].started_at - start_of(black)) <= 2 * LAG
    assert state.renditions[""].ahead == pytest.approx(-45, abs=2 * LAG.total_seconds())


def test_renditions_whose_scores_are_written_at_once_are_each_followed() -> None:
    state, alerts = StreamState("channel"), []
    for i in range(150):
        for name in ("1080p", "480p"):
            score = make_score(i, 70, rendition=name, black=float(i >= 100))
            back = shifted(score, -600.0, sequence=i - 50) if i >= 50 else score
            state, new_alerts = step(state, back, LIMITS, written_at(i))
            alerts += new_alerts
    assert [(alert.rendition, alert.kind, alert.state) for alert in alerts] == [
        ("1080p", "black", "firing"), ("480p", "black", "firing")
    ]  # fmt: skip


@pytest.mark.parametrize("is_known", [False, True])
def test_a_rendition_with_a_clock_behind_ends_a_silence_when_it_comes_back_alone(is_known: bool) -> None:
    state = StreamState("channel")
    for i in range(100):
        state, _ = step(state, make_score(i, rendition="1080p"), LIMITS, written_at(i))
        if is_known:
            state, _ = step(state, shifted(make_score(i, rendition="480p"), -3600.0), LIMITS, written_at(i))
    silent, alerts = tick(state, written_at(120), 40, LIMITS)
    assert silent is not None
    for i in range(120, 140):
        silent, new_alerts = step(silent, shifted(make_score(i, rendition="480p"), -3600.0), LIMITS, written_at(i))
        alerts += new_alerts
    assert [(alert.kind, alert.state) for alert in alerts] == [("no-segments", "firing"), ("no-segments", "resolved")]


@RESTARTS
def test_an_alert_that_is_open_when_the_clock_is_set_back_resolves_with_its_real_duration(restarts: bool) -> None:
    scores = [make_score(i, 70, black=float(30 <= i < 80)) for i in range(120)]
    alerts = judged(set_back(scores, 60, 3600.0, restarts))[1]
    assert [(alert.kind, alert.state) for alert in alerts] == [("black", "firing"), ("black", "resolved")]
    assert alerts[1].ended_at is not None
    assert abs(alerts[1].ended_at - alerts[1].started_at - timedelta(seconds=50 * SECONDS)) <= 2 * LAG


@RESTARTS
def test_a_stream_that_comes_back_with_its_clock_set_back_is_no_longer_silent_and_its_next_death_is_told(restarts: bool) -> None:
    state = judged([make_score(i) for i in range(100)])[0]
    silent, _ = tick(state, written_at(120), 40, LIMITS)
    assert silent is not None
    back, alerts = judged([shifted(make_score(i), -3600.0, sequence=i - 120 * restarts) for i in range(120, 200)], silent, 120)
    assert [(alert.kind, alert.state) for alert in alerts] == [("no-segments", "resolved")]
    (told,) = tick(back, written_at(220), 40, LIMITS)[1]
    assert abs(told.started_at - start_of(200)) <= 2 * LAG


@pytest.mark.parametrize("behind", [3600.0, 3 * DAY, 20 * 365 * DAY])
def test_a_stream_whose_clock_is_behind_is_told_when_it_dies_and_given_up_as_late_as_any(behind: float) -> None:
    state = judged([shifted(make_score(i), -behind) for i in range(100)])[0]
    silent, (alert,) = tick(state, written_at(120), 40, LIMITS)
    assert silent is not None
    assert (alert.kind, alert.state, alert.started_at) == ("no-segments", "firing", state.until)
    day = LIMITS.no_segments.forget_after
    assert tick(silent, written_at(99) + timedelta(seconds=day - 1), day - 1, LIMITS) == (silent, [])
    given_up = written_at(99) + timedelta(seconds=day)
    gone, (end,) = tick(silent, given_up, 40, LIMITS)  # of a worker that was away meanwhile
    assert gone is None
    assert (end.alert_id, end.ended_at) == (alert.alert_id, given_up)


@pytest.mark.parametrize("count", [1, 300])
def test_a_recording_of_days_ago_that_is_scored_faster_than_it_plays_is_no_stream_that_died(count: int) -> None:
    state = StreamState("channel")
    written = written_at(0) + timedelta(days=3)
    for place in range(count):  # one: a dead letter that is sent again
        written += timedelta(seconds=0.5)
        state = step(from_json(to_json(state)), make_score(place), LIMITS, written)[0]
    assert tick(state, written + timedelta(seconds=30), 30, LIMITS) == (None, [])


@RESTARTS
def test_a_clock_that_is_right_again_is_followed_at_once(restarts: bool) -> None:
    scores = set_back([make_score(i, 70, black=float(i >= 200)) for i in range(210)], 100, 3600.0, restarts)
    scores[190:] = [make_score(i, 70, black=float(i >= 200)) for i in range(190, 210)]
    (alert,) = judged(scores)[1]
    assert alert.started_at == make_score(200).start


def test_scores_that_are_read_again_are_no_clock_that_is_set_back() -> None:
    # A whole hour, as after a worker that read a backlog was killed before it committed.
    scores = [make_score(i, 70, black=float(500 <= i < 600)) for i in range(1800)]
    state, alerts = judged(scores)
    assert len(alerts) == 2
    assert step_all(state, scores, 0) == (state, [])


@pytest.mark.parametrize("pace", [1.5, 10.0])
def test_segments_that_are_scored_again_faster_than_they_play_are_no_clock_that_is_set_back(pace: float) -> None:
    scores = [make_score(i, 70, black=float(500 <= i < 600)) for i in range(1800)]
    state, later = judged(scores)[0], written_at(1800)
    for place, score in enumerate(scores):
        state, alerts = step(from_json(to_json(state)), score, LIMITS, later + timedelta(seconds=place * SECONDS / pace))
        assert alerts == []
    assert state.renditions[""].until == start_of(1800)


def test_a_rendition_that_is_behind_and_repeats_among_new_segments_are_no_clock_that_is_set_back() -> None:
    scores = []
    for i in range(200):
        scores += [make_score(i + 60, rendition="1080p"), make_score(i, rendition="480p"), make_score(i, rendition="1080p")]
    state, alerts = StreamState("channel"), []
    for place, score in enumerate(scores):
        state, new_alerts = step(from_json(to_json(state)), score, LIMITS, written_at(60 + place // 3))
        alerts += new_alerts
    assert alerts == []
    assert {name: rendition.until for name, rendition in state.renditions.items()} == {
        "1080p": start_of(260),
        "480p": start_of(200),
    }


@pytest.mark.parametrize("ahead", [3600.0, 5 * 3600.0, DAY, 365 * DAY])
def test_a_state_that_a_wrong_clock_got_into_heals(ahead: float) -> None:
    # As a worker wrote it that took all clocks as they came: with an alert that a stray resolved, and a silence.
    scores = [make_score(i, 70, black=float(i < 10)) for i in range(20)]
    scores += [shifted(make_score(20 + i, 70), ahead, sequence=2**40 + i) for i in range(10)]
    poisoned = from_json(to_json(fold(scores)[0]))
    assert poisoned.until is not None
    assert poisoned.until > BEGIN + timedelta(seconds=ahead)
    silent, _ = tick(poisoned, BEGIN, 60, LIMITS)
    for state in (poisoned, silent):
        blackened = [make_score(i, 70, black=1.0) for i in range(40, 60)]
        healed, alerts = judged(blackened, state, 40)
        assert ("black", "firing") in [(alert.kind, alert.state) for alert in alerts]
        assert tick(healed, written_at(60), 600, LIMITS)[1] != [], "the silence after it is seen"


@given(st.lists(st.tuples(st.sampled_from([0.0, 20.0, 600.0, DAY, -DAY]), st.booleans()), max_size=60), st.integers(0, 60))
def test_scores_that_are_read_again_change_nothing(clocks: list[tuple[float, bool]], again: int) -> None:
    scores = [shifted(make_score(i, 70, black=float(black)), ahead) for i, (ahead, black) in enumerate(clocks)]
    state, _ = judged(scores)
    repeated = scores[-again:] if again else []
    later = step_all(state, repeated, len(scores) - len(repeated))[1]
    sent = {(alert.alert_id, alert.state) for alert in step_all(StreamState("channel"), scores, 0)[1]}
    if all(ahead == 0 for ahead, _ in clocks):
        assert {(alert.alert_id, alert.state) for alert in later} <= sent


def step_all(state: StreamState, scores: list[SegmentScore], first: int) -> tuple[StreamState, list[QualityAlert]]:
    """As `judged`, without its checks."""
    alerts = []
    for place, score in enumerate(scores, start=first):
        state, new_alerts = step(state, score, LIMITS, written_at(place))
        alerts += new_alerts
    return state, alerts


def test_a_stray_that_follows_on_a_state_that_a_wrong_clock_got_into_changes_nothing() -> None:
    poisoned = fold([make_score(0), shifted(make_score(1), 3600.0)])[0]
    scores = [shifted(make_score(2), 3600.0), *(make_score(i, black=1.0) for i in range(2, 20))]
    assert [alert.kind for alert in judged(scores, poisoned, 2)[1]] == ["black"]


def test_a_rendition_whose_clock_is_days_behind_the_others_is_kept_while_it_lives() -> None:
    state, alerts = StreamState("channel"), []
    for place in range(80):
        score = make_score(place, 70, black=float(20 <= place < 40), rendition="480p")
        for strange in (shifted(score, -3 * DAY), score.model_copy(update={"rendition": "720p"})):
            state, new_alerts = step(from_json(to_json(state)), strange, LIMITS, written_at(place))
            alerts += new_alerts
    states = {name: [alert.state for alert in alerts if alert.rendition == name] for name in ("480p", "720p")}
    assert states == {"480p": ["firing", "resolved"], "720p": ["firing", "resolved"]}
    # One that comes no more is given up a day later.
    late = make_score(80, 70, rendition="720p")
    assert step(state, late, LIMITS, written_at(79) + timedelta(seconds=DAY + 2))[0].renditions.keys() == {"720p"}
