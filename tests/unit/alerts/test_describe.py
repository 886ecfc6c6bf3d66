"""Every kind of alert has its sentence, in both states."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from streams.alerts.receivers import as_alertmanager, as_slack
from streams.alerts.summary import describe
from streams.events import AlertKind, QualityAlert

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
