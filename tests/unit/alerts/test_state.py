"""The stored form of a stream's state: workers of other versions read it and write it."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime

import pytest

from streams.alerts.state import OpenAlert, RenditionState, StreamState, Watch, from_json, to_json

TIME = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STORED_TIME = "2026-03-01T12:00:00Z"
ALERT = OpenAlert(TIME, 30.0, 70.0, {"tier": "premium"})
STORED_ALERT = {"started_at": STORED_TIME, "value": 30.0, "baseline": 70.0, "labels": {"tier": "premium"}}

STATE = StreamState(
    stream_id="channel",
    renditions={
        "240p": RenditionState(
            sequence=7,
            numbered_since=TIME,
            until=TIME,
            smoothed=40.0,
            baseline=70.0,
            baseline_seconds=12.0,
            variance=9.0,
            cusum=15.0,
            cusum_since=TIME,
            watches={"quality-drop": Watch(pending_since=TIME, open_alert=ALERT, ended_at=TIME)},
            ahead=600.0,
            began_ahead=True,
            before=RenditionState(6, TIME, TIME),
        )
    },
    until=TIME,
    segment_id="channel/7",
    labels={"tier": "premium"},
    ended=True,
    silence=ALERT,
    silence_started_at=TIME,
    silence_ended_at=TIME,
)
STORED = {
    "stream_id": "channel",
    "courses": {
        "240p": {
            "sequence": 7,
            "begun": STORED_TIME,
            "until": STORED_TIME,
            "smooth": 40.0,
            "baseline": 70.0,
            "seen": 12.0,
            "variance": 9.0,
            "fallen": 15.0,
            "fallen_since": STORED_TIME,
            "watches": {"quality-drop": {"since": STORED_TIME, "opened": STORED_ALERT, "ended_at": STORED_TIME}},
            "ahead": 600.0,
            "began_ahead": True,
            "before": {"sequence": 6, "begun": STORED_TIME, "until": STORED_TIME},
        }
    },
    "until": STORED_TIME,
    "segment_id": "channel/7",
    "labels": {"tier": "premium"},
    "ended": True,
    "silence": STORED_ALERT,
    "judged": STORED_TIME,
    "back": STORED_TIME,
}


def test_a_state_is_written_and_read_with_the_stored_names() -> None:
    assert json.loads(to_json(STATE)) == STORED
    assert from_json(json.dumps(STORED).encode()) == STATE


@pytest.mark.parametrize("kind", [StreamState, RenditionState, Watch, OpenAlert])
def test_the_example_state_has_every_field_set(kind: type) -> None:
    rendition = STATE.renditions["240p"]
    example = {StreamState: STATE, RenditionState: rendition, Watch: rendition.watches["quality-drop"], OpenAlert: ALERT}[kind]
    assert all(getattr(example, field.name) for field in fields(kind))


def test_fields_with_their_default_are_left_out() -> None:
    assert json.loads(to_json(StreamState("channel"))) == {"stream_id": "channel"}


def test_a_field_of_a_newer_version_is_ignored() -> None:
    assert from_json(json.dumps(STORED | {"cause": "network"}).encode()) == STATE


def test_bytes_that_are_no_state_are_a_value_error() -> None:
    with pytest.raises(ValueError, match="stream_id"):
        from_json(b"{}")
