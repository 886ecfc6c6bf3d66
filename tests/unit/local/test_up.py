"""What `fvq up` makes of messages that others wrote."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from streams.events import DEAD_LETTER_TOPIC, SCORES_TOPIC, SegmentEvent
from streams.local import up
from streams.local.up import Run
from tests.support.queue import scored


def message(topic: str, value: bytes | None, *headers: tuple[str, bytes | None]) -> Any:
    return SimpleNamespace(topic=topic, value=value, headers=list(headers))


def test_foreign_messages_end_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    score = scored(1)
    run = Run()
    run.events = {score.segment_id: SegmentEvent.model_validate(score.model_dump())}
    for one in (
        message(SCORES_TOPIC, b"{"),
        message(SCORES_TOPIC, None),
        message(DEAD_LETTER_TOPIC, b"", ("odd", None)),
        message(DEAD_LETTER_TOPIC, b"", ("segment_id", score.segment_id.encode())),
        message(SCORES_TOPIC, score.to_bytes()),
    ):
        up.take(one, run, as_json=False)
    assert list(run.scores) == [score.segment_id]
    assert run.failed == {score.segment_id: "no reason given"}
