"""Why the score agent does not use Faust's concurrency: a naive agent always loses a message here, ours does not.

Faust documents that it commits an offset only when all messages before it are acknowledged. With a concurrent agent that is
not so: it also commits past the first message after the last commit (`Consumer._new_offset` of faust-streaming 0.15.3
compares `min(acked) - committed > 1`), and past any message while nothing is committed yet. In this test the first message
is still in work, the messages after it are answered and committed, and then a kill -9 loses the first one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition

from streams.events import SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent, SegmentScore
from streams.kafka.connection import Connection
from streams.kafka.topics import create_topics
from streams.ports import free_port
from tests.support.pages import metric
from tests.support.processes import FREE_WORKER, PYTHON, Worker
from tests.support.servers import KafkaServer
from tests.support.topics import Follower, produce
from tests.support.waiting import wait_for

SEGMENTS = 20


def event(folder: Path, number: int) -> SegmentEvent:
    """A segment of stream `s`. The sampling of number 0 never ends."""
    media = folder / ("stuck.ts" if number == 0 else "segment.ts")
    media.touch()
    return SegmentEvent(
        stream_id="s", segment_id=f"s/{number}", sequence=number, uri=media.as_uri(), start=datetime.now(UTC), duration=2.0
    )


def committed(broker: str) -> int:
    """Committed offset of the group `shape` in the only partition, 0 for none."""
    consumer = KafkaConsumer(bootstrap_servers=broker, group_id="shape", enable_auto_commit=False)
    try:
        return consumer.committed(TopicPartition(SEGMENTS_TOPIC, 0)) or 0
    finally:
        consumer.close()


@pytest.mark.parametrize(("shape", "lost"), [("naive", {"s/0"}), ("ours", set())])
def test_a_message_in_work_when_the_worker_is_killed_is_lost_by_the_naive_agent_only(
    kafka: KafkaServer, tmp_path: Path, shape: str, lost: set[str]
) -> None:
    create_topics(Connection(kafka.broker), partitions=1, replication=1)
    events = [event(tmp_path, number) for number in range(SEGMENTS)]
    produce(kafka.broker, SEGMENTS_TOPIC, events)
    follower = Follower(kafka.broker, SCORES_TOPIC)
    port = free_port("127.0.0.1")
    settings = {
        "FVQ_BROKER": kafka.broker,
        "FVQ_GROUP": "shape",
        "FVQ_MEDIA_ROOTS": str(tmp_path),
        "FVQ_LIVE_WINDOW": "off",
        "FVQ_SESSION_TIMEOUT": "6",
        "FVQ_WEB_PORT": str(port),
    }
    command = [PYTHON, "-m", "tests.chaos.naive_worker"] if shape == "naive" else FREE_WORKER
    worker = Worker("worker", tmp_path, command=command, **(settings | {"FVQ_TEST_STUCK": "stuck.ts"}))

    def answered() -> set[str]:
        return {SegmentScore.from_bytes(value).segment_id for value in follower.read()}

    try:
        worker.start()
        if shape == "naive":
            wait_for("answers to all segments but the first", lambda: len(answered()) == SEGMENTS - 1, 60)
            wait_for("a commit past the first", lambda: committed(kafka.broker) == SEGMENTS, 60)
        else:
            wait_for("the batch of the first segment is in flight", lambda: sum(metric(port, "fvq_segments_in_flight")) >= 8, 60)
            assert answered() == set()
            assert committed(kafka.broker) == 0
        worker.kill()
        # The next process samples every file. Its answer to the segment that is announced last shows that it has read all.
        worker.environment.pop("FVQ_TEST_STUCK")
        worker.start()
        events.append(event(tmp_path, SEGMENTS))
        produce(kafka.broker, SEGMENTS_TOPIC, events[-1:])
        wait_for("an answer to the last segment", lambda: events[-1].segment_id in answered(), 60)
        assert {event.segment_id for event in events} - answered() == lost
    except BaseException:
        print(worker.tail())
        raise
    finally:
        worker.kill()
        follower.close()
