"""The topics: created, checked for drift, and their settings changed to what is wanted."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import TopicAlreadyExistsError

from streams.events import (
    ALERT_ACKS_TOPIC,
    ALERT_STATE_TOPIC,
    INGEST_STATE_TOPIC,
    LETTER_MARKS_TOPIC,
    MODELS_TOPIC,
    PICTURES_TOPIC,
    SEGMENTS_TOPIC,
    TRAINING_TOPIC,
)
from streams.kafka.clients import broker_errors, open_admin
from streams.kafka.connection import Connection
from streams.kafka.topic_looks import looked_up
from streams.text import counted
from streams.topic_names import PER_STREAM

PARTITIONS = 4
"""Of the topics that are keyed by stream, where nothing else is asked for."""

RETENTION_HOURS = 168
"""Kafka's own default, set on each topic, so that a broker with another default does not decide how long answers are kept."""

HOUR_MS = 3600 * 1000
MIN_IN_SYNC = "min.insync.replicas"
RETENTION = "retention.ms"

LEAST_SIZE = {"max.message.bytes": str(2**20 + 12)}
"""Kafka's own default. Letters, states and pictures are made to fit; where a topic takes less, some of them could not be sent."""

COMPACTED = {
    "cleanup.policy": "compact",
    "segment.ms": str(HOUR_MS // 6),
    "segment.bytes": str(16 * 2**20),
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": str(24 * HOUR_MS),
}
"""Settings of a topic whose readers begin at its beginning. Kafka compacts a segment of a partition only when it is closed, by
default after a week or 1 GiB, and half of the log is obsolete: until then every state of every stream would be read. After a day
it compacts in any case, so that what was taken back (`fvq forget`) leaves the disk also where few messages come."""

PICTURES = COMPACTED | {"cleanup.policy": "compact,delete", "segment.ms": str(HOUR_MS // 12), RETENTION: str(HOUR_MS)}
"""Settings of the pictures' topic: the last one of each stream, for an hour at most, because people may be in it."""

ALTER = "`fvq topics create --alter` changes that"


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
    """Every topic, without a prefix. Six are compacted: only the last message of a key counts, and it is never too old:

    the updates of each model, the alert agent's state of each stream, the acknowledgement of each alert, the ingester's position
    in each source, the marks of dead letters, and the training queue, where a clip waits until it is taken back. The pictures are
    compacted and soon deleted.
    """
    events = {"cleanup.policy": "delete", RETENTION: str(retention_hours * HOUR_MS)}
    of_streams, of_all = TopicPlan(partitions, COMPACTED), TopicPlan(1, COMPACTED)
    return dict.fromkeys(PER_STREAM, TopicPlan(partitions, events)) | {
        ALERT_STATE_TOPIC: of_streams,
        MODELS_TOPIC: of_all,
        TRAINING_TOPIC: of_streams,
        LETTER_MARKS_TOPIC: of_all,
        INGEST_STATE_TOPIC: of_streams,
        ALERT_ACKS_TOPIC: of_streams,
        PICTURES_TOPIC: TopicPlan(partitions, PICTURES),
    }


def in_sync(replication: int) -> dict[str, str]:
    """How many copies have a message before it is acknowledged, for topics of this replication.

    Kafka's default is one, the leader: what was acknowledged would be lost with its disk. Two of three let one broker be away.
    """
    return {MIN_IN_SYNC: "2"} if replication >= 3 else {}


def _wanted(connection: Connection, partitions: int, retention_hours: int = RETENTION_HOURS) -> dict[str, TopicPlan]:
    """The same, by the names on these brokers."""
    return {connection.named(name): plan for name, plan in wanted_topics(partitions, retention_hours).items()}


def has_topic(connection: Connection, name: str) -> bool:
    """Whether a topic is there, without creating it as a message to it would. Raises `BrokerError`."""
    with _asking(connection) as admin:
        return name in looked_up(admin, [name])


def topic_settings(connection: Connection, name: str) -> dict[str, str]:
    """All settings of a topic, also those that are the broker's defaults; none where it is missing. Raises `BrokerError`."""
    with _asking(connection) as admin:
        return _configs(admin, [name])[name] if name in looked_up(admin, [name], "DescribeConfigs") else {}


def create_topics(connection: Connection, partitions: int, replication: int, retention_hours: int = RETENTION_HOURS) -> list[str]:
    """Create the topics that are missing, and leave the others as they are; returns the new names. Raises `BrokerError`."""
    created = []
    with closing(open_admin(connection)) as admin:
        for name, plan in _wanted(connection, partitions, retention_hours).items():
            config = plan.config | in_sync(replication)
            topic = {"num_partitions": plan.partitions, "replication_factor": replication, "configs": config}
            refusal = broker_errors(f"Kafka at {connection.servers} created no topic {name}", "Create", name, connection.who)
            with refusal, suppress(TopicAlreadyExistsError):
                admin.create_topics({name: topic})
                created.append(name)
    return created


def alter_topics(connection: Connection, retention_hours: int | None = None) -> list[str]:
    """Change the settings that differ of the topics that are there; returns a line about each topic that was changed.

    retention_hours: None leaves how long messages of the per-stream topics are kept. Partitions and replication stay. Raises
    `BrokerError`.
    """
    lines = []
    with _asking(connection) as admin:
        wanted = _wanted(connection, 1, retention_hours or RETENTION_HOURS)
        for name, topic in _present(admin, wanted).items():
            differences = topic.differences(wanted[name], keeps_retention=retention_hours is None)
            changes = {difference.key: difference.wanted for difference in differences}
            if changes:
                admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, changes)])
                lines.append(f"{name}: " + ", ".join(f"{key}={value}" for key, value in changes.items()))
    return lines


