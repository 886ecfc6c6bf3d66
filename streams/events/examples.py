"""One example of each event, for the reference page; tests read them as events."""

from __future__ import annotations

from typing import Any

from streams.events.alerts import AlertAcknowledgement, QualityAlert
from streams.events.base import Event
from streams.events.scores import SegmentScore
from streams.events.segments import SegmentEvent
from streams.events.training import ModelUpdate, StreamDeletion, TrainingExample

_MODEL = {"name": "nano", "version": "bf217f7df567"}

_SEGMENT = {
    "stream_id": "studio-7",
    "segment_id": "studio-7/720p/1042",
    "sequence": 1042,
    "uri": "https://origin.example/studio-7/1042.ts",
    "start": "2026-01-31T20:15:04Z",
    "duration": 2.0,
    "rendition": "720p",
    "labels": {"tier": "premium"},
}

_HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

EXAMPLES: dict[type[Event], dict[str, Any]] = {
    SegmentEvent: _SEGMENT,
    SegmentScore: _SEGMENT
    | {
        "status": "scored",
        "score": 71.2,
        "level": "good",
        "uncertainty": 8.1,
        "faces": {"count": 1, "area": 0.12},
        "signals": {
            "black": 0.0, "freeze": 0.0, "blur": 0.1, "blockiness": 0.05, "noise": 0.8, "luma": 112.0, "contrast": 51.0,
        },
        "signals_version": 2,
        "model": _MODEL,
        "tier": "full",
        "timing": {"lag_s": 3.4},
    },
    QualityAlert: {
        "alert_id": "5d41402abc4b2a76",
        "stream_id": "studio-7",
        "rendition": "720p",
        "kind": "low-quality",
        "state": "firing",
        "started_at": "2026-01-31T20:15:04Z",
        "value": 31.5,
        "segment_id": "studio-7/720p/1047",
        "labels": {"tier": "premium"},
        "severity": "warning",
        "threshold": 40.0,
        "summary": "studio-7 (720p): quality is low, 31.5 where 40 is the limit",
        "url": "https://wall.example/alerts/5d41402abc4b2a76",
    },
    AlertAcknowledgement: {
        "alert_id": "5d41402abc4b2a76",
        "by": "kim",
        "note": "encoder restarts",
        "at": "2026-01-31T20:17:30Z",
        "stream_id": "studio-7",
    },
    TrainingExample: {
        "example_id": _HASH,
        "clip_uri": f"s3://bucket/clips/94c471b4a489cebf1bf6b0310ee723fb/{_HASH}.ts",
        "size": 512_000,
        "reason": "uncertain",
        "score": 48.3,
        "uncertainty": 17.9,
        "model": _MODEL,
        "fingerprint": "c3d2a19f00ff5e71",
        "stream_id": "studio-7",
        "segment_id": "studio-7/720p/1042",
        "sequence": 1042,
        "start": "2026-01-31T20:15:04Z",
        "duration": 2.0,
        "queued_at": "2026-01-31T20:15:12Z",
    },
    StreamDeletion: {"stream_id": "studio-7", "deleted_at": "2026-02-01T09:00:00Z"},
    ModelUpdate: {"name": "nano", "version": "4", "before": "3", "time": "2026-02-01T09:00:00Z"},
}  # fmt: skip
