"""How far a group is on a real Kafka: offsets that no message has are nothing that anybody could answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition

from streams.kafka.connection import Connection
from streams.kafka.progress import Progress, lag_of
from tests.support.servers import KafkaServer
from tests.support.waiting import wait_for

TOPIC, GROUP = "announced", "workers"
AT = TopicPartition(TOPIC, 0)


@pytest.fixture
def admin(kafka: KafkaServer) -> Iterator[KafkaAdminClient]:
    admin = KafkaAdminClient(bootstrap_servers=kafka.broker)
    admin.create_topics({TOPIC: {"num_partitions": 1, "replication_factor": 1}})
    yield admin
    admin.close()


def commit(kafka: KafkaServer, offset: int) -> None:
    """Commit as a worker that has answered what is before this offset."""
    consumer = KafkaConsumer(bootstrap_servers=kafka.broker, group_id=GROUP, enable_auto_commit=False)
    consumer.assign([AT])
    consumer.commit({AT: OffsetAndMetadata(offset, "", -1)})
    consumer.close()


def wait_for_end(kafka: KafkaServer, offset: int) -> None:
    """Wait until the partition ends here: Kafka writes a transaction's mark after it has told the producer of its end."""
    consumer = KafkaConsumer(bootstrap_servers=kafka.broker)
    wait_for("the mark of the transaction", lambda: consumer.end_offsets([AT])[AT] == offset, 60)
    consumer.close()


@pytest.mark.usefixtures("admin")
def test_the_mark_of_a_transaction_is_no_message_that_waits(kafka: KafkaServer) -> None:
    """A packager may write in transactions. Their marks take offsets, and a silent partition's last offset is one."""
    producer = KafkaProducer(bootstrap_servers=kafka.broker, transactional_id="packager")
    producer.init_transactions()
    with Progress(Connection(kafka.broker), GROUP, TOPIC) as progress:
        for first in (0, 4):
            producer.begin_transaction()
            for number in range(3):
                producer.send(TOPIC, b"%d" % number)
            producer.commit_transaction()
            wait_for_end(kafka, first + 4)
            commit(kafka, first + 2)
            for _ in range(2):
                assert lag_of(*progress.ends_and_committed([0])) == {0: 2}, "one message and the mark"
            commit(kafka, first + 3)
            assert lag_of(*progress.ends_and_committed([0])) == {0: 1}, "not looked at yet: it moves"
            # Where a broker is slow, the mark counts as a message; the next look may tell.
            wait_for("the mark is no message", lambda: lag_of(*progress.ends_and_committed([0])) == {0: 0}, 60)
            both = {0: first + 4}, {0: first + 4}
            wait_for("nor is it one here", lambda both=both: progress.ends_and_committed([0]) == both, 60)
    producer.close()


def test_what_retention_has_deleted_does_not_wait(kafka: KafkaServer, admin: KafkaAdminClient) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka.broker)
    for number in range(10):
        producer.send(TOPIC, b"%d" % number)
    producer.close()
    commit(kafka, 3)
    admin.delete_records({AT: 8})
    with Progress(Connection(kafka.broker), GROUP, TOPIC) as progress:
        assert lag_of(*progress.ends_and_committed([0])) == {0: 2}
        admin.delete_records({AT: 10})
        assert lag_of(*progress.ends_and_committed([0])) == {0: 0}
