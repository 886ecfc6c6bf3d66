"""When the wall's reader has read what there was at its start."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from streams.events import ALERTS_TOPIC, PICTURES_TOPIC, SCORES_TOPIC
from streams.kafka.connection import Connection
from streams.kafka.consumer import TopicPartition
from streams.web.follow import RECENT_SECONDS, Follower, Progress
from streams.web.live import Live
from tests.support.fleet import Fleet
from tests.support.fleet_content import at_time

SCORES, PICTURES = TopicPartition(SCORES_TOPIC, 0), TopicPartition(PICTURES_TOPIC, 0)


def test_it_is_ready_when_everything_at_the_start_was_read() -> None:
    progress = Progress()
    assert not progress.is_ready, "nobody has looked yet"
    progress.missing = SCORES_TOPIC
    assert not progress.is_ready
    progress.missing, progress.ends = "", {SCORES: 3}
    assert not progress.is_ready
    progress.position[SCORES] = 2
    assert not progress.is_ready
    progress.position[SCORES] = 3
    assert progress.is_ready


def test_a_topic_that_is_new_or_away_later_takes_nothing_from_what_is_shown() -> None:
    progress = Progress(position={SCORES: 3}, ends={SCORES: 3}, missing="")
    assert progress.is_ready
    progress.ends[PICTURES] = 5
    assert progress.is_ready
    progress.missing = SCORES_TOPIC
    assert progress.is_ready


@pytest.mark.parametrize(("days", "known"), [(0.5, {"open", "over"}), (3, {"over"})])
def test_alerts_of_days_ago_are_known_where_they_are_over(days: float, known: set[str]) -> None:
    """One that fires still is in its stream's state; of a stream that was forgotten nothing tells the end."""
    assert RECENT_SECONDS[ALERTS_TOPIC] >= 3 * 86400
    fleet, then, live = Fleet(50), time.time() - days * 86400, Live()
    fired = fleet.live.firing()[0].model_copy(update={"alert_id": "open", "started_at": at_time(then - 60)})
    live.streams = fleet.live.streams
    over = fired.model_copy(update={"alert_id": "over", "state": "resolved", "ended_at": at_time(then)})
    follower = Follower(Connection("none:1"), live, lambda _: None)
    for alert in (fired, over):
        change = follower._parsed(SimpleNamespace(topic=ALERTS_TOPIC, value=alert.to_bytes(), timestamp=int(then * 1000)))
        if change is not None:
            change(live)
    assert set(live.alerts) == known
