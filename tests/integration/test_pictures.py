"""Pictures of streams on a real Kafka, from real workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from kafka import KafkaAdminClient

from streams.events import PICTURES_TOPIC, SCORES_TOPIC, SegmentScore
from streams.kafka.connection import Connection
from streams.kafka.topics import create_topics
from streams.pictures import StreamPicture
from tests.support.media import make_clip
from tests.support.processes import Worker, fvq
from tests.support.servers import KafkaServer
from tests.support.topics import Follower
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(900)


def messages(broker: str) -> list[Any]:
    """The messages on the pictures' topic, in the order of each partition."""
    follower = Follower(broker, PICTURES_TOPIC)
    follower.read()
    follower.close()
    return follower.records


def play(kafka: KafkaServer, folder: Path, pictures: int = 0, **settings: str) -> list[SegmentScore]:
    """Announce a segment with a face, then a black one, and wait until a worker has scored both; returns the scores.

    pictures: how many are waited for as well, since that of a change comes after its score.
    """
    media = folder / "media"
    media.mkdir()
    for name, kind in (("face", "face"), ("night", "color=black")):
        make_clip(media / f"{name}.mp4", 320, 180, 2, kind=kind)
    for name in ("face", "night"):
        announced = fvq(
            "ingest", "files", "--source", str(media / f"{name}.mp4"), "--fast", "--stream", "channel",
            FVQ_BROKER=kafka.broker, FVQ_MEDIA_ROOTS=str(folder), FVQ_DATA_DIR=str(folder / "ingest"),
        )  # fmt: skip
        assert announced.returncode == 0, announced.stderr
    worker = Worker("worker", folder, FVQ_BROKER=kafka.broker, FVQ_MEDIA_ROOTS=str(folder), FVQ_LIVE_WINDOW="off", **settings)
    follower = Follower(kafka.broker, SCORES_TOPIC)
    try:
        worker.start()
        wait_for("both segments are scored", lambda: len(follower.read()) >= 2, 120)
        if pictures:
            shown = Follower(kafka.broker, PICTURES_TOPIC)
            wait_for("the pictures", lambda: len(shown.read()) >= pictures, 60)
            shown.close()
        return [SegmentScore.from_bytes(value) for value in follower.read()]
    finally:
        follower.close()
        worker.stop()


def test_a_stream_has_a_picture_now_and_then_and_at_each_change_and_loses_it_when_it_is_deleted(
    kafka: KafkaServer, tmp_path: Path
) -> None:
    create_topics(Connection(kafka.broker), partitions=2, replication=1)
    scores = {score.segment_id: score for score in play(kafka, tmp_path, pictures=2, FVQ_PICTURES="3600")}
    sent = messages(kafka.broker)
    pictures = [StreamPicture.from_message(message.key, message.value, message.headers) for message in sent]
    assert [picture.kind for picture in pictures] == ["routine", "changed"]
    for picture in pictures:
        score = scores[picture.segment_id]
        assert (picture.stream_id, picture.start, picture.score) == (score.stream_id, score.start, score.score)
        image = cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert image.shape == (picture.height, picture.width, 3) == (90, 160, 3)
    routine, changed = (cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_COLOR) for picture in pictures)
    assert routine.mean() > 40
    assert changed.mean() < 20
    stream = pictures[0].stream_id
    removed = fvq("queue", "rm", "--stream", stream, FVQ_BROKER=kafka.broker, FVQ_DATA_DIR=str(tmp_path / "worker"))
    assert removed.returncode == 0, removed.stderr
    *_, last = messages(kafka.broker)
    assert (last.key, last.value) == (stream.encode(), None)
    assert last.partition == sent[0].partition, "in the pictures' partition, so that it comes after them"


def test_a_worker_that_is_not_asked_makes_none_and_a_missing_topic_is_not_created(kafka: KafkaServer, tmp_path: Path) -> None:
    create_topics(Connection(kafka.broker), partitions=2, replication=1)
    (tmp_path / "off").mkdir()
    play(kafka, tmp_path / "off", FVQ_PICTURES="off")
    assert messages(kafka.broker) == []
    kafka.remove_topics()
    create_topics(Connection(kafka.broker), partitions=2, replication=1)
    admin = KafkaAdminClient(bootstrap_servers=kafka.broker)
    admin.delete_topics([PICTURES_TOPIC])
    wait_for("the topic is gone", lambda: PICTURES_TOPIC not in admin.list_topics(), 30)
    (tmp_path / "none").mkdir()
    play(kafka, tmp_path / "none")
    assert PICTURES_TOPIC not in admin.list_topics()
    admin.close()
    assert "topic stream-pictures is missing: run `fvq topics create`" in (tmp_path / "none" / "worker.log").read_text()
