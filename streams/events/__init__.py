"""The events on the topics: the single source of their shape; and the names of the topics.

JSON on the wire. Unknown fields are ignored; a missing or wrong one is an `EventError`, which sends the event to the
dead-letter topic. `python -m streams.events docs/schemas` writes the JSON Schema of each event.
"""

from streams.events.alerts import AlertAcknowledgement, AlertCause, AlertKind, QualityAlert, Severity, SignalMove
from streams.events.base import MAX_EVENT_BYTES, YEARS, Event, Name
from streams.events.schemas import EVENTS, write_schemas
from streams.events.scores import (
    AudioSummary,
    BitstreamSummary,
    FaceSummary,
    FullReason,
    Level,
    ModelRef,
    SecondOpinion,
    SegmentScore,
    Signals,
    Tier,
    TierReason,
)
from streams.events.segments import LONGEST_SEGMENT, STORE_LABEL, SegmentEvent, SegmentKey, may_be_stored
from streams.events.training import HarvestReason, ModelUpdate, OperatorRating, StreamDeletion, TrainingExample
from streams.topic_names import (
    ALERT_ACKS_TOPIC,
    ALERT_STATE_TOPIC,
    ALERTS_TOPIC,
    DEAD_LETTER_TOPIC,
    INGEST_STATE_TOPIC,
    LETTER_MARKS_TOPIC,
    MODELS_TOPIC,
    PICTURES_TOPIC,
    SCORES_TOPIC,
    SEGMENTS_TOPIC,
    TRAINING_TOPIC,
)

__all__ = [
    "ALERTS_TOPIC",
    "ALERT_ACKS_TOPIC",
    "ALERT_STATE_TOPIC",
    "DEAD_LETTER_TOPIC",
    "EVENTS",
    "INGEST_STATE_TOPIC",
    "LETTER_MARKS_TOPIC",
    "LONGEST_SEGMENT",
    "MAX_EVENT_BYTES",
    "MODELS_TOPIC",
    "PICTURES_TOPIC",
    "SCORES_TOPIC",
    "SEGMENTS_TOPIC",
    "STORE_LABEL",
    "TRAINING_TOPIC",
    "YEARS",
    "AlertAcknowledgement",
    "AlertCause",
    "AlertKind",
    "AudioSummary",
    "BitstreamSummary",
    "Event",
    "FaceSummary",
    "FullReason",
    "HarvestReason",
    "Level",
    "ModelRef",
    "ModelUpdate",
    "Name",
    "OperatorRating",
    "QualityAlert",
    "SecondOpinion",
    "SegmentEvent",
    "SegmentKey",
    "SegmentScore",
    "Severity",
    "SignalMove",
    "Signals",
    "StreamDeletion",
    "Tier",
    "TierReason",
    "TrainingExample",
    "may_be_stored",
    "write_schemas",
]
