"""Every kind of alert has its sentence, in both states."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from streams.alerts.receivers import as_alertmanager, as_slack
from streams.alerts.summary import complete, describe
from streams.events import AlertAcknowledgement, AlertCause, AlertKind, QualityAlert

BEGAN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("kind", get_args(AlertKind))
def test_every_kind_has_a_sentence_that_names_the_stream(kind: AlertKind) -> None:
    alert = QualityAlert(
        alert_id="1", stream_id="studio-7", kind=kind, state="firing", started_at=BEGAN, value=0.5, segment_id="studio-7/1"
    )
    assert describe(alert).startswith("studio-7: ")
    assert "since 12:00:00 UTC" in describe(alert)
    resolved = alert.model_copy(update={"state": "resolved", "ended_at": BEGAN + timedelta(seconds=16)})
    assert f"{kind} is over after 16 s" in describe(resolved)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(119.6, "2 min"), (119, "119 s"), (725, "12 min"), (3599, "59 min"), (28_923, "8 h 2 min"), (188_000, "2 d 4 h")],
)
def test_a_long_alert_is_told_in_hours_or_days(seconds: float, told: str) -> None:
    alert = QualityAlert(
        alert_id="1", stream_id="a", kind="black", state="resolved", started_at=BEGAN, value=1, segment_id="a/1",
        ended_at=BEGAN + timedelta(seconds=seconds),
    )  # fmt: skip
    assert f"black is over after {told}, since" in describe(alert)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\n:white_check_mark: all is well", r"a\n:white_check_mark: all is well"),
        ("a\r\x1b[31m\x00", r"a\r\x1b[31m\x00"),
        ("\u202egpj.cam\u2066", r"\u202egpj.cam\u2066"),
        ("a\u2028b", r"a\u2028b"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("مثال 例 \u200d", "مثال 例 \u200d"),
    ],
)
def test_no_name_of_a_stream_breaks_the_sentence(name: str, shown: str) -> None:
    alert = QualityAlert(
        alert_id="1", stream_id=name, rendition=name, kind="black", state="firing", started_at=BEGAN, value=1, segment_id="1"
    )
    assert describe(alert).startswith(f"{shown} ({shown}): picture is black")
    text = json.loads(as_slack(alert))["text"]
    assert "<" not in text
    assert len(text.splitlines()) == 1
    posted = as_alertmanager(alert, BEGAN)
    assert posted["annotations"]["summary"] == describe(alert)
    assert posted["labels"]["stream_id"] == name, "it identifies the alert"


LINK = "<https://wall.example/alerts/0123456789abcdef|on the wall: pictures, course, clips>"
CAUSE = AlertCause(where="source", text="blur 0.41, usual 0.12; 480p as well: the source")
FULL = QualityAlert(
    alert_id="0123456789abcdef",
    stream_id="studio-7",
    rendition="720p",
    kind="quality-drop",
    state="firing",
    started_at=BEGAN,
    value=22,
    baseline=81,
    segment_id="studio-7/1",
    severity="warning",
    threshold=66.4,
    cause=CAUSE,
)


def test_a_sentence_names_the_limit_and_what_is_usual() -> None:
    assert describe(FULL) == "studio-7 (720p): quality dropped to 22, limit 66, usual 81, since 12:00:00 UTC"
    black = FULL.model_copy(update={"kind": "black", "value": 1.0, "threshold": 0.95, "baseline": None})
    assert "picture is black: 100%, limit 95%, since" in describe(black)
    silent = FULL.model_copy(update={"kind": "no-segments", "value": 20.0, "threshold": 20.0, "baseline": None})
    assert "no segments for 20 s, limit 20 s, since" in describe(silent)


def test_an_alert_is_completed_with_its_sentence_and_its_page() -> None:
    alert = complete(FULL, "https://wall.example/fvq")
    assert alert.summary == describe(FULL)
    assert alert.url == "https://wall.example/fvq/alerts/0123456789abcdef"
    assert complete(FULL, "").url is None


def test_alertmanager_gets_severity_limit_cause_and_page() -> None:
    posted = as_alertmanager(complete(FULL, "https://wall.example"), BEGAN)
    assert posted["generatorURL"] == "https://wall.example/alerts/0123456789abcdef"
    assert posted["labels"]["severity"] == "warning"
    annotations = posted["annotations"]
    assert (annotations["threshold"], annotations["cause"]) == ("66.4", CAUSE.text)
    assert "acknowledged_by" not in annotations
    assert "generatorURL" not in as_alertmanager(FULL, BEGAN), "Alertmanager refuses an empty one"


def test_who_has_seen_an_alert_is_an_annotation_and_changes_no_label() -> None:
    seen = AlertAcknowledgement(alert_id=FULL.alert_id, stream_id="studio-7", by="Kim\n", at=BEGAN)
    posted = as_alertmanager(FULL, BEGAN, seen)
    assert posted["annotations"]["acknowledged_by"] == "Kim\\n"
    assert posted["labels"] == as_alertmanager(FULL, BEGAN)["labels"]


def test_slack_gets_the_cause_and_the_page_and_no_markup_from_them() -> None:
    forged = FULL.model_copy(update={"cause": AlertCause(where="source", text="<!channel>\nall is well")})
    text = json.loads(as_slack(complete(forged, "https://wall.example")))["text"]
    assert text.splitlines()[1:] == ["&lt;!channel&gt;\\nall is well", LINK]
    assert text.splitlines()[0].endswith("since 12:00:00 UTC (warning)")
