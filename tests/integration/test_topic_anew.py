"""A worker whose topic is away for a while, as it is in what a broker says just after its start, reads it again soon."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

from streams.events import SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent, SegmentScore
from tests.support.processes import FREE_WORKER, Worker, fvq, killed_at_the_end
from tests.support.servers import KafkaServer
from tests.support.topics import Follower, produce
from tests.support.waiting import wait_for

SOON = 90.0
"""Seconds on a busy machine; without the worker's own limit it would be the five minutes after which aiokafka asks again."""


def events(name: str, media: Path, count: int) -> list[SegmentEvent]:
    return [
        SegmentEvent(
            stream_id=f"{name}-{number}", segment_id=f"{name}-{number}/0", sequence=0, uri=media.as_uri(),
            start=datetime.now(UTC), duration=1.0,
        )
        for number in range(count)
    ]  # fmt: skip


@pytest.mark.timeout(400)
def test_a_worker_reads_a_topic_again_that_was_away(kafka: KafkaServer, tmp_path: Path) -> None:
    assert fvq("topics", "create", "--partitions", "2", FVQ_BROKER=kafka.broker).returncode == 0
    media = tmp_path / "segment.ts"
    media.write_bytes(b"a segment")
    worker = Worker(
        "worker", tmp_path, command=FREE_WORKER, FVQ_BROKER=kafka.broker, FVQ_MEDIA_ROOTS=str(tmp_path), FVQ_GROUP="anew",
        FVQ_TEST_SINK="none", FVQ_HARVEST="false", FVQ_LIVE_WINDOW="off",
    )  # fmt: skip
    answers = Follower(kafka.broker, SCORES_TOPIC)
    answered = lambda: {SegmentScore.from_bytes(value).segment_id for value in answers.read()}  # noqa: E731
    before, after = events("before", media, 8), events("after", media, 8)
    with killed_at_the_end(worker):
        produce(kafka.broker, SEGMENTS_TOPIC, before)
        worker.start()
        wait_for(f"answers\n{worker.tail()}", lambda: answered() == {event.segment_id for event in before}, 90)

        admin = KafkaAdminClient(bootstrap_servers=kafka.broker)
        admin.delete_topics([SEGMENTS_TOPIC])
        wait_for("the worker knows that it is away", lambda: "reads no partition" in worker.log.read_text(), 400)
        assert fvq("topics", "create", "--partitions", "2", FVQ_BROKER=kafka.broker).returncode == 0
        produce(kafka.broker, SEGMENTS_TOPIC, after)
        everything = {event.segment_id for event in before + after}
        wait_for(f"answers anew\n{worker.tail()}", lambda: answered() == everything, SOON)
        admin.close()
    answers.close()
