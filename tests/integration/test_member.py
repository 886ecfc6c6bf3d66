"""Members of a group at a real Kafka: topics and partitions that come while a member joins are its own in the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from kafka import KafkaAdminClient
from kafka.admin import NewPartitions

from streams.kafka.connection import Connection
from streams.kafka.consumer import Batch, Group, Member
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
        wait_for("it joins", lambda: partitions_of(member, batches) == {0}, 30, every=0.0)
        admin.create_partitions({TOPIC: NewPartitions(3)})
        wait_for("Kafka has them", lambda: len(admin.describe_topics([TOPIC])[0]["partitions"]) == 3, 30)
        member.consumer.topics()  # fetches what is there, which the client else does every five minutes
        wait_for("it has all", lambda: partitions_of(member, batches) == {0, 1, 2}, 30, every=0.0)
    admin.close()
