"""The topics: how they are created, and what counts as drift."""

from __future__ import annotations

from typing import Any

import pytest

from streams.kafka import topics
from streams.kafka.connection import Connection
from streams.kafka.topics import MIN_IN_SYNC, check_topics, create_topics, in_sync, wanted_topics


@pytest.mark.parametrize(("replication", "min_in_sync"), [(1, None), (2, None), (3, "2"), (5, "2")])
def test_from_three_replicas_on_two_have_a_message_before_it_is_acknowledged(replication: int, min_in_sync: str | None) -> None:
    assert in_sync(replication).get("min.insync.replicas") == min_in_sync


class MemoryAdmin:
    """Stands for kafka-python's `KafkaAdminClient` at a cluster of three brokers, which has all topics with three replicas.

    created: what `create_topics` was asked for, by topic.
    """

    def __init__(self) -> None:
        self.created: dict[str, Any] = {}

    def create_topics(self, wanted: dict[str, Any]) -> None:
        self.created |= wanted

    def list_topics(self) -> list[str]:
        return list(wanted_topics(1))

    def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        return [{"name": name, "partitions": [{"replica_nodes": [1, 2, 3]}]} for name in names]

    def close(self) -> None:
        pass


def test_topics_with_three_replicas_are_created_with_two_in_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = MemoryAdmin()
    monkeypatch.setattr(topics, "open_admin", lambda *_: admin)
    create_topics(Connection("kafka:9092"), partitions=2, replication=3)
    assert set(admin.created) == set(wanted_topics(2))
    assert {topic["configs"][MIN_IN_SYNC] for topic in admin.created.values()} == {"2"}
    create_topics(Connection("kafka:9092"), partitions=2, replication=1)
    assert not any(MIN_IN_SYNC in topic["configs"] for topic in admin.created.values())


@pytest.mark.parametrize(("value", "problem"), [("1", "has min.insync.replicas=1, wanted is 2"), ("2", ""), ("3", "")])
def test_three_replicas_of_which_fewer_than_two_are_in_sync_are_drift(
    monkeypatch: pytest.MonkeyPatch, value: str, problem: str
) -> None:
    def configs(_: Any, names: list[str]) -> dict[str, dict[str, str]]:
        return {name: wanted_topics(1)[name].config | {MIN_IN_SYNC: value} for name in names}

    monkeypatch.setattr(topics, "open_admin", lambda *_: MemoryAdmin())
    monkeypatch.setattr(topics, "_configs", configs)
    for report in check_topics(Connection("kafka:9092"), partitions=1, replication=3):
        assert report.problem.startswith(problem) if problem else report.problem == ""
