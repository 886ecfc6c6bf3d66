"""The stored form of a stream's state: workers of other versions read it and write it."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime

import pytest

from streams.alerts.state import (
    SIGNALS,
    OpenAlert,
    RenditionState,
    Run,
    Sound,
    StreamState,
    UsualBefore,
    Watch,
    from_json,
    to_json,
)
from streams.events import AlertCause, SignalMove

TIME = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STORED_TIME = "2026-03-01T12:00:00Z"
CAUSE = AlertCause(where="source", signals=[SignalMove(name="blur", value=0.4, usual=0.1)], text="the source")
ALERT = OpenAlert(TIME, 30.0, 70.0, {"tier": "premium"}, 40.0, "warning", CAUSE)
STORED_CAUSE = {"where": "source", "signals": [{"name": "blur", "value": 0.4, "usual": 0.1}], "text": "the source"}
STORED_ALERT = {"started_at": STORED_TIME, "value": 30.0, "baseline": 70.0, "labels": {"tier": "premium"}}
STORED_ALERT |= {"threshold": 40.0, "severity": "warning", "cause": STORED_CAUSE}
LEVELS = tuple(float(number) for number in range(len(SIGNALS)))

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
            recent=LEVELS,
            usual=LEVELS,
            usual_seconds=8.0,
            missing=0.25,
            glanced=True,
            no_face=Watch(pending_since=TIME),
            silent=Watch(pending_since=TIME),
            sound=Sound(heard=10.0, usual=-23.0, silence=1.0, lost=True),
            signals_version=2,
            behind=Run(TIME, TIME),
            received=TIME,
            live=Run(TIME, TIME),
            durations=(2.0, 4.0, 2.0),
            usual_before=UsualBefore("f941", TIME, 60.0, 12.0, 9.0),
        )
    },
    until=TIME,
    segment_id="channel/7",
    labels={"tier": "premium"},
    ended=True,
    silence=ALERT,
    silence_started_at=TIME,
    silence_ended_at=TIME,
    received=TIME,
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
            "recent": list(LEVELS),
            "usual": list(LEVELS),
            "usual_seconds": 8.0,
            "missing": 0.25,
            "glanced": True,
            "no_face": {"since": STORED_TIME},
            "silent": {"since": STORED_TIME},
            "sound": {"heard": 10.0, "usual": -23.0, "silence": 1.0, "lost": True},
            "signals_version": 2,
            "behind": {"start": STORED_TIME, "received": STORED_TIME},
            "received": STORED_TIME,
            "live": {"start": STORED_TIME, "received": STORED_TIME},
            "durations": [2.0, 4.0, 2.0],
            "usual_before": {
                "model": "f941",
                "left": STORED_TIME,
                "baseline": 60.0,
                "baseline_seconds": 12.0,
                "variance": 9.0,
            },
        }
    },
    "until": STORED_TIME,
    "segment_id": "channel/7",
    "labels": {"tier": "premium"},
    "ended": True,
    "silence": STORED_ALERT,
    "judged": STORED_TIME,
    "back": STORED_TIME,
    "received": STORED_TIME,
}


def test_a_state_is_written_and_read_with_the_stored_names() -> None:
    assert json.loads(to_json(STATE)) == STORED
    assert from_json(json.dumps(STORED).encode()) == STATE


@pytest.mark.parametrize("kind", [StreamState, RenditionState, Watch, OpenAlert, Sound, Run, UsualBefore])
def test_the_example_state_has_every_field_set(kind: type) -> None:
    rendition = STATE.renditions["240p"]
    watch = rendition.watches["quality-drop"]
    examples = {StreamState: STATE, RenditionState: rendition, Watch: watch, OpenAlert: ALERT, Run: rendition.behind}
    examples[UsualBefore] = rendition.usual_before
    example = examples.get(kind, rendition.sound)
    assert all(getattr(example, field.name) for field in fields(kind))


def test_fields_with_their_default_are_left_out() -> None:
    assert json.loads(to_json(StreamState("channel"))) == {"stream_id": "channel"}


def test_a_field_of_a_newer_version_is_ignored() -> None:
    assert from_json(json.dumps(STORED | {"later": "network"}).encode()) == STATE


def test_the_watches_for_faces_and_sound_are_not_among_those_that_older_workers_read() -> None:
    # A worker that does not know these kinds would drop a state that has one among its kinds.
    state = STATE.renditions["240p"]
    watched = state.watching(state.every_watch() | {"no-face": Watch(ended_at=TIME), "silent": Watch(ended_at=TIME)})
    stored = json.loads(to_json(StreamState("channel", {"": watched})))["courses"][""]
    assert set(stored["watches"]) == {"quality-drop"}
    assert from_json(to_json(StreamState("channel", {"": watched}))).renditions[""].no_face.ended_at == TIME
    assert from_json(to_json(StreamState("channel", {"": watched}))).renditions[""].silent.ended_at == TIME


def test_a_state_of_an_older_worker_has_no_averages_yet() -> None:
    old = {key: value for key, value in STORED.items() if key not in ("courses", "received")}
    names = ("recent", "usual", "usual_seconds", "missing", "no_face", "glanced", "before", "silent", "sound", "signals_version")
    names += ("behind", "received", "live")
    old["courses"] = {"240p": {key: value for key, value in STORED["courses"]["240p"].items() if key not in names}}
    state = from_json(json.dumps(old).encode())
    rendition = state.renditions["240p"]
    assert (state.received, rendition.behind, rendition.received) == (None, None, None)
    assert (rendition.usual, rendition.usual_seconds, rendition.no_face) == ((), 0.0, Watch())
    assert (rendition.silent, rendition.sound, rendition.signals_version) == (Watch(), Sound(), 1)


def test_bytes_that_are_no_state_are_a_value_error() -> None:
    with pytest.raises(ValueError, match="stream_id"):
        from_json(b"{}")
