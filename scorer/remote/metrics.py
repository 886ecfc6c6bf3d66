"""The Prometheus metrics of one replica, in a registry of their own."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram, generate_latest

from scorer.exposition import from_zero, new_registry
from scorer.spec import ModelId

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
CLIPS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
BYTES = tuple(float(1 << power) for power in range(16, 31, 2))


class ReplicaMetrics:
    """What a replica counts and measures."""

    def __init__(self) -> None:
        self._registry = new_registry()
        self.requests = from_zero(
            Counter("fvq_scorer_requests", "Requests to score, by HTTP status.", ["status"], registry=self._registry),
            "200", "500", "503",
        )  # fmt: skip
        self.request_seconds = Histogram(
            "fvq_scorer_request_seconds", "Time from a request's headers to its scores.", buckets=SECONDS, registry=self._registry
        )
        self.clips = Counter("fvq_scorer_clips", "Clips whose scores were sent.", registry=self._registry)
        self.body_bytes = Histogram(
            "fvq_scorer_body_bytes", "Size of the bodies that were read.", buckets=BYTES, registry=self._registry
        )
        self.batch_clips = Histogram("fvq_scorer_batch_clips", "Clips scored together.", buckets=CLIPS, registry=self._registry)
        self.scoring_seconds = Histogram(
            "fvq_scorer_scoring_seconds", "Time of the model for one batch.", buckets=SECONDS, registry=self._registry
        )
        self.queue_clips = Gauge(
            "fvq_scorer_queue_clips", "Clips in the server, from the body to the answer.", registry=self._registry
        )
        self.queue_limit = Gauge("fvq_scorer_queue_limit_clips", "The most clips in the server.", registry=self._registry)
        self.waiting = Gauge("fvq_scorer_waiting_requests", "Requests that wait for room in the queue.", registry=self._registry)
        self.ready = Gauge("fvq_scorer_ready", "1 while /healthz says that the replica is ready.", registry=self._registry)
        self.model = Gauge("fvq_scorer_model", "1 for the model that scores.", ["name", "version"], registry=self._registry)
        self.reloads = from_zero(
            Counter(
                "fvq_scorer_reloads", "New model versions, by what became of them: loaded or refused.", ["result"],
                registry=self._registry,
            ),
            "loaded", "refused",
        )  # fmt: skip

    def add_batch(self, clips: int, seconds: float) -> None:
        """Count one batch."""
        self.batch_clips.observe(clips)
        self.scoring_seconds.observe(seconds)

    def show_model(self, model: ModelId) -> None:
        """Set the metric `fvq_scorer_model` to 1 for this model, and remove the model before."""
        self.model.clear()
        self.model.labels(model.name, model.version).set(1)

    def show_reload(self, model: ModelId) -> None:
        """Count a version that took over."""
        self.reloads.labels("loaded").inc()
        self.show_model(model)

    def count_refused(self) -> None:
        """Count a version that was refused."""
        self.reloads.labels("refused").inc()

    def page(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
