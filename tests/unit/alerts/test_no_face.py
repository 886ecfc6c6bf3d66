"""A stream without a face: nobody is paged for its quality, and a face that a bad picture hides is not a missing one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from streams.alerts.detector import step
from streams.alerts.limits import Alerts
from streams.alerts.policy import default_limits, parse_policy
from streams.alerts.reopen import reopened
from streams.alerts.state import SIGNALS, StreamState
from streams.events import FaceSummary, QualityAlert, SegmentScore
from tests.support.alerts import BEGIN, fold, make_score

FACE, NO_FACE = FaceSummary(count=1, area=0.1), FaceSummary(count=0, area=0)
FIRES_AFTER = int(default_limits().no_face.minimum / 2)
"""Segments of two seconds."""


def shown(count: int, score: float, faces: FaceSummary | None, first: int = 0, **signals: float) -> list[SegmentScore]:
    """The scores of one stretch of a stream."""
    return [make_score(first + i, score, faces=faces, signals=signals) for i in range(count)]


def told(scores: list[SegmentScore], limits: Alerts | None = None) -> list[tuple[str, str]]:
    return [(alert.kind, alert.state) for alert in fold(scores, limits)[1]]


def test_a_slate_is_no_face_and_pages_nobody_for_its_quality() -> None:
    scores = shown(30, 85, FACE) + shown(40, 8, NO_FACE, 30) + shown(20, 85, FACE, 70)
    alerts = fold(scores)[1]
    assert [(alert.kind, alert.state) for alert in alerts] == [("no-face", "firing"), ("no-face", "resolved")]
    firing, resolved = alerts
    assert firing.started_at == BEGIN + timedelta(seconds=60)
    assert (firing.value, firing.threshold, firing.severity, firing.cause) == (30.0, 30.0, "info", None)
    assert firing.segment_id == f"channel/{30 + FIRES_AFTER - 1}"
    assert resolved.ended_at == BEGIN + timedelta(seconds=140)


def test_a_stream_that_never_has_a_face_is_no_face() -> None:
    assert told(shown(60, 10, NO_FACE)) == [("no-face", "firing")]


def test_somebody_who_leaves_the_picture_for_a_moment_raises_nothing() -> None:
    scores = shown(30, 85, FACE) + shown(FIRES_AFTER - 1, 20, NO_FACE, 30) + shown(30, 85, FACE, 29 + FIRES_AFTER)
    assert told(scores) == []


@pytest.mark.parametrize(
    "harm",
    [{"blur": 0.6}, {"blockiness": 0.5}, {"noise": 9.0}, {"luma": 10.0, "contrast": 5.0}],
    ids=lambda harm: next(iter(harm)),
)
def test_a_face_that_a_bad_picture_hides_does_not_silence_its_alert(harm: dict[str, float]) -> None:
    alerts = told(shown(30, 85, FACE) + shown(40, 15, NO_FACE, 30, **harm))
    assert alerts[0] == ("quality-drop", "firing")
    assert "low-quality" in {kind for kind, _ in alerts}
    assert "no-face" not in {kind for kind, _ in alerts}


def test_a_bad_picture_without_a_face_is_judged_as_soon_as_one_with_a_face() -> None:
    def first(faces: FaceSummary) -> QualityAlert:
        return fold(shown(30, 85, FACE) + shown(40, 15, faces, 30, blur=0.6))[1][0]

    assert first(NO_FACE) == first(FACE)


def test_the_policy_may_judge_quality_without_a_face() -> None:
    limits = parse_policy({"alerts": {"no_face": {"judge_quality": True}}}).of({})
    kinds = {kind for kind, _ in told(shown(30, 85, FACE) + shown(40, 8, NO_FACE, 30), limits)}
    assert kinds == {"quality-drop", "low-quality", "no-face"}


def test_a_policy_that_looks_for_no_face_judges_as_ever() -> None:
    limits = parse_policy({"alerts": {"no_face": {"enabled": False}}}).of({})
    kinds = {kind for kind, _ in told(shown(30, 85, FACE) + shown(40, 8, NO_FACE, 30), limits)}
    assert kinds == {"quality-drop", "low-quality"}


def test_alerts_on_what_was_shown_before_are_over_once_there_is_no_face() -> None:
    scores = shown(30, 85, FACE) + shown(15, 20, FACE, 30, blur=0.6) + shown(40, 10, NO_FACE, 45)
    alerts = fold(scores)[1]
    fired = [alert.kind for alert in alerts if alert.state == "firing"]
    assert sorted(fired) == ["low-quality", "no-face", "quality-drop"]
    resolved = {alert.kind: alert.ended_at for alert in alerts if alert.state == "resolved"}
    assert set(resolved) == {"low-quality", "quality-drop"}
    (no_face,) = [alert for alert in alerts if alert.kind == "no-face"]
    assert all(ended_at is not None and ended_at > no_face.started_at for ended_at in resolved.values())


def test_scores_that_say_nothing_of_faces_are_judged_as_ever() -> None:
    assert {kind for kind, _ in told(shown(30, 85, None) + shown(40, 8, None, 30))} == {"quality-drop", "low-quality"}


def test_a_black_picture_has_no_face_and_is_black_only() -> None:
    scores = shown(30, 85, FACE) + [make_score(30 + i, 5, black=1.0, faces=NO_FACE) for i in range(40)]
    assert told(scores) == [("black", "firing")]


def test_a_slate_changes_nothing_of_what_is_usual() -> None:
    rendition = fold(shown(30, 85, FACE) + shown(300, 8, NO_FACE, 30, luma=60))[0].renditions[""]
    assert rendition.baseline == pytest.approx(85)
    assert rendition.usual[SIGNALS.index("luma")] == pytest.approx(100)


def test_a_slate_after_an_upgrade_is_no_picture_whose_signals_got_worse() -> None:
    # The new version measures a larger blur in the same pictures: that hides no face.
    before = shown(30, 85, FACE)
    after = [
        make_score(30 + i, 85 if i < 2 else 8, faces=FACE if i < 2 else NO_FACE, signals={"blur": 0.4}, signals_version=2)
        for i in range(42)
    ]
    assert told(before + after) == [("no-face", "firing")]


def test_a_worker_that_is_killed_as_the_alert_fires_ends_the_others_at_the_same_time_again() -> None:
    scores = shown(30, 85, FACE) + shown(20, 8, FACE, 30) + shown(40, 8, NO_FACE, 50)
    alerts = fold(scores)[1]
    (fired,) = (alert for alert in alerts if alert.kind == "no-face")
    stored, _ = fold(scores[:55])  # its alerts have been sent, and the state after them was not stored
    state = reopened(stored, [alert for alert in alerts if alert.state == "firing"])
    again = []
    for score in scores[55:]:
        state, new_alerts = step(state, score, default_limits())
        again += new_alerts
    assert fired in again
    assert all(alert in alerts for alert in again)


def test_a_drop_from_before_a_slate_does_not_count_after_it() -> None:
    bad, slate = shown(20, 20, FACE, 60), shown(60, 20, NO_FACE, 80)
    before = shown(60, 80, FACE) + bad + slate
    assert told(before)[-2:] == [("low-quality", "resolved"), ("quality-drop", "resolved")]
    assert told(before + shown(1, 20, FACE, 140) + shown(20, 80, FACE, 141)) == [*told(before), ("no-face", "resolved")]
    alerts = fold(before + shown(20, 20, FACE, 140))[1]
    drops = [alert.started_at for alert in alerts if (alert.kind, alert.state) == ("quality-drop", "firing")]
    assert drops == [BEGIN + timedelta(seconds=120), BEGIN + timedelta(seconds=280)]


@pytest.mark.parametrize("covered", ["no-face", "black", "frozen"])
def test_a_moment_of_bad_quality_before_a_picture_without_quality_does_not_count_after_it(covered: str) -> None:
    def told_of(bad: int, last: int) -> list[tuple[str, str]]:
        faces, shares = {"no-face": (NO_FACE, {}), "black": (FACE, {"black": 1.0}), "frozen": (FACE, {"freeze": 1.0})}[covered]
        scores = shown(60, 80, FACE) + shown(bad, 30, FACE, 60)
        scores += shown(60, 30, faces, len(scores), **shares)
        scores += shown(last, 30, FACE, len(scores))
        alerts = told(scores + shown(20, 80, FACE, len(scores)))
        return [(kind, state) for kind, state in alerts if kind != covered]

    dropped = [("quality-drop", "firing"), ("quality-drop", "resolved")]
    assert told_of(1, 1) == []
    assert told_of(3, 1) == dropped, "not low-quality, which lasted 4 s and then 2 s"
    assert ("low-quality", "firing") in told_of(0, 6)


@pytest.mark.parametrize("share", ["black", "freeze"])
def test_a_moment_of_black_or_standing_still_does_not_end_a_bad_stretch_after_a_slate(share: str) -> None:
    scores = shown(60, 80, FACE) + shown(30, 80, NO_FACE, 60)
    while len(scores) < 150:
        scores += shown(4, 35, NO_FACE, len(scores), blur=0.6)  # so bad that no face can be found: no-face goes on
        scores += shown(1, 35, NO_FACE, len(scores), **{share: 1.0})
    assert set(told(scores)) == {(kind, "firing") for kind in ("no-face", "quality-drop", "low-quality")}


def test_a_drop_that_a_stray_segment_without_a_face_has_ended_is_counted_anew() -> None:
    scores = shown(200, 80, FACE) + shown(20, 45, FACE, 200) + shown(11, 45, NO_FACE, 220) + shown(50, 45, FACE, 231)
    scores[230] = scores[230].model_copy(update={"start": scores[230].start + timedelta(seconds=14)})
    state, alerts = StreamState("channel"), []
    for place, score in enumerate(scores):
        state, new_alerts = step(state, score, default_limits(), BEGIN + timedelta(seconds=2 * place + 3))
        alerts += new_alerts
    drops = [alert for alert in alerts if alert.kind == "quality-drop"]
    assert [alert.state for alert in drops] == ["firing", "resolved", "firing"]
    first, _, later = drops
    assert later.started_at == scores[231].start, "when the face is back"
    assert later.alert_id != first.alert_id
