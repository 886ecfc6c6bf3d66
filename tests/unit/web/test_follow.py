"""When the wall's reader has read what there was at its start."""

from __future__ import annotations

from streams.events import PICTURES_TOPIC, SCORES_TOPIC
from streams.kafka.consumer import TopicPartition
from streams.web.follow import Progress

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
