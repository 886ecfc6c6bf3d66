"""A worker that reads no partition takes over one of which nothing is committed, on a busy machine, and answers all of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from streams.events import SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent, SegmentScore
from tests.support.processes import FREE_WORKER, Worker, fvq, killed_at_the_end
from tests.support.servers import KafkaServer
from tests.support.topics import Follower, produce
from tests.support.waiting import wait_for

STREAMS, SEGMENTS = 8, 1600
"""More segments than a fetch brings while a rebalance takes its time."""


@pytest.mark.timeout(400)
def test_a_spare_worker_answers_what_came_before_the_first_commit(kafka: KafkaServer, tmp_path: Path) -> None:
    assert fvq("topics", "create", "--partitions", "1", FVQ_BROKER=kafka.broker).returncode == 0
    media = tmp_path / "segment.ts"
    media.write_bytes(b"a segment")
    settings = {
        "FVQ_BROKER": kafka.broker, "FVQ_MEDIA_ROOTS": str(tmp_path), "FVQ_GROUP": "spare", "FVQ_SESSION_TIMEOUT": "6",
        "FVQ_TEST_SINK": "none", "FVQ_HARVEST": "false", "FVQ_LIVE_WINDOW": "off",
    }  # fmt: skip
    # Its first batch takes longer than the test.
    busy = Worker("busy", tmp_path, command=FREE_WORKER, FVQ_TEST_SCORE_MS="1000000", **settings)
    spare = Worker("spare", tmp_path, command=FREE_WORKER, FVQ_TEST_REBALANCE="1.5", **settings)
    events = [
        SegmentEvent(
            stream_id=f"stream-{number % STREAMS}", segment_id=str(number), sequence=number // STREAMS, uri=media.as_uri(),
            start=datetime.now(UTC), duration=1.0,
        )
        for number in range(SEGMENTS)
    ]  # fmt: skip
    answers = Follower(kafka.broker, SCORES_TOPIC)
    answered = lambda: {SegmentScore.from_bytes(value).segment_id for value in answers.read()}  # noqa: E731
    with killed_at_the_end(busy, spare):
        busy.start()
        wait_for(f"the first has the partition\n{busy.tail()}", lambda: "reads partitions 0" in busy.log.read_text(), 90)
        spare.start()
        wait_for(f"the second has none\n{spare.tail()}", lambda: "reads no partition" in spare.log.read_text(), 90)
        produce(kafka.broker, SEGMENTS_TOPIC, events)
        busy.kill()
        everything = {event.segment_id for event in events}
        wait_for("the second has it", lambda: "reads partitions 0" in spare.log.read_text(), 60)
        wait_for("all are answered", lambda: answered() == everything, 60)
        assert spare.running
    answers.close()
