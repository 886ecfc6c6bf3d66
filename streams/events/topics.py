"""The names of all topics."""

from __future__ import annotations

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
