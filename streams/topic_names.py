"""The names of all topics, and how an environment that shares its brokers with others puts its prefix before them."""

from __future__ import annotations

import re
from collections.abc import Callable

from streams.text import printable

SEGMENTS_TOPIC = "video-segments"
SCORES_TOPIC = "segment-scores"
ALERTS_TOPIC = "quality-alerts"
TRAINING_TOPIC = "training-queue"
DEAD_LETTER_TOPIC = "video-segments.dead-letter"
LETTER_MARKS_TOPIC = "dead-letter-marks"
MODELS_TOPIC = "model-updates"
ALERT_ACKS_TOPIC = "alert-acks"
ALERT_STATE_TOPIC = "alert-state"
INGEST_STATE_TOPIC = "ingest-state"
PICTURES_TOPIC = "stream-pictures"

PER_STREAM = (SEGMENTS_TOPIC, SCORES_TOPIC, ALERTS_TOPIC, DEAD_LETTER_TOPIC)
"""Topics keyed by stream: all have the same number of partitions, as Faust's tables need."""

ALL_TOPICS = (
    SEGMENTS_TOPIC, SCORES_TOPIC, ALERTS_TOPIC, DEAD_LETTER_TOPIC, LETTER_MARKS_TOPIC, TRAINING_TOPIC, ALERT_STATE_TOPIC,
    ALERT_ACKS_TOPIC, INGEST_STATE_TOPIC, PICTURES_TOPIC, MODELS_TOPIC,
)  # fmt: skip
"""Every topic that this product reads or writes, without a prefix."""

LONGEST_NAME = 249
"""Characters of a topic's name that Kafka takes."""

LONGEST_PREFIX = LONGEST_NAME - max(map(len, ALL_TOPICS))

LEGAL = re.compile(r"[A-Za-z0-9._-]*")
"""What Kafka takes in a topic's name."""

SHOWN = 100
"""Characters of a wrong prefix that its error shows."""

Named = Callable[[str], str]
"""From a name without prefix to what it is called on the brokers: `Connection.named`."""


def prefixed(prefix: str, name: str) -> str:
    """What a topic, a consumer group or a folder of an environment is called. prefix: of the environment, may be empty.

    The one place in which names get the prefix. `Connection.named` calls it for those who have a connection.
    """
    return prefix + name


def checked_prefix(prefix: str) -> str:
    """The prefix, if Kafka takes every topic's name with it. Raises `ValueError`."""
    if not LEGAL.fullmatch(prefix):
        raise ValueError(
            f"{printable(repr(prefix))[:SHOWN]} cannot begin a topic's name: write letters A-Z and a-z, digits, '.', '_' and '-'"
        )
    if len(prefix) > LONGEST_PREFIX:
        raise ValueError(
            f"has {len(prefix)} characters: write at most {LONGEST_PREFIX}, because a topic's name has at most {LONGEST_NAME}"
        )
    return prefix
