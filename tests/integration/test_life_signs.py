"""What a worker says of itself, from start to stop, with a Kafka that goes away in between and comes back."""

from __future__ import annotations

import json
import signal
import subprocess
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from streams.events import SEGMENTS_TOPIC, SegmentEvent
from streams.kafka.connection import Connection
from streams.kafka.topics import create_topics
from tests.support.pages import read_page
from tests.support.processes import ROOT, with_two_streams
from tests.support.servers import KafkaServer, free_ports
from tests.support.topics import produce
from tests.support.waiting import wait_for

MEDIA = ROOT / "examples/face.mp4"
NO_MEDIA = ROOT / "README.md"
MOST_LINES = 40
"""Lines of a worker in this test: some 20 for what happens, and no line for each attempt."""


OUTAGE = {"outage of Kafka begins": True, "outage of Kafka is over": False}


def kafka_is_away(log: str) -> bool:
    """Whether an outage of Kafka goes on, as a worker's log says."""
    begun, over = map(log.count, OUTAGE)
    return begun > over


def worker(
    broker: str, folder: Path, port: int, line_format: str, **more: str
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """A worker whose streams are the files `out` and `err`."""
    settings = {
        "FVQ_BROKER": broker,
        "FVQ_WEB_PORT": str(port),
        "FVQ_LOG_FORMAT": line_format,
        "FVQ_LIVE_WINDOW": "off",
        "FVQ_GROUP": "life-signs",
        "FVQ_SESSION_TIMEOUT": "60",
        "FVQ_MEDIA_ROOTS": str(ROOT),
    }
    return with_two_streams(folder, "worker", **(settings | more))


def segment(number: int, media: Path = MEDIA) -> SegmentEvent:
    return SegmentEvent(
        stream_id="a", segment_id=f"a/{number}", sequence=number, uri=media.as_uri(), start=datetime.now(UTC), duration=2.0
    )


@pytest.mark.timeout(900)
def test_every_line_of_a_worker_is_json_and_tells_of_a_change(kafka: KafkaServer, tmp_path: Path) -> None:
    create_topics(Connection(kafka.broker), partitions=4, replication=1)
    port, err, policy = free_ports(1), tmp_path / "err", tmp_path / "policy.yaml"
    policy.write_text("alerts: {smoothing: 3}")

    def says(text: str) -> None:
        wait_for(text, lambda: text in err.read_text(), 90)

    def has_scored(count: int) -> bool:
        return f'fvq_segments_total{{status="scored"}} {count}.0' in read_page(port, "/metrics")[1]

    with worker(kafka.broker, tmp_path, port, "json", FVQ_ALERT_POLICY=str(policy), FVQ_WORST_STREAMS="1") as process:
        says("rebalance: this worker reads partitions 0-3")
        produce(kafka.broker, SEGMENTS_TOPIC, [segment(0), segment(1, NO_MEDIA)])
        wait_for("a score", lambda: has_scored(1), 90)
        wait_for("its series", lambda: 'fvq_stream_score{stream_id="a"}' in read_page(port, "/metrics")[1], 90)
        policy.write_text("receivers: [{name: on-call, type: json, url: 'http://127.0.0.1:9'}]")
        says(f"alert policy {policy} is read again: limits and receivers on-call")
        assert "alerts to on-call" in read_page(port, "/healthz")[1]
        kafka.stop()
        wait_for("an outage begins", lambda: kafka_is_away(err.read_text()), 90)
        kafka.start()
        wait_for("it is over", lambda: not kafka_is_away(err.read_text()), 90)
        produce(kafka.broker, SEGMENTS_TOPIC, [segment(2)])
        wait_for("a score after the outage", lambda: has_scored(2), 90)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert (tmp_path / "out").read_bytes() == b""
    records: list[dict[str, Any]] = [json.loads(line) for line in err.read_text().splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(record) for record in records)
    messages = [record["message"] for record in records]
    assert messages[0].startswith("worker starts; pages at ")
    assert messages[-1].startswith("worker has stopped after ")
    for once in ("worker starts", "worker stops (SIGTERM)", "worker has stopped"):
        assert sum(message.startswith(once) for message in messages) == 1, once
    # Each outage has two lines. Where the machine stands still, an answer that comes too late is one as well.
    turns = [begins for message in messages for text, begins in OUTAGE.items() if message.startswith(text)]
    assert turns == [True, False] * (len(turns) // 2), messages
    assert len(turns) // 2 in (1, 2, 3), messages
    assert any(message.startswith("dead letter") for message in messages)
    assert len(messages) < MOST_LINES, messages


@pytest.mark.parametrize("line_format", ["json", "text"])
def test_a_wrong_setting_is_told_in_the_logs_form(tmp_path: Path, line_format: str) -> None:
    with worker("127.0.0.1:1", tmp_path, 0, line_format, FVQ_BATCH_SIZE="many") as process:
        assert process.wait(240) == 2
    (line,) = (tmp_path / "err").read_text().splitlines()
    message = json.loads(line)["message"] if line_format == "json" else line
    assert "FVQ_BATCH_SIZE" in message


@pytest.mark.parametrize("line_format", ["json", "text"])
def test_a_worker_that_cannot_start_says_why_in_its_form(tmp_path: Path, line_format: str) -> None:
    with worker("127.0.0.1:1", tmp_path, 0, line_format) as process:
        assert process.wait(240) == 1
    last = (tmp_path / "err").read_text().splitlines()[-1]
    assert (json.loads(last)["message"] if line_format == "json" else last).endswith("or see FVQ_KAFKA_*")
