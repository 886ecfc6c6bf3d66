"""The JSON Schema of each event: `python -m streams.events docs/schemas` writes them."""

from __future__ import annotations

import json
from pathlib import Path

from streams.events.alerts import AlertAcknowledgement, QualityAlert
from streams.events.base import Event
from streams.events.scores import SegmentScore
from streams.events.segments import SegmentEvent
from streams.events.training import ModelUpdate, StreamDeletion, TrainingExample

EVENTS: tuple[type[Event], ...] = (
    SegmentEvent,
    SegmentScore,
    QualityAlert,
    AlertAcknowledgement,
    TrainingExample,
    StreamDeletion,
    ModelUpdate,
)


def write_schemas(directory: Path) -> list[Path]:
    """Write one JSON Schema file per event type; returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for event in EVENTS:
        path = directory / f"{event.__name__}.json"
        path.write_text(json.dumps(event.model_json_schema(), indent=2, sort_keys=True) + "\n")
        paths.append(path)
    return paths
