"""The worker's Prometheus metrics."""

from __future__ import annotations

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from scorer.exposition import build_info, from_zero
from scorer.spec import ModelId

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
DEEP_REASONS = ("control", "alert", "changing", "low", "uncertain")
FULL_REASONS = (
    "start", "gap", "model", "format", "due", "changed", "black", "frozen", "no-picture", "alert", "uncertain", "again",
    "repeat", "unread", "unanswered",
)  # fmt: skip
ALERT_KINDS = ("low-quality", "quality-drop", "black", "frozen", "no-segments", "no-face", "silent")
DEAD_LETTER_KINDS = (
    "unreadable", "event", "refused", "not-found", "too-large", "unreachable", "timeout", "truncated", "no-video", "empty",
    "undecodable", "memory", "killed", "failed", "internal", "model", "sink",
)  # fmt: skip
"""The kinds in docs/dead-letters.md."""

build_info(REGISTRY)

SEGMENTS = from_zero(
    Counter("fvq_segments", "Segments answered, by status: scored, skipped or dead-letter.", ["status"]),
    "scored", "skipped", "dead-letter",
)  # fmt: skip
TIERS = from_zero(
    Counter(
        "fvq_tier_segments",
        "Segments scored, by tier and why they got that look ('' for a glance, or without glances).",
        ["tier", "reason"],
    ),
    ("glance", ""), ("full", ""), *(("full", reason) for reason in FULL_REASONS), *(("deep", reason) for reason in DEEP_REASONS),
)  # fmt: skip
DEEP_SECONDS = Histogram("fvq_deep_seconds", "Time of one look by the large model, with its sampling.", buckets=SECONDS)
DEEP_UNANSWERED = from_zero(
    Counter("fvq_deep_unanswered", "Looks without a score: timeout, failed (the model), segment (this clip alone).", ["why"]),
    "timeout", "failed", "segment",
)  # fmt: skip
DEEP_SHARE = Gauge("fvq_deep_share", "Share of this worker's segments that got a look, since it started; FVQ_DEEP_SHARE at most.")
DEAD_LETTERS = from_zero(
    Counter("fvq_dead_letters", "Events sent to the dead-letter topic, by kind of failure.", ["kind"]), *DEAD_LETTER_KINDS
)
STAGE_SECONDS = from_zero(
    Histogram(
        "fvq_stage_seconds",
        "Time of one stage: fetch, glance and sample per segment, score and flush per batch.",
        ["stage"],
        buckets=SECONDS,
    ),
    "fetch", "glance", "sample", "score", "flush",
)  # fmt: skip
SAMPLER_BUSY = Counter(
    "fvq_sampler_busy_seconds",
    "Time that the sampling children spent on segments; its rate divided by fvq_sampler_children is the share that is busy.",
)
SAMPLER_CHILDREN = Gauge("fvq_sampler_children", "Sampling children of this worker (FVQ_SAMPLER_WORKERS).")
SAMPLER_WAITING = Gauge("fvq_sampler_waiting_tasks", "Segments that wait for a sampling child.")
BATCH_SEGMENTS = Histogram("fvq_batch_segments", "Segments scored together.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256))
EVENT_LAG = Histogram(
    "fvq_event_lag_seconds",
    "Time from a segment's end to its score.",
    buckets=(0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 900, 3600),
)
EVENT_LAG_LAST = Gauge("fvq_event_lag_last_seconds", "Time from the end of the last answered segment to its score.")
CONSUMER_LAG = Gauge(
    "fvq_consumer_lag_messages", "Messages of a partition of this worker that are not yet acknowledged.", ["partition"]
)
FLOOD = Gauge("fvq_dead_letter_flood", "1 while no segments are taken, because nearly all fail by this kind.", ["kind"])
STREAM_SCORE = Gauge(
    "fvq_stream_score",
    "Score, points, of the streams of this worker that are worst now, FVQ_WORST_STREAMS of them at most; none by default.",
    ["stream_id"],
)
SHED = from_zero(
    Counter(
        "fvq_shed_segments",
        "Segments skipped within the live window because the workers cannot keep up, by priority: high or ordinary.",
        ["priority"],
    ),
    "high", "ordinary",
)  # fmt: skip
SINK_REJECTED = Counter("fvq_sink_rejected", "Scores that the sink refused for good; each is a dead letter too.")
IN_FLIGHT = Gauge("fvq_segments_in_flight", "Segments taken from the topic and not yet acknowledged.")
FALLBACK = Gauge("fvq_scorer_fallback", "1 while the worker's own small model scores, because no served scorer answers.")
RETRIES = from_zero(
    Counter("fvq_retries", "Attempts that failed and were made again, by what failed: a part or an agent.", ["what"]),
    "scorer", "sampler", "sink", "kafka",
)  # fmt: skip
AGENT_RESTARTS = Counter("fvq_agent_restarts", "Failures after which an agent of the worker was run again.", ["agent"])
ALERTS = from_zero(
    Counter("fvq_alerts", "Alerts sent, by kind and state: firing or resolved.", ["kind", "state"]),
    *((kind, state) for kind in ALERT_KINDS for state in ("firing", "resolved")),
)
ALERTS_OPEN = from_zero(
    Gauge("fvq_alerts_open", "Alerts of this worker's streams that fire now, by kind.", ["kind"]), *ALERT_KINDS
)
ALERT_DELIVERIES = Counter(
    "fvq_alert_deliveries",
    "Alerts by receiver and by what became of them: delivered, refused or too-old.",
    ["receiver", "outcome"],
)
HARVESTED = from_zero(
    Counter("fvq_harvested", "Segments chosen to be rated, by why, or vanished: their media were gone already.", ["reason"]),
    "alert", "low-score", "uncertain", "disagreement", "operator", "vanished",
)  # fmt: skip
PICTURES = from_zero(
    Counter(
        "fvq_pictures",
        "Pictures of streams, by what became of them: sent, failed, or left-out because too many waited.",
        ["outcome"],
    ),
    "sent", "failed", "left-out",
)  # fmt: skip
MODEL = Gauge("fvq_model", "1 for the model that scores.", ["name", "version"])
MODEL_UPDATES = from_zero(
    Counter("fvq_model_updates", "New model versions, by what became of them: loaded or refused.", ["result"]),
    "loaded",
    "refused",
)


def show_model(model: ModelId) -> None:
    """Set the metric `MODEL` to 1 for this model, and remove the model before."""
    MODEL.clear()
    MODEL.labels(model.name, model.version).set(1)
