"""The ingester's Prometheus metrics. Only streams in trouble have series of their own."""

from __future__ import annotations

import contextlib

from prometheus_client import Counter, Gauge, Histogram

from scorer.exposition import from_zero, new_registry

REGISTRY = new_registry()
"""Apart from the worker's: `fvq ingest` shows these, a worker does not."""

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def _of_stream(name: str, meaning: str) -> Counter:
    return Counter(name, meaning, ["stream"], registry=REGISTRY)


LOADS = from_zero(
    Counter(
        "fvq_ingest_loads",
        "Loads of playlists, by outcome: changed, unchanged, ended or what failed.",
        ["outcome"],
        registry=REGISTRY,
    ),
    "changed", "unchanged", "ended", "not-found", "unreachable", "busy", "timeout", "too-large", "refused", "no-playlist",
)  # fmt: skip
LOAD_SECONDS = Histogram("fvq_ingest_load_seconds", "Time of one load of a playlist.", buckets=SECONDS, registry=REGISTRY)
ANNOUNCED = Counter("fvq_ingest_segments", "Segments announced and acknowledged.", registry=REGISTRY)
SOURCES = from_zero(
    Gauge("fvq_ingest_sources", "Renditions by state.", ["state"], registry=REGISTRY),
    "starting", "waiting", "live", "stale", "failing", "encrypted", "ended",
)  # fmt: skip
AGE = Gauge(
    "fvq_ingest_playlist_age_seconds", "Time since the playlist had a new segment.", ["stream", "rendition"], registry=REGISTRY
)
SKEW = Gauge(
    "fvq_ingest_clock_skew_seconds",
    "How far the source's dates are behind this machine's clock, at the end of the newest segment.",
    ["stream", "rendition"],
    registry=REGISTRY,
)
RESTARTS_OF_SOURCES = _of_stream("fvq_ingest_source_failures", "Failures after which a source was run again.")
PUBLISH_RETRIES = Counter(
    "fvq_ingest_publish_retries", "Batches that Kafka did not take and that were sent again.", registry=REGISTRY
)

COUNTERS = {
    "lost": _of_stream("fvq_ingest_lost_segments", "Segments that left the playlist or folder before they were seen."),
    "gaps": _of_stream("fvq_ingest_gaps", "Segments that the source marks as missing (EXT-X-GAP)."),
    "restarts": _of_stream("fvq_ingest_restarts", "Restarts of the encoder: numbers began anew."),
    "discontinuities": _of_stream("fvq_ingest_discontinuities", "Discontinuities among announced segments."),
    "backsteps": _of_stream("fvq_ingest_backsteps", "Playlists whose numbers went back and that were ignored: old copies."),
    "content-changed": _of_stream("fvq_ingest_content_changes", "Playlists that name another file under a known number."),
    "size-changed": _of_stream("fvq_ingest_size_changes", "Playlists that lost segments without moving on."),
    "discontinuity-sequence": _of_stream("fvq_ingest_discontinuity_sequence_errors", "Discontinuity numbers that do not fit."),
    "corrections": _of_stream("fvq_ingest_clock_corrections", "Dates that differ from the durations before them by over 0.5 s."),
    "encrypted": _of_stream("fvq_ingest_encrypted_segments", "Segments left out: encrypted by a method that is not supported."),
    "dropped": _of_stream("fvq_ingest_bad_tags", "Tags and segments that could not be read, in each playlist that changed."),
}
"""Counters by what `streams.ingest.hls.tracker.Notes` calls it."""


def forget(stream: str) -> None:
    """Remove the counters of a stream that is followed no more: those of streams that come and go would add up."""
    for counter in (RESTARTS_OF_SOURCES, *COUNTERS.values()):
        with contextlib.suppress(KeyError):
            counter.remove(stream)
