"""`fvq topics` against a real Kafka."""

from __future__ import annotations

import json
from pathlib import Path

from kafka import KafkaAdminClient, KafkaProducer

from streams.events import ALERT_STATE_TOPIC, DEAD_LETTER_TOPIC, MODELS_TOPIC, SCORES_TOPIC, SEGMENTS_TOPIC
from streams.kafka import topics
from streams.kafka.connection import Connection
from streams.kafka.topics import create_topics
from tests.support.processes import fvq
from tests.support.servers import KafkaServer
from tests.support.topics import Follower
from tests.support.waiting import wait_for


def test_create_can_be_repeated_and_check_then_finds_no_problem(kafka: KafkaServer) -> None:
    before = fvq("topics", "check", FVQ_BROKER=kafka.broker)
    assert before.returncode != 0, "no topic exists yet"
    assert SEGMENTS_TOPIC in before.stdout + before.stderr

    for _ in range(2):
        created = fvq("topics", "create", FVQ_BROKER=kafka.broker)
        assert created.returncode == 0, created.stdout + created.stderr

    after = fvq("topics", "check", FVQ_BROKER=kafka.broker)
    assert after.returncode == 0, after.stdout + after.stderr
    admin = KafkaAdminClient(bootstrap_servers=kafka.broker)
    assert {SEGMENTS_TOPIC, SCORES_TOPIC, DEAD_LETTER_TOPIC} <= set(admin.list_topics())
    admin.close()


def test_the_doctor_of_a_program_fails_where_its_topics_are_not_there(kafka: KafkaServer, tmp_path: Path) -> None:
    """Without users too, and with the prefix of an environment that nobody made."""

    def rights(prefix: str) -> dict[str, object]:
        settings = {"FVQ_BROKER": kafka.broker, "FVQ_TOPIC_PREFIX": prefix, "FVQ_DATA_DIR": str(tmp_path)}
        report = fvq("doctor", "--json", "--for", "ingest", **settings)
        (check,) = [check for check in json.loads(report.stdout)["checks"] if check["name"] == "rights"]
        assert report.returncode == (0 if check["ok"] else 1), report.stdout
        return dict(check)

    assert fvq("topics", "create", FVQ_BROKER=kafka.broker, FVQ_TOPIC_PREFIX="staging.").returncode == 0
    there, mistyped = rights("staging."), rights("stagign.")
    assert there["ok"], there
    assert not mistyped["ok"]
    assert mistyped["detail"] == "topics of `fvq ingest hls` are not there: stagign.ingest-state, stagign.video-segments"
    assert "`fvq topics create`" in str(mistyped["fix"])
    admin = KafkaAdminClient(bootstrap_servers=kafka.broker)
    assert not [name for name in admin.list_topics() if name.startswith("stagign.")], "asking makes none"
    admin.close()


def test_check_reports_a_topic_with_another_number_of_partitions(kafka: KafkaServer) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka.broker)
    admin.create_topics({SEGMENTS_TOPIC: {"num_partitions": 2, "replication_factor": 1}})
    admin.close()
    fvq("topics", "create", FVQ_BROKER=kafka.broker)
    checked = fvq("topics", "check", FVQ_BROKER=kafka.broker)
    assert checked.returncode != 0
    assert SEGMENTS_TOPIC in checked.stdout + checked.stderr


def test_created_topics_have_the_retention_and_the_models_topic_is_compacted(kafka: KafkaServer) -> None:
    fvq("topics", "create", "--partitions", "3", "--retention-hours", "24", FVQ_BROKER=kafka.broker)
    admin = KafkaAdminClient(bootstrap_servers=kafka.broker)
    configs = topics._configs(admin, [SEGMENTS_TOPIC, MODELS_TOPIC])
    admin.close()
    assert configs[SEGMENTS_TOPIC]["retention.ms"] == str(24 * 3600 * 1000)
    assert configs[SEGMENTS_TOPIC]["cleanup.policy"] == "delete"
    assert configs[MODELS_TOPIC]["cleanup.policy"] == "compact"
    right = fvq("topics", "check", "--partitions", "3", "--retention-hours", "24", FVQ_BROKER=kafka.broker)
    assert right.returncode == 0, right.stdout


