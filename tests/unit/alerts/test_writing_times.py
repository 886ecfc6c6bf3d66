"""What the times at which scores were written say of a stream, and what they do not: scorers are away, or score in bursts."""

from __future__ import annotations

from datetime import timedelta

import pytest

from streams.alerts.detector import step, tick
from streams.alerts.policy import default_limits, parse_policy
from streams.alerts.state import StreamState, from_json, to_json
from tests.support.alerts import SECONDS, make_score
from tests.unit.alerts.test_clock import written_at


def test_renditions_live_through_an_outage_of_the_scorers_that_is_longer_than_a_silent_one_is_kept() -> None:
    limits = parse_policy({"alerts": {"no_segments": {"forget_after": 300}}}).of({})
    state, alerts, away = StreamState("channel"), [], 400
    missed = range(100, 100 + int(away / SECONDS))
    for place in range(missed.stop + 20):
        # What was announced meanwhile is scored at once when the scorers are back.
        written = written_at(missed.stop - 1) + timedelta(milliseconds=place) if place in missed else written_at(place)
        for name, value in (("1080p", 70), ("480p", 20)):
            state, new_alerts = step(from_json(to_json(state)), make_score(place, value, rendition=name), limits, written)
            alerts += new_alerts
    assert [(alert.rendition, alert.kind, alert.state) for alert in alerts] == [("480p", "low-quality", "firing")]


def test_scores_that_were_written_at_once_change_nothing_when_they_are_read_again() -> None:
    state, written = StreamState("channel"), written_at(40)
    for place in range(40):
        state, _ = step(state, make_score(place), default_limits(), written)
    for place in (38, 39, 5):
        assert step(state, make_score(place), default_limits(), written) == (state, [])


def at_the_end(seconds: float, pace: float, after: float = 20.0) -> tuple[StreamState | None, list[str]]:
    """The stream, and its alerts, after a silence that follows on 400 segments of three days ago by the packager's clock.

    seconds: media time that is announced at once. pace: how many times as fast as they play the segments come.
    """
    limits = parse_policy({"alerts": {"no_segments": {"after": after}}}).of({})
    state, written = StreamState("channel"), written_at(0)
    for place in range(400):
        burst = int(place * SECONDS / seconds) + 1
        written = written_at(0) + timedelta(days=3, seconds=burst * seconds / pace)
        state, _ = step(from_json(to_json(state)), make_score(place), limits, written)
    silent, alerts = tick(state, written + timedelta(seconds=after + 10), after + 10, limits)
    return silent, [alert.kind for alert in alerts]


@pytest.mark.parametrize("seconds", [2.0, 16.0, 30.0])
@pytest.mark.parametrize("after", [2.0, 20.0])
def test_a_stream_that_comes_in_bursts_and_whose_clock_is_behind_is_told_when_it_dies(seconds: float, after: float) -> None:
    silent, kinds = at_the_end(seconds, 1, after)
    assert silent is not None
    assert kinds == ["no-segments"]


@pytest.mark.parametrize("pace", [1.6, 4.0])
@pytest.mark.parametrize("after", [2.0, 20.0, 600.0])
def test_a_recording_that_is_scored_faster_than_it_plays_is_no_stream_that_died(pace: float, after: float) -> None:
    assert at_the_end(2, pace, after) == (None, [])
