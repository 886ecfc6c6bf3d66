"""What is there, listed from a real Kafka: `fvq sources`, `fvq dead-letters`, and drift told by `fvq topics create`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from kafka import KafkaProducer

from streams.events import INGEST_STATE_TOPIC
from streams.ingest.base import Position, SavedPosition, Stream
from streams.ingest.positions import key_of, to_bytes
from streams.ingest.states import SourceState
from tests.support.processes import fvq
from tests.support.servers import KafkaServer

SINCE = datetime(2026, 1, 31, 20, 15, tzinfo=UTC)
LONG = "studio-" + "7" * 90


def test_sources_of_all_ingesters_are_listed_whole(kafka: KafkaServer, tmp_path: Path) -> None:
    settings = {"FVQ_BROKER": kafka.broker, "FVQ_DATA_DIR": str(tmp_path), "COLUMNS": "80"}
    before = fvq("sources", **settings)
    assert before.returncode == 1, "the topic is missing"
    assert "fvq topics create" in before.stderr
    assert fvq("topics", "create", **settings).returncode == 0
    assert json.loads(fvq("sources", "--json", **settings).stdout) == []
    saved = SavedPosition(Position(), "https://o.example/a.m3u8")
    producer = KafkaProducer(bootstrap_servers=kafka.broker)
    for stream, state in (
        (Stream(LONG), SourceState("live", SINCE)),
        (Stream("news", "720p"), SourceState("failing", SINCE, "not-found", "not there (HTTP 404)")),
    ):
        producer.send(INGEST_STATE_TOPIC, key=key_of(stream), value=to_bytes(stream, saved, SINCE, state))
    producer.close()
    listed = json.loads(fvq("sources", "ls", "--json", **settings).stdout)
    assert [(item["stream_id"], item["rendition"], item["state"]) for item in listed] == [
        ("news", "720p", "failing"),
        (LONG, None, "live"),
    ]
    table = fvq("sources", **settings).stdout
    assert table.startswith("2 sources\n")
    assert f"{LONG} " in table
    failing = fvq("sources", "ls", "--state", "failing", **settings).stdout
    assert "1 source\n" in failing
    assert LONG not in failing
    assert fvq("sources", "ls", "--state", "dead", **settings).returncode == 2
    assert json.loads(fvq("dead-letters", "--json", **settings).stdout) == []


def test_create_tells_of_drift_as_check_does(kafka: KafkaServer) -> None:
    assert fvq("topics", "create", "--partitions", "2", FVQ_BROKER=kafka.broker).returncode == 0
    again = fvq("topics", "create", "--partitions", "3", "--replication", "1", FVQ_BROKER=kafka.broker)
    checked = fvq("topics", "check", "--partitions", "3", "--replication", "1", FVQ_BROKER=kafka.broker)
    assert again.returncode == 0
    assert checked.returncode == 1
    wrong = [line for line in checked.stdout.splitlines() if "wanted" in line]
    assert wrong
    assert [line.removeprefix("left as it is: ") for line in again.stdout.splitlines()] == wrong
    assert fvq("topics", "create", FVQ_BROKER=kafka.broker).stdout == "", "nothing is asked for, and nothing differs"
