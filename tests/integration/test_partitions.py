"""More partitions, by the steps of docs/operations.md: every segment is answered once, and no stream is taken for silent."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from kafka import KafkaAdminClient

from streams.events import ALERT_STATE_TOPIC, ALERTS_TOPIC, SCORES_TOPIC, SEGMENTS_TOPIC, QualityAlert, SegmentEvent, SegmentScore
from streams.topic_names import PER_STREAM
from tests.support.processes import FREE_WORKER, Worker, fvq
from tests.support.servers import KafkaServer
from tests.support.topics import Follower, produce
from tests.support.waiting import wait_for

STREAMS, BEFORE, AFTER = 12, 2, 6
SILENT_SECONDS = 8.0


class Packager:
    """Announces a segment of each stream a second, until it is stopped.

    ids: of all that Kafka has acknowledged. longest_pause: seconds between two segments of a stream, more on a busy machine.
    """

    def __init__(self, broker: str, media: Path) -> None:
        self.ids: list[str] = []
        self.longest_pause = 0.0
        self._broker, self._media, self._sequence = broker, media, 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Announces inside the context."""
        stop = threading.Event()

        def announce() -> None:
            last = time.monotonic()
            while not stop.wait(1.0):
                events = [self._event(number) for number in range(STREAMS)]
                produce(self._broker, SEGMENTS_TOPIC, events)
                self.longest_pause = max(self.longest_pause, time.monotonic() - last)
                last = time.monotonic()
                self.ids += [event.segment_id for event in events]
                self._sequence += 1

        thread = threading.Thread(target=announce)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _event(self, number: int) -> SegmentEvent:
        return SegmentEvent(
            stream_id=f"channel-{number}", segment_id=f"channel-{number}/{self._sequence}", sequence=self._sequence,
            uri=self._media.as_uri(), start=datetime.now(UTC) - timedelta(seconds=1), duration=1.0,
        )  # fmt: skip


def add_partitions(kafka: KafkaServer, topics: Sequence[str]) -> None:
    """As `kafka-topics.sh --alter --partitions` does."""
    admin: Any = KafkaAdminClient(bootstrap_servers=kafka.broker)
    admin.create_partitions(dict.fromkeys(topics, AFTER))
    # The controller answers; the broker learns of them some moments later, and a `Follower` asks but once.
    wait_for("Kafka has them", lambda: {len(topic["partitions"]) for topic in admin.describe_topics(list(topics))} == {AFTER}, 60)
    admin.close()


def delete_states(kafka: KafkaServer) -> None:
    """As `kafka-topics.sh --delete --topic alert-state` does."""
    admin: Any = KafkaAdminClient(bootstrap_servers=kafka.broker)
    admin.delete_topics([ALERT_STATE_TOPIC])
    wait_for("alert-state is deleted", lambda: ALERT_STATE_TOPIC not in admin.list_topics(), 30)
    admin.close()


def silences_in(alerts: Follower) -> list[QualityAlert]:
    return [alert for alert in map(QualityAlert.from_bytes, alerts.read()) if alert.kind == "no-segments"]


def silences_after_growing(kafka: KafkaServer, folder: Path, *, keep_states: bool) -> tuple[list[QualityAlert], float]:
    """The `no-segments` alerts of streams that never pause, after partitions were added while all stood still.

    And the longest pause of the streams all the same, in seconds: on a busy machine it may be a silence.
    """
    fvq("topics", "create", "--partitions", str(BEFORE), FVQ_BROKER=kafka.broker)
    media = folder / "segment.ts"
    media.write_bytes(b"a segment")
    policy = folder / "policy.yaml"
    policy.write_text(yaml.safe_dump({"alerts": {"no_segments": {"after": SILENT_SECONDS}}}))
    worker = Worker(
        "worker", folder, command=FREE_WORKER, FVQ_BROKER=kafka.broker, FVQ_MEDIA_ROOTS=str(folder), FVQ_ALERT_POLICY=str(policy),
        FVQ_TEST_SINK="none", FVQ_HARVEST="false", FVQ_LIVE_WINDOW="off", FVQ_GROUP=f"grow-{folder.name}"[:60],
        FVQ_SESSION_TIMEOUT="60",
    )  # fmt: skip
    packager = Packager(kafka.broker, media)
    scores = lambda: [SegmentScore.from_bytes(value) for value in answers.read()]  # noqa: E731 - named for `wait_for`
    worker.start()
    try:
        answers = Follower(kafka.broker, SCORES_TOPIC)
        with packager.running():
            wait_for(f"first answers\n{worker.tail()}", lambda: len(scores()) >= 3 * STREAMS, 90)
        wait_for(f"all answers\n{worker.tail()}", lambda: len(scores()) >= len(packager.ids), 180)
        states = Follower(kafka.broker, ALERT_STATE_TOPIC)
        wait_for(f"states\n{worker.tail()}", lambda: len(states.read()) >= STREAMS, 180)
        states.close()
        worker.terminate()
        answers.close()
        if keep_states:
            add_partitions(kafka, [*PER_STREAM, ALERT_STATE_TOPIC])
        else:
            add_partitions(kafka, PER_STREAM)
            delete_states(kafka)
            created = fvq("topics", "create", "--partitions", str(AFTER), FVQ_BROKER=kafka.broker)
            assert f"created {ALERT_STATE_TOPIC}" in created.stdout
        answers = Follower(kafka.broker, SCORES_TOPIC)
        alerts = Follower(kafka.broker, ALERTS_TOPIC)
        if not keep_states:
            # Where all of the above took long, the streams were silent until the worker ended, and it said so.
            alerts.read()
            alerts.values.clear()
        packager.longest_pause = 0.0
        worker.start()
        with packager.running():
            wait_for(f"answers in the new partitions\n{worker.tail()}", lambda: len(scores()) >= 6 * STREAMS, 180)
            deadline = time.monotonic() + 3 * SILENT_SECONDS
            wait_for("the time in which a silence would be seen", lambda: time.monotonic() > deadline, 60)
            if keep_states:
                wait_for(f"a silence, seen late\n{worker.tail()}", lambda: bool(silences_in(alerts)), 120)
            silences = silences_in(alerts)  # before the packager ends, after which all are silent
        wait_for(f"all answers\n{worker.tail()}", lambda: len(scores()) >= len(packager.ids), 180)
        assert Counter(score.segment_id for score in scores()) == Counter(packager.ids)
        assert len({partition.partition for partition in answers.partitions}) == AFTER
        return silences, packager.longest_pause
    finally:
        worker.kill()
        answers.close()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("keep_states", [False, True])
def test_partitions_are_added(kafka: KafkaServer, tmp_path: Path, *, keep_states: bool) -> None:
    silences, longest_pause = silences_after_growing(kafka, tmp_path, keep_states=keep_states)
    # What the page warns of: the states of streams that moved stay behind, and their old partition takes them for silent.
    assert bool(silences) == keep_states or longest_pause > SILENT_SECONDS / 2, silences
