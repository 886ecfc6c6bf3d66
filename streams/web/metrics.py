"""The wall's Prometheus metrics."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from scorer.exposition import new_registry

REGISTRY = new_registry()

READY = Gauge(
    "fvq_web_ready",
    "1 while the topics are followed; 0 until what they held at the start is read, and where Kafka does not answer.",
    registry=REGISTRY,
)
SOCKETS = Gauge("fvq_web_sockets", "Browsers that listen.", registry=REGISTRY)
STREAMS = Gauge("fvq_web_streams", "Streams that are known.", registry=REGISTRY)
MESSAGES = Counter("fvq_web_messages", "Messages read, by topic.", ["topic"], registry=REGISTRY)
REQUESTS = Histogram(
    "fvq_web_request_seconds", "Time of an answer of the API, by route and status.", ["route", "status"], registry=REGISTRY,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)  # fmt: skip
