"""Plays clips as live streams: announces each as a segment, as a packager does, and waits for the worker's scores."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from scripted_raters import SECONDS

from streams.events import SCORES_TOPIC, SEGMENTS_TOPIC, TRAINING_TOPIC, SegmentEvent, SegmentScore


def messages_on(broker: str) -> int:
    """Number of messages on the topics that the loop writes to."""
    consumer = KafkaConsumer(bootstrap_servers=broker.split(","))
    try:
        topics = (SEGMENTS_TOPIC, SCORES_TOPIC, TRAINING_TOPIC)
        ends = consumer.end_offsets(
            [TopicPartition(topic, number) for topic in topics for number in consumer.partitions_for_topic(topic) or ()]
        )
        return sum(ends.values())
    finally:
        consumer.close()


@dataclass
class Answers:
    """What the worker answered. scores: of each clip. ends: the offset after the last score that was read, by partition."""

    scores: dict[Path, SegmentScore]
    ends: dict[int, int]


def play(broker: str, clips: Mapping[str, Iterable[Path]], turn: str, worker: subprocess.Popen[bytes]) -> Answers:
    """Announce every clip as a segment of its stream, and wait until each has its score.

    clips: stream -> its clips in order. turn: a part of the segments' ids, new for each call. worker: ends the demo where
    this process has ended.
    """
    events: dict[str, Path] = {}
    consumer = KafkaConsumer(SCORES_TOPIC, bootstrap_servers=broker.split(","), group_id=None, auto_offset_reset="earliest")
    producer = KafkaProducer(bootstrap_servers=broker.split(","), acks="all")
    for stream, paths in clips.items():
        for number, path in enumerate(paths):
            event = SegmentEvent(
                stream_id=stream,
                segment_id=f"{stream}/{turn}/{number}",
                sequence=number,
                uri=path.as_uri(),
                start=datetime.now(UTC) - timedelta(seconds=SECONDS),
                duration=SECONDS,
            )
            events[event.segment_id] = path
            producer.send(SEGMENTS_TOPIC, key=stream.encode(), value=event.to_bytes())
    producer.close()
    answers = Answers({}, {})

    def all_scored() -> bool:
        for records in consumer.poll(timeout_ms=200).values():
            for record in records:
                answers.ends[record.partition] = record.offset + 1
                score = SegmentScore.from_bytes(record.value)
                if score.segment_id in events:
                    answers.scores[events[score.segment_id]] = score
        return len(answers.scores) == len(events)

    try:
        wait_for("the scores", all_scored, 120, worker)
    finally:
        consumer.close()
    return answers


def play_until_model(
    broker: str, clips: Mapping[str, Iterable[Path]], version: str, worker: subprocess.Popen[bytes]
) -> dict[Path, SegmentScore]:
    """Play the first clip of each stream until the worker scores with this version of the model, then play all clips.

    Returns clip -> its score by that version.
    """
    first = {stream: list(paths)[:1] for stream, paths in clips.items()}
    turns = 0

    def scored_by_version() -> bool:
        nonlocal turns
        turns += 1
        scores = play(broker, first, f"meanwhile-{turns}", worker).scores
        return all(score.model is not None and score.model.version == version for score in scores.values())

    wait_for(f"nano@{version} in the worker", scored_by_version, 90, worker)
    return play(broker, clips, "after", worker).scores


def wait_for(goal: str, reached: Callable[[], bool], seconds: float, worker: subprocess.Popen[bytes]) -> None:
    """Return when `reached()` is true; end the demo where that takes longer than `seconds`, or the worker has ended."""
    deadline = time.monotonic() + seconds
    while not reached():
        if worker.poll() is not None:
            raise SystemExit(f"the worker ended with code {worker.returncode}; see worker.log (--keep FOLDER)")
        if time.monotonic() > deadline:
            raise SystemExit(f"{goal}: not within {seconds:.0f} s")
        time.sleep(0.2)
