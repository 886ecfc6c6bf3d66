"""Scores for tests of the sinks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from streams.events import FaceSummary, ModelRef, SegmentScore, Signals


def make_score(**changes: Any) -> SegmentScore:
    """A scored segment with a value in every field that a sink keeps. changes: fields with other values."""
    fields: dict[str, Any] = {
        "stream_id": "s",
        "segment_id": "s/1",
        "sequence": 1,
        "uri": "file:///a",
        "start": datetime(2026, 1, 31, 20, 15, 4, tzinfo=UTC),
        "duration": 2.0,
        "status": "scored",
        "score": 61.5,
        "level": "good",
        "level_probs": {"good": 0.7, "fair": 0.3},
        "uncertainty": 4.0,
        "faces": FaceSummary(count=1, area=0.2),
        "model": ModelRef(name="nano", version="1"),
        "signals": Signals(black=0, freeze=0, blur=0.2, blockiness=0.1, noise=1, luma=120, contrast=40),
    }
    return SegmentScore(**(fields | changes))
