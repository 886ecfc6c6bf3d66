"""Every kind of alert has its sentence, in both states."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from streams.alerts.receivers import describe
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
