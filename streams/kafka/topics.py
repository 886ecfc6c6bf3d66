"""The topics: created once, and checked for drift."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError, TopicAlreadyExistsError

from streams.errors import BrokerError
from streams.events import (
    ALERT_ACKS_TOPIC,
    ALERT_STATE_TOPIC,
    ALERTS_TOPIC,
    DEAD_LETTER_TOPIC,
    INGEST_STATE_TOPIC,
    LETTER_MARKS_TOPIC,
    MODELS_TOPIC,
    SCORES_TOPIC,
    SEGMENTS_TOPIC,
    TRAINING_TOPIC,
)
from streams.kafka.clients import open_admin
from streams.kafka.connection import Connection

PER_STREAM = (SEGMENTS_TOPIC, SCORES_TOPIC, ALERTS_TOPIC, DEAD_LETTER_TOPIC)
"""Topics keyed by stream: all have the same number of partitions, as Faust's tables need."""

RETENTION_HOURS = 168
"""Kafka's own default, set on each topic, so that a broker with another default does not decide how long answers are kept."""

HOUR_MS = 3600 * 1000
MIN_IN_SYNC = "min.insync.replicas"


@dataclass(frozen=True)
class TopicPlan:
    """A topic as it is wanted. config: the settings that matter, as Kafka names them."""

    partitions: int
    config: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TopicReport:
    """One topic as it is. partitions: 0 where it is missing. problem: '' where it is as wanted."""

    name: str
    partitions: int
    replication: int
    problem: str = ""


def wanted_topics(partitions: int, retention_hours: int = RETENTION_HOURS) -> dict[str, TopicPlan]:
    """Every topic. Six are compacted, since only the last message of a key counts, and it is never too old:

    the updates of each model, the alert agent's state of each stream, the acknowledgement of each alert, the ingester's position
    in each source, the marks of dead letters, and the training queue, where a clip waits until it is taken back.
    """
    events = {"cleanup.policy": "delete", "retention.ms": str(retention_hours * HOUR_MS)}
    state = {"cleanup.policy": "compact"}
    states = {ALERT_STATE_TOPIC: TopicPlan(partitions, state), MODELS_TOPIC: TopicPlan(1, state)}
    states |= {TRAINING_TOPIC: TopicPlan(partitions, state), LETTER_MARKS_TOPIC: TopicPlan(1, state)}
    states |= {INGEST_STATE_TOPIC: TopicPlan(partitions, state), ALERT_ACKS_TOPIC: TopicPlan(partitions, state)}
    return {name: TopicPlan(partitions, events) for name in PER_STREAM} | states


def in_sync(replication: int) -> dict[str, str]:
    """How many copies have a message before it is acknowledged, for topics of this replication.

    Kafka's default is one, the leader: what was acknowledged would be lost with its disk. Two of three let one broker be away.
    """
    return {MIN_IN_SYNC: "2"} if replication >= 3 else {}


def create_topics(connection: Connection, partitions: int, replication: int, retention_hours: int = RETENTION_HOURS) -> list[str]:
    """Create the topics that are missing, and leave the others as they are; returns the new names. Raises `BrokerError`."""
    created = []
    admin = open_admin(connection)
    try:
        for name, plan in wanted_topics(partitions, retention_hours).items():
            config = plan.config | in_sync(replication)
            topic = {"num_partitions": plan.partitions, "replication_factor": replication, "configs": config}
            try:
                admin.create_topics({name: topic})
                created.append(name)
            except TopicAlreadyExistsError:
                continue
    except KafkaError as error:
        raise BrokerError(f"Kafka at {connection.servers} refused to create topics: {error}") from error
    finally:
        admin.close()
    return created


def check_topics(
    connection: Connection, partitions: int | None, replication: int | None, retention_hours: int | None = None
) -> list[TopicReport]:
    """Each topic as it is against as wanted.

    None: any number; but all per-stream topics have the same partitions, and what is deleted and what compacted holds
    in any case.
    """
    admin = open_admin(connection)
    try:
        names = sorted(set(admin.list_topics()) & set(wanted_topics(1)))
        described = {topic["name"]: topic["partitions"] for topic in admin.describe_topics(names)} if names else {}
        configs = _configs(admin, names) if names else {}
    except KafkaError as error:
        raise BrokerError(f"Kafka at {connection.servers} did not answer: {error}") from error
    finally:
        admin.close()
    expected = partitions or len(described.get(SEGMENTS_TOPIC, ())) or 1
    reports = []
    for name, plan in wanted_topics(expected, retention_hours or RETENTION_HOURS).items():
        present = described.get(name)
        if present is None:
            reports.append(TopicReport(name, 0, 0, "missing: run `fvq topics create`"))
            continue
        copies = min((len(partition["replica_nodes"]) for partition in present), default=0)
        config = configs[name]
        problems = []
        if len(present) != plan.partitions:
            problems.append(f"has {len(present)} partitions, wanted are {plan.partitions}")
        if replication is not None and copies != replication:
            problems.append(f"has replication {copies}, wanted is {replication}")
        for key, value in plan.config.items():
            if key == "retention.ms" and retention_hours is None:
                continue
            if (actual := config.get(key, value)) != value:
                problems.append(f"has {key}={actual}, wanted is {value}")
        for key, value in in_sync(copies).items():
            if int(actual := config.get(key, value)) < int(value):
                problems.append(f"has {key}={actual}, wanted is {value}: change it with kafka-configs.sh --alter")
        reports.append(TopicReport(name, len(present), copies, "; ".join(problems)))
    return reports


def _configs(admin: Any, names: list[str]) -> dict[str, dict[str, str]]:
    """All settings of topics, also those that are the broker's defaults."""
    answer = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names], config_filter="all")
    settings = next(iter(answer.values()))
    return {name: {key: str(data["value"]) for key, data in settings[name].items()} for name in names}