def check_topics(
    connection: Connection, partitions: int | None, replication: int | None, retention_hours: int | None = None
) -> list[TopicReport]:
    """Each topic as it is against as wanted.

    None: any number; but all per-stream topics have the same partitions, and what is deleted and what compacted holds
    in any case.
    """
    with _asking(connection) as admin:
        present = _present(admin, _wanted(connection, 1))
    segments = present.get(connection.named(SEGMENTS_TOPIC))
    expected = partitions or (segments.partitions if segments else 1)
    reports = []
    for name, plan in _wanted(connection, expected, retention_hours or RETENTION_HOURS).items():
        topic = present.get(name)
        if topic is None:
            reports.append(TopicReport(name, 0, 0, "missing: run `fvq topics create`"))
            continue
        problems = []
        if topic.partitions != plan.partitions:
            verb = "is" if plan.partitions == 1 else "are"
            problems.append(f"has {counted(topic.partitions, 'partition')}, wanted {verb} {plan.partitions}")
        if replication is not None and topic.copies != replication:
            problems.append(f"has replication {topic.copies}, wanted is {replication}")
        problems += _described(topic.differences(plan, keeps_retention=retention_hours is None))
        reports.append(TopicReport(name, topic.partitions, topic.copies, "; ".join(problems)))
    return reports


@dataclass(frozen=True)
class _Difference:
    """A setting of a topic that is not as wanted."""

    key: str
    actual: str
    wanted: str

    def __str__(self) -> str:
        return f"has {self.key}={self.actual}, wanted is {self.wanted}"


@dataclass(frozen=True)
class _Topic:
    """A topic that is there. copies: replicas of the partition that has the fewest. config: all its settings."""

    name: str
    partitions: int
    copies: int
    config: dict[str, str]

    def differences(self, plan: TopicPlan, *, keeps_retention: bool) -> list[_Difference]:
        """The settings that are not as planned. keeps_retention: takes any retention of the topics that are deleted."""
        wanted = dict(plan.config)
        if keeps_retention and wanted["cleanup.policy"] == "delete":
            del wanted[RETENTION]
        differences = [
            _Difference(key, self.config[key], value)
            for key, value in wanted.items()
            if key in self.config and not _same(self.config[key], value)
        ]
        for key, value in (in_sync(self.copies) | LEAST_SIZE).items():
            if int(actual := self.config.get(key, value)) < int(value):
                differences.append(_Difference(key, actual, value))
        return differences


def _described(differences: Sequence[_Difference]) -> list[str]:
    """Each difference in words, the last one with what changes them."""
    words = [str(difference) for difference in differences]
    return [*words[:-1], f"{words[-1]}: {ALTER}"] if words else []


def _same(actual: str, wanted: str) -> bool:
    """Whether two values of a setting mean the same: numbers may be written in several ways, lists in any order."""
    try:
        return float(actual) == float(wanted)
    except ValueError:
        return sorted(actual.split(",")) == sorted(wanted.split(","))


@contextmanager
def _asking(connection: Connection) -> Iterator[Any]:
    """An admin client; what it raises becomes a `BrokerError`."""
    refusal = broker_errors(f"Kafka at {connection.servers} did not answer", "AlterConfigs", who=connection.who)
    with closing(open_admin(connection)) as admin, refusal:
        yield admin


def _present(admin: Any, wanted: Collection[str]) -> dict[str, _Topic]:
    """Those of the wanted topics that are there."""
    described = looked_up(admin, wanted, "DescribeConfigs")
    if not described:
        return {}
    configs, topics = _configs(admin, sorted(described)), {}
    for topic in described.values():
        copies = min((len(partition["replica_nodes"]) for partition in topic["partitions"]), default=0)
        topics[topic["name"]] = _Topic(topic["name"], len(topic["partitions"]), copies, configs[topic["name"]])
    return topics


def _configs(admin: Any, names: list[str]) -> dict[str, dict[str, str]]:
    """All settings of topics, also those that are the broker's defaults."""
    answer = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names], config_filter="all")
    settings = next(iter(answer.values()))
    return {name: {key: str(data["value"]) for key, data in settings[name].items()} for name in names}
