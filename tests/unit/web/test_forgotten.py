"""Streams that were forgotten while their alerts fired: nobody ends these any more, and no wall may show them for ever."""

from __future__ import annotations

import json

import pytest

from streams.alerts.detector import open_alerts, step
from streams.alerts.policy import default_limits
from streams.alerts.state import StreamState
from streams.web.labels import LabelFilter
from streams.web.live import FORGET_SECONDS, Live
from streams.web.summary import summary_of
from streams.web.wire import Feed
from tests.support.alerts import SECONDS, make_score
from tests.unit.web.test_live import START, feed, make_alert


@pytest.fixture
def fallen() -> StreamState:
    """The alert agent's state of a stream that is black."""
    state = StreamState("channel")
    for number in range(20):
        state, _ = step(state, make_score(number, 50, black=1.0), default_limits())
    assert [alert.kind for alert in open_alerts(state)] == ["black"]
    return state


def test_an_alert_that_is_left_on_its_topic_makes_no_stream() -> None:
    live = Live()
    live.add_alert(make_alert("black"))
    assert not live.streams
    assert not live.alerts
    assert summary_of(live, LabelFilter(), START).alerts == 0


def test_the_first_state_of_a_stream_brings_the_alert_that_was_read_before_it(fallen: StreamState) -> None:
    live, (alert,) = Live(), open_alerts(fallen)
    live.add_alert(alert)
    live.add_state("channel", fallen)
    assert live.firing() == [alert]
    live.add_alert(alert.model_copy(update={"state": "resolved", "ended_at": alert.started_at}))
    assert live.firing() == []
    live.add_state("channel", fallen)
    assert live.firing() == [], "later `quality-alerts` tells what fires"


def test_an_alert_whose_end_was_read_before_the_first_state_stays_over(fallen: StreamState) -> None:
    live, (alert,) = Live(), open_alerts(fallen)
    live.add_alert(alert.model_copy(update={"state": "resolved", "ended_at": alert.started_at}))
    live.add_state("channel", fallen)
    assert live.firing() == []


def test_an_alert_holds_a_silent_stream_as_long_as_the_alert_agent_knows_it(fallen: StreamState) -> None:
    known, left = Live(), Live()
    known.add_state("channel", fallen, first=True)
    feed(left, [make_score(19, 50, black=1.0)])  # a wall that started within two minutes of the last score
    left.add_alert(make_alert("black"))
    for day in range(1, 4):
        for live in (known, left):
            live.tick(START + 20 * SECONDS + day * FORGET_SECONDS + 10)
    assert [alert.kind for alert in known.firing()] == ["black"]
    assert not left.streams
    assert not left.alerts
    known.add_state("channel", None)
    assert not known.streams
    assert not known.alerts


def test_a_stream_that_comes_back_into_a_feed_brings_its_alert() -> None:
    live = Live()
    tier = [{"tier": name} for name in ("premium", "free", "premium")]
    feed(live, [make_score(0, labels=tier[0])])
    live.add_alert(make_alert("black", labels=tier[0]))
    browsers = Feed(live, LabelFilter.of([("tier", "premium")]))
    live.changes()
    told = []
    for number in (1, 2, 3):
        feed(live, [make_score(number, labels=tier[min(number, 2)])])
        told.append([json.loads(text)["type"] for text in browsers.frames(live.changes(), START + number * SECONDS)])
    # The page drops the alerts of a stream that leaves.
    assert told == [["streams"], ["streams", "scores", "alert"], ["scores"]]


def test_a_stream_that_is_there_again_at_once_is_first_gone_for_browsers(fallen: StreamState) -> None:
    """As one that goes on while `fvq forget` deletes it: a browser drops the alerts of a stream that is gone."""
    live = Live()
    live.add_state("channel", fallen)
    told = Feed(live, LabelFilter())
    assert [entry["alert"]["stream_id"] for entry in json.loads(told.snapshot(START))["alerts"]] == ["channel"]
    live.changes()
    live.add_state("channel", None)
    feed(live, [make_score(21, 80)])
    gone, new, *rest = [json.loads(frame) for frame in told.frames(live.changes(), START + 21 * SECONDS)]
    assert (gone["type"], gone["gone"], gone["add"]) == ("streams", [0], [])
    assert (new["type"], new["gone"], [row["i"] for row in new["add"]]) == ("streams", [], [1])
    assert "alert" not in {frame["type"] for frame in rest}
