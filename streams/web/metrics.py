"""The wall's Prometheus metrics."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from scorer.exposition import from_zero, new_registry
from streams.events import (
    ALERT_ACKS_TOPIC,
    ALERT_STATE_TOPIC,
    ALERTS_TOPIC,
    MODELS_TOPIC,
    PICTURES_TOPIC,
    SCORES_TOPIC,
)

REGISTRY = new_registry()

READY = Gauge(
    "fvq_web_ready",
    "1 while the topics are followed; 0 until what they held at the start is read, and where Kafka does not answer.",
    registry=REGISTRY,
)
SOCKETS = Gauge("fvq_web_sockets", "Browsers that listen.", registry=REGISTRY)
STREAMS = Gauge("fvq_web_streams", "Streams that are known.", registry=REGISTRY)
MESSAGES = from_zero(
    Counter("fvq_web_messages", "Messages read, by topic.", ["topic"], registry=REGISTRY),
    SCORES_TOPIC, ALERTS_TOPIC, ALERT_STATE_TOPIC, ALERT_ACKS_TOPIC, MODELS_TOPIC, PICTURES_TOPIC,
)  # fmt: skip
REQUESTS = Histogram(
    "fvq_web_request_seconds", "Time of an answer of the API, by route and status.", ["route", "status"], registry=REGISTRY,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)  # fmt: skip
