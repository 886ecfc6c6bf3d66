"""What a run of `fvq up` takes in from the topics, which other programs may write to as well."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from streams.events import DEAD_LETTER_TOPIC, SCORES_TOPIC, SegmentEvent, SegmentScore
from streams.kafka.connection import Connection
from streams.local.run import Run
from tests.support.queue import scored

NAMED = Connection("none:1").named


def message(topic: str, value: bytes | None, *headers: tuple[str, bytes | None]) -> Any:
    return SimpleNamespace(topic=topic, partition=2, offset=6, value=value, headers=list(headers))


@pytest.fixture
def score() -> SegmentScore:
    return scored(1)


@pytest.fixture
def run(score: SegmentScore) -> Run:
    """A run of the one segment that `score` answers."""
    return Run([SegmentEvent.model_validate(score.model_dump())], NAMED)


def test_messages_of_other_programs_do_not_end_a_run(run: Run, score: SegmentScore) -> None:
    messages = [
        message(SCORES_TOPIC, b"{"),
        message(SCORES_TOPIC, None),
        message(SCORES_TOPIC, scored(2).to_bytes()),
        message(DEAD_LETTER_TOPIC, b"", ("odd", None)),
    ]
    assert [run.take(foreign) for foreign in messages] == [None] * 4
    assert run.answered == 0
    run.take(message(DEAD_LETTER_TOPIC, b"", ("segment_id", score.segment_id.encode())))
    run.take(message(SCORES_TOPIC, score.to_bytes()))
    assert list(run.scores) == [score.segment_id]
    assert run.failed == {score.segment_id: "no reason given"}


def test_a_score_is_one_line_and_only_once(run: Run, score: SegmentScore) -> None:
    assert run.take(message(SCORES_TOPIC, score.to_bytes())) == score.to_bytes().decode()
    assert run.take(message(SCORES_TOPIC, score.to_bytes())) is None
    assert run.answered == 1
    assert run.ends == {2: 7}


def test_a_dead_letter_is_one_line(run: Run, score: SegmentScore) -> None:
    headers = [("segment_id", score.segment_id.encode()), ("reason", b"no frame could be decoded")]
    line = run.take(message(DEAD_LETTER_TOPIC, b"", *headers))
    assert line is not None
    assert json.loads(line) == {"segment_id": score.segment_id, "error": "no frame could be decoded"}
