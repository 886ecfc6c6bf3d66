"""Members of a group and readers at a real Kafka: partitions that come while a member joins, and topics that are made anew."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import NewPartitions

from streams.kafka.clients import open_producer, open_reader, send_all
from streams.kafka.connection import Connection
from streams.kafka.consumer import Batch, Group, Member, read_to_end
from tests.support.servers import KafkaServer
from tests.support.waiting import wait_for

TOPIC = "growing"
SHORT = 0.002
"""Seconds of a poll: joining a group takes longer, so each join ends in a later poll than the one that began it."""


def partitions_of(member: Member, batches: Iterator[Batch]) -> set[int]:
    """The partitions that a member has after one more poll."""
    next(batches)
    return {partition for _, partition in member.consumer.assignment()}


def test_a_member_reads_partitions_that_are_added_however_short_its_polls_are(kafka: KafkaServer) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka.broker)
    admin.create_topics({TOPIC: {"num_partitions": 1, "replication_factor": 1}})
    with Member(Connection(kafka.broker), Group("readers", 6), [TOPIC]) as member:
        batches = member.batches(threading.Event(), lambda: SHORT, 10)
        wait_for("it joins", lambda: partitions_of(member, batches) == {0}, 90, every=0.0)
        admin.create_partitions({TOPIC: NewPartitions(3)})
        wait_for("Kafka has them", lambda: len(admin.describe_topics([TOPIC])[0]["partitions"]) == 3, 90)
        member.consumer.topics()  # fetches what is there, which the client else does every five minutes
        wait_for("it has all", lambda: partitions_of(member, batches) == {0, 1, 2}, 90, every=0.0)
    admin.close()


def make_anew(admin: KafkaAdminClient, connection: Connection, texts: Sequence[bytes]) -> None:
    """Delete the topic where it is there, create it, and write these messages to it."""
    if TOPIC in admin.list_topics():
        admin.delete_topics([TOPIC])
    wait_for("the old one is gone", lambda: TOPIC not in admin.list_topics(), 90)
    admin.create_topics({TOPIC: {"num_partitions": 1, "replication_factor": 1}})
    producer = open_producer(connection)
    send_all(producer, TOPIC, [(b"key", text) for text in texts])
    producer.close()


def test_a_member_reads_a_topic_again_that_was_away(kafka: KafkaServer) -> None:
    admin, connection = KafkaAdminClient(bootstrap_servers=kafka.broker), Connection(kafka.broker)
    make_anew(admin, connection, [b"old"])
    with Member(connection, Group("readers of what was away", 6), [TOPIC]) as member:
        batches = member.batches(threading.Event(), lambda: 0.2, 10)
        wait_for("it joins", lambda: partitions_of(member, batches) == {0}, 90, every=0.0)
        admin.delete_topics([TOPIC])
        member.consumer._client.cluster.request_update()  # as after a lost connection
        wait_for("it knows that the topic is away", lambda: partitions_of(member, batches) == set(), 90, every=0.0)
        make_anew(admin, connection, [b"new"])
        read = lambda: [record.value for records in next(batches).records.values() for record in records]  # noqa: E731
        wait_for("the new message", lambda: b"new" in read(), 60, every=0.0)
    admin.close()


def test_a_reader_reads_a_topic_that_was_made_anew_once_from_its_beginning(kafka: KafkaServer) -> None:
    admin, connection, at = KafkaAdminClient(bootstrap_servers=kafka.broker), Connection(kafka.broker), TopicPartition(TOPIC, 0)
    old, new = [b"%d" % number for number in range(30)], [b"new %d" % number for number in range(10)]
    read: list[bytes] = []

    def count_read() -> int:
        read.extend(record.value for record in read_to_end(reader, [at]))
        return len(read)

    make_anew(admin, connection, old)
    reader = open_reader(connection)
    reader.assign([at])
    reader.seek_to_beginning(at)
    assert count_read() == 30
    make_anew(admin, connection, new)
    wait_for("the new messages", lambda: count_read() >= 40, 90)
    count_read()
    assert read == old + new
    reader.close()
    admin.close()
