"""The kind `silent`: a stream that had sound and has none."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from scorer.sampling.glance import headers_only
from streams.alerts.clock import end_of
from streams.alerts.course import Courses
from streams.alerts.detector import step
from streams.alerts.policy import default_limits, load_policy, parse_policy
from streams.alerts.state import StreamState, from_json, to_json
from streams.events import AudioSummary, QualityAlert, SegmentScore
from streams.scoring.answer import audio_of
from tests.support.alerts import BEGIN, fold, make_score
from tests.support.sound import make_sound, tone

LIMITS = default_limits()
SOUND = AudioSummary(
    present=True, codec="aac", sample_rate=48_000, channels=2, loudness=-23.0, peak=-6.0, silent=0.1, clipped=0.0
)
SILENCE = SOUND.model_copy(update={"loudness": -70.0, "peak": -120.0, "silent": 1.0})
NO_TRACK = AudioSummary(present=False)
UNKNOWN = AudioSummary(present=True, codec="wmav2")
FIRES_AFTER = int(LIMITS.silent.minimum / 2)
"""Segments of two seconds."""


def stretch(count: int, audio: AudioSummary | None, first: int = 0, **fields: object) -> list[SegmentScore]:
    return [make_score(first + i, 80, audio=audio, **fields) for i in range(count)]


def told(scores: list[SegmentScore]) -> list[QualityAlert]:
    return [alert for alert in fold(scores)[1] if alert.kind == "silent"]


@pytest.mark.parametrize("lost", [SILENCE, NO_TRACK], ids=["silent", "no track"])
def test_a_stream_that_loses_its_sound_fires_and_resolves(lost: AudioSummary) -> None:
    firing, resolved = told(stretch(30, SOUND) + stretch(20, lost, 30) + stretch(10, SOUND, 50))
    assert (firing.state, firing.value, firing.threshold, firing.severity) == ("firing", 1.0, 0.95, "warning")
    assert firing.started_at == BEGIN + timedelta(seconds=60)
    assert firing.segment_id == f"channel/{30 + FIRES_AFTER - 1}"
    assert firing.cause is not None
    what = "no audio track any more" if lost is NO_TRACK else "silent for 100% of the time"
    assert firing.cause.text == f"{what}, usual loudness -23 LUFS; there is no other rendition to compare with"
    assert [(move.name, move.value) for move in firing.cause.signals] == [("silent", 1.0)]
    assert (resolved.state, resolved.alert_id, resolved.ended_at) == ("resolved", firing.alert_id, BEGIN + timedelta(seconds=100))


def test_a_stream_that_never_had_sound_is_not_told_of() -> None:
    assert told(stretch(60, SILENCE)) == []
    assert told(stretch(60, NO_TRACK)) == []
    assert told(stretch(60, None)) == []
    heard = int(LIMITS.silent.warm_up / 2) - 1
    assert told(stretch(heard, SOUND) + stretch(60, SILENCE, heard)) == [], "a jingle of a few seconds is no sound to miss"


def test_a_pause_is_no_alert() -> None:
    scores = stretch(30, SOUND) + stretch(FIRES_AFTER - 1, SILENCE, 30) + stretch(5, SOUND, 29 + FIRES_AFTER)
    assert told(scores + stretch(FIRES_AFTER - 1, SILENCE, 34 + FIRES_AFTER)) == []


def test_what_nobody_could_hear_says_nothing() -> None:
    assert told(stretch(30, SOUND) + stretch(60, UNKNOWN, 30)) == []
    assert told(stretch(30, SOUND) + stretch(60, None, 30)) == []
    still_open = told(stretch(30, SOUND) + stretch(20, SILENCE, 30) + stretch(30, UNKNOWN, 50))
    assert [alert.state for alert in still_open] == ["firing"]


def test_a_glance_hears_as_well_as_a_full_look() -> None:
    glance = {"tier": "glance", "rests_on": "channel/0"}
    quick = SILENCE.model_copy(update={"loudness": None, "peak": None, "clipped": None})
    scores = stretch(30, SOUND) + stretch(20, quick, 30, **glance) + stretch(10, SOUND, 50, **glance)
    assert [(alert.state, alert.segment_id) for alert in told(scores)] == [
        ("firing", f"channel/{30 + FIRES_AFTER - 1}"),
        ("resolved", "channel/51"),
    ]


def test_a_steady_picture_whose_sound_goes_fires_by_glances_alone(tmp_path: Path) -> None:
    """The segments are glanced at as a worker does it, with packets only."""
    sounding = audio_of(headers_only(make_sound(tmp_path / "sound.ts", tone(-20))).audio, "")
    muted = audio_of(headers_only(make_sound(tmp_path / "muted.ts", tone(-200))).audio, "")
    glance = {"tier": "glance", "rests_on": "channel/0"}
    scores = stretch(1, SOUND) + stretch(29, sounding, 1, **glance) + stretch(20, muted, 30, **glance)
    (firing,) = told(scores)
    assert (firing.segment_id, firing.value) == (f"channel/{30 + FIRES_AFTER - 1}", 1.0)


def test_a_silence_asks_for_no_full_looks() -> None:
    courses = Courses(load_policy(None))
    scores = stretch(30, SOUND) + stretch(30, SILENCE, 30)
    for score in scores:
        assert courses(score, end_of(score)) == "steady"
    assert not courses.is_undecided(scores[-1])


def test_what_was_heard_survives_another_worker() -> None:
    alerts: list[QualityAlert] = []
    state = StreamState("channel")
    for score in stretch(10, SOUND) + stretch(20, SILENCE, 10) + stretch(10, SOUND, 30):
        state, more = step(from_json(to_json(state)), score, LIMITS)
        alerts += more
    assert [alert.state for alert in alerts] == ["firing", "resolved"]
    assert state.renditions[""].sound.usual == -23.0
    assert state.renditions[""].sound.heard == LIMITS.silent.warm_up


def test_a_stream_that_ended_begins_anew() -> None:
    ended = make_score(30, 80, audio=SOUND, ended=True)
    assert told([*stretch(30, SOUND), ended, *stretch(40, SILENCE, 31)]) == []


def test_a_black_picture_without_sound_is_both() -> None:
    scores = stretch(30, SOUND) + [make_score(30 + i, 5, black=1.0, audio=SILENCE) for i in range(20)]
    assert {alert.kind for alert in fold(scores)[1]} == {"black", "silent"}


@pytest.mark.parametrize(
    ("lost", "where", "words"),
    [
        ({"720p"}, "rendition", "1080p is fine: the transcoder of 720p"),
        ({"720p", "1080p"}, "source", "1080p as well: the source"),
    ],
)
def test_the_renditions_are_compared_by_their_sound(lost: set[str], where: str, words: str) -> None:
    """`storyboard` never had sound, so it tells nothing."""
    scores = [
        make_score(
            i, 80, rendition=name, audio=NO_TRACK if name == "storyboard" else SILENCE if i >= 30 and name in lost else SOUND
        )
        for i in range(60)
        for name in ("1080p", "storyboard", "720p")
    ]
    alerts = told(scores)
    assert {alert.rendition for alert in alerts} == lost
    (alert,) = [alert for alert in alerts if alert.rendition == "720p"]
    assert alert.cause is not None
    assert (alert.cause.where, alert.cause.text.split("; ")[1]) == (where, words)


def test_the_policy_decides() -> None:
    limits = parse_policy({"alerts": {"silent": {"enabled": False}}}).of({})
    assert fold(stretch(30, SOUND) + stretch(60, SILENCE, 30), limits)[1] == []
    quick = parse_policy({"alerts": {"silent": {"minimum": 2, "warm_up": 0, "threshold": 0.5, "severity": "info"}}}).of({})
    half = SOUND.model_copy(update={"silent": 0.6})
    (alert,) = fold(stretch(1, SOUND) + stretch(3, half, 1), quick)[1]
    assert (alert.value, alert.severity, alert.started_at) == (0.6, "info", BEGIN + timedelta(seconds=2))
