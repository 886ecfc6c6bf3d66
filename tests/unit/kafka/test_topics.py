"""The topics: how they are created, and what counts as drift."""

from __future__ import annotations

from typing import Any

import pytest

from streams.events import ALERT_STATE_TOPIC
from streams.kafka import topics
from streams.kafka.connection import Connection
from streams.kafka.topics import (
    MIN_IN_SYNC,
    alter_topics,
    check_topics,
    create_topics,
    in_sync,
    wanted_topics,
)
from streams.topic_names import PER_STREAM


@pytest.mark.parametrize(("replication", "min_in_sync"), [(1, None), (2, None), (3, "2"), (5, "2")])
def test_from_three_replicas_on_two_have_a_message_before_it_is_acknowledged(replication: int, min_in_sync: str | None) -> None:
    assert in_sync(replication).get("min.insync.replicas") == min_in_sync


class MemoryAdmin:
    """Stands for kafka-python's `KafkaAdminClient` at a cluster of three brokers, which has all topics with three replicas.

    created, altered: what `create_topics` and `alter_configs` were asked for, by topic.
    """

    def __init__(self) -> None:
        self.created: dict[str, Any] = {}
        self.altered: dict[str, Any] = {}

    def create_topics(self, wanted: dict[str, Any]) -> None:
        self.created |= wanted

    def alter_configs(self, resources: list[Any]) -> None:
        self.altered |= {resource.name: resource.configs for resource in resources}

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


@pytest.mark.parametrize(("value", "has_problem"), [("2000", True), ("1048588", False), ("2000000", False)])
def test_a_topic_that_takes_less_than_a_letter_may_have_is_drift(
    monkeypatch: pytest.MonkeyPatch, value: str, has_problem: bool
) -> None:
    def configs(_: Any, names: list[str]) -> dict[str, dict[str, str]]:
        return {name: wanted_topics(1)[name].config | in_sync(3) | {"max.message.bytes": value} for name in names}

    monkeypatch.setattr(topics, "open_admin", lambda *_: MemoryAdmin())
    monkeypatch.setattr(topics, "_configs", configs)
    for report in check_topics(Connection("kafka:9092"), partitions=1, replication=3):
        assert report.problem.startswith("has max.message.bytes=2000, wanted is 1048588") == has_problem


def test_a_topic_that_is_never_compacted_is_drift_and_is_changed_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = MemoryAdmin()
    lazy = {"segment.ms": "604800000", "segment.bytes": "1073741824", "min.cleanable.dirty.ratio": "0.5"}

    def configs(_: Any, names: list[str]) -> dict[str, dict[str, str]]:
        right = {name: wanted_topics(1)[name].config | in_sync(3) for name in names}
        return right | {ALERT_STATE_TOPIC: right[ALERT_STATE_TOPIC] | lazy}

    monkeypatch.setattr(topics, "open_admin", lambda *_: admin)
    monkeypatch.setattr(topics, "_configs", configs)
    connection = Connection("kafka:9092")
    problems = {report.name: report.problem for report in check_topics(connection, None, None) if report.problem}
    assert list(problems) == [ALERT_STATE_TOPIC]
    assert problems[ALERT_STATE_TOPIC].startswith("has segment.ms=604800000, wanted is 600000; has segment.bytes=1073741824, ")
    assert problems[ALERT_STATE_TOPIC].endswith("wanted is 0.1: `fvq topics create --alter` changes that")
    assert admin.altered == {}
    (changed,) = alter_topics(connection)
    assert changed == f"{ALERT_STATE_TOPIC}: segment.ms=600000, segment.bytes=16777216, min.cleanable.dirty.ratio=0.1"
    assert admin.altered == {ALERT_STATE_TOPIC: {key: wanted_topics(1)[ALERT_STATE_TOPIC].config[key] for key in lazy}}


def test_the_retention_is_changed_only_where_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def configs(_: Any, names: list[str]) -> dict[str, dict[str, str]]:
        return {name: wanted_topics(1, 24)[name].config | in_sync(3) | {"min.cleanable.dirty.ratio": "0.10"} for name in names}

    admin = MemoryAdmin()
    monkeypatch.setattr(topics, "open_admin", lambda *_: admin)
    monkeypatch.setattr(topics, "_configs", configs)
    assert alter_topics(Connection("kafka:9092")) == []
    assert not [report for report in check_topics(Connection("kafka:9092"), None, None, 24) if "retention" in report.problem]
    assert set(alter_topics(Connection("kafka:9092"), 48)) == {f"{name}: retention.ms=172800000" for name in PER_STREAM}
