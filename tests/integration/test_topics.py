"""`fvq topics` against a real Kafka."""

from __future__ import annotations

from kafka import KafkaAdminClient

from streams.events import DEAD_LETTER_TOPIC, SCORES_TOPIC, SEGMENTS_TOPIC
from tests.integration.harness import KafkaServer, fvq


def test_create_is_idempotent_and_check_agrees(kafka: KafkaServer) -> None:
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


def test_check_reports_a_topic_with_other_partitions(kafka: KafkaServer) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka.broker)
    admin.create_topics({SEGMENTS_TOPIC: {"num_partitions": 2, "replication_factor": 1}})
    admin.close()
    fvq("topics", "create", FVQ_BROKER=kafka.broker)
    checked = fvq("topics", "check", FVQ_BROKER=kafka.broker)
    assert checked.returncode != 0
    assert SEGMENTS_TOPIC in checked.stdout + checked.stderr


def test_an_unreachable_broker_is_an_error_not_a_traceback() -> None:
    checked = fvq("topics", "check", FVQ_BROKER="127.0.0.1:1")
    assert checked.returncode != 0
    assert "127.0.0.1:1" in checked.stdout + checked.stderr
    assert "Traceback" not in checked.stdout + checked.stderr
