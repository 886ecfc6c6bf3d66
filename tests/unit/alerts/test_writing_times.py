"""What the times at which scores were written say of a stream, and what they do not: scorers are away, or score in bursts."""

from __future__ import annotations

from datetime import timedelta

from streams.alerts.detector import step
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