def test_check_reports_every_difference_and_create_changes_no_existing_topic(kafka: KafkaServer) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka.broker)
    wrong = {"num_partitions": 2, "replication_factor": 1, "configs": {"cleanup.policy": "delete"}}
    admin.create_topics({MODELS_TOPIC: wrong})
    admin.close()
    created = fvq("topics", "create", FVQ_BROKER=kafka.broker)
    assert f"created {MODELS_TOPIC}" not in created.stdout
    checked = fvq("topics", "check", "--replication", "3", "--retention-hours", "1", "--json", FVQ_BROKER=kafka.broker)
    assert checked.returncode == 1
    problems = {topic["name"]: topic["problem"] for topic in map(json.loads, checked.stdout.splitlines())}
    assert problems[MODELS_TOPIC].startswith(
        "has 2 partitions, wanted is 1; has replication 1, wanted is 3; has cleanup.policy=delete, wanted is compact; has "
    )
    assert problems[SEGMENTS_TOPIC] == (
        "has replication 1, wanted is 3; has retention.ms=604800000, wanted is 3600000: `fvq topics create --alter` changes that"
    )
    assert f"left as it is: {MODELS_TOPIC}: has 2 partitions, wanted is 1; has cleanup.policy=delete" in created.stdout


def test_alter_changes_the_settings_of_a_topic_that_is_there(kafka: KafkaServer) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka.broker)
    own = {"cleanup.policy": "compact", "max.message.bytes": "2000000"}
    admin.create_topics({ALERT_STATE_TOPIC: {"num_partitions": 4, "replication_factor": 1, "configs": own}})
    altered = fvq("topics", "create", "--alter", FVQ_BROKER=kafka.broker)
    assert altered.returncode == 0, altered.stderr
    assert f"changed {ALERT_STATE_TOPIC}: segment.ms=600000" in altered.stdout
    config = topics._configs(admin, [ALERT_STATE_TOPIC])[ALERT_STATE_TOPIC]
    admin.close()
    assert config["max.message.bytes"] == "2000000", "what is not ours stays"
    assert fvq("topics", "check", FVQ_BROKER=kafka.broker).returncode == 0
    assert fvq("topics", "create", FVQ_BROKER=kafka.broker).stdout == ""


def test_the_states_of_streams_are_compacted(kafka: KafkaServer) -> None:
    """A reader gets far fewer states than were written, some seconds after they were."""
    create_topics(Connection(kafka.broker), partitions=1, replication=1)
    producer = KafkaProducer(bootstrap_servers=kafka.broker, linger_ms=20, batch_size=500_000)
    states, streams = 8_000, 100
    for number in range(states):  # 64 MB: the topic's segments have 16 MiB
        producer.send(ALERT_STATE_TOPIC, key=f"stream-{number % streams}".encode(), value=number.to_bytes(4, "big") * 2000)
    producer.close()

    def values() -> list[bytes]:
        follower = Follower(kafka.broker, ALERT_STATE_TOPIC)
        try:
            return follower.read()
        finally:
            follower.close()

    # The segments that are closed are compacted; the last one, of up to 2,100 states, is not.
    wait_for("obsolete states are gone", lambda: len(values()) < states / 3, 240)
    assert {int.from_bytes(value[:4], "big") for value in values()} >= set(range(states - streams, states))


def test_an_unreachable_broker_is_an_error_not_a_traceback() -> None:
    checked = fvq("topics", "check", FVQ_BROKER="127.0.0.1:1")
    assert checked.returncode != 0
    assert "127.0.0.1:1" in checked.stdout + checked.stderr
    assert "Traceback" not in checked.stdout + checked.stderr
