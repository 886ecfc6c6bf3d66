"""How the topics are wanted."""

from __future__ import annotations

from typing import Any

import pytest

from streams.kafka import topics
from streams.kafka.connection import Connection
from streams.kafka.topics import MIN_IN_SYNC, check_topics, create_topics, in_sync, wanted_topics


@pytest.mark.parametrize(("replication", "copies"), [(1, None), (2, None), (3, "2"), (5, "2")])
def test_what_is_acknowledged_outlives_a_broker_where_there_are_three(replication: int, copies: str | None) -> None:
    assert in_sync(replication).get("min.insync.replicas") == copies


class Cluster:
    """A cluster of three brokers, as far as an admin client shows it."""

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


def test_topics_of_three_copies_are_made_so_that_two_have_every_message(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    monkeypatch.setattr(topics, "open_admin", lambda *_: cluster)
    create_topics(Connection("kafka:9092"), partitions=2, replication=3)
    assert set(cluster.created) == set(wanted_topics(2))
    assert {topic["configs"][MIN_IN_SYNC] for topic in cluster.created.values()} == {"2"}
    create_topics(Connection("kafka:9092"), partitions=2, replication=1)
    assert not any(MIN_IN_SYNC in topic["configs"] for topic in cluster.created.values())


@pytest.mark.parametrize(("value", "problem"), [("1", "has min.insync.replicas=1, wanted is 2"), ("2", ""), ("3", "")])
def test_three_copies_of_which_one_is_enough_are_drift(monkeypatch: pytest.MonkeyPatch, value: str, problem: str) -> None:
    def configs(_: Any, names: list[str]) -> dict[str, dict[str, str]]:
        return {name: wanted_topics(1)[name].config | {MIN_IN_SYNC: value} for name in names}

    monkeypatch.setattr(topics, "open_admin", lambda *_: Cluster())
    monkeypatch.setattr(topics, "_configs", configs)
    for report in check_topics(Connection("kafka:9092"), partitions=1, replication=3):
        assert report.problem.startswith(problem) if problem else report.problem == ""
