"""The reference page of the events, made from their classes: `python -m streams.events.page > docs/events.md`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from streams import topic_names
from streams.events.examples import EXAMPLES
from streams.events.schemas import EVENTS
from streams.events.segments import SegmentEvent
from streams.events.tables import Meaning, table_of

TOPICS = {
    "SegmentEvent": topic_names.SEGMENTS_TOPIC,
    "SegmentScore": topic_names.SCORES_TOPIC,
    "QualityAlert": topic_names.ALERTS_TOPIC,
    "AlertAcknowledgement": topic_names.ALERT_ACKS_TOPIC,
    "TrainingExample": topic_names.TRAINING_TOPIC,
    "StreamDeletion": topic_names.TRAINING_TOPIC,
    "ModelUpdate": topic_names.MODELS_TOPIC,
}

INTRODUCTION = """# Events

The shape of every message on the topics. Made by `python -m streams.events.page > docs/events.md`.

The messages on the topics, as JSON in UTF-8. The same as JSON Schema: [schemas/](schemas). Readers ignore fields that they do
not know; a missing or wrong one makes the whole message unreadable. What later versions may change:
[compatibility](compatibility.md#events).
Times are ISO 8601 in UTC with an offset; `start` of a segment may also be seconds or milliseconds since 1970. A field whose value
is null is not written. One message has at most 500,000 bytes. Where `FVQ_TOPIC_PREFIX` is set, it stands
before each topic's name."""


def reference() -> str:
    """The page, Markdown."""
    lines = [INTRODUCTION]
    parts: dict[str, Any] = {}
    for event in EVENTS:
        schema = event.model_json_schema()
        parts |= schema.pop("$defs", {})
        name = event.__name__
        example = event.model_validate(EXAMPLES[event]).model_dump(mode="json", exclude_none=True, exclude_unset=True)
        lines += [
            "",
            f"## {name}",
            "",
            f"On `{TOPICS[name]}`. {' '.join((event.__doc__ or '').split())}",
            "",
            *table_of(schema, _meaning_in(parts)),
        ]
        lines += ["", "```json", json.dumps(example, indent=1), "```"]
    lines += ["", "## Parts of events"]
    for name in sorted(parts):
        lines += ["", f"### {name}", "", " ".join(parts[name].get("description", "").split())]
        lines += ["", *table_of(parts[name], _meaning_in(parts))]
    return "\n".join(lines) + "\n"


def _meaning_in(parts: Mapping[str, Any]) -> Meaning:
    """What a field means: its own words, those of the segment's field that it copies, or those of the part that it holds."""
    copied = SegmentEvent.model_json_schema()["properties"]

    def meaning(name: str, part: Mapping[str, Any]) -> str:
        held = next((kind["$ref"].rpartition("/")[2] for kind in (part, *part.get("anyOf", ())) if "$ref" in kind), "")
        words = (schema.get("description") for schema in (part, copied.get(name, {}), parts.get(held, {})))
        return next((str(text).split("\n\n")[0] for text in words if text), "")

    return meaning


if __name__ == "__main__":
    print(reference(), end="")
