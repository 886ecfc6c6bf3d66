"""The topics: created once, and checked for drift."""

from __future__ import annotations

from dataclasses import dataclass

from kafka import KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError

from streams.events import ALERTS_TOPIC, DEAD_LETTER_TOPIC, MODELS_TOPIC, SCORES_TOPIC, SEGMENTS_TOPIC, TRAINING_TOPIC
from streams.worker import BrokerError

PER_STREAM = (SEGMENTS_TOPIC, SCORES_TOPIC, ALERTS_TOPIC, TRAINING_TOPIC, DEAD_LETTER_TOPIC)
"""Topics keyed by stream: all have the same number of partitions, as Faust's tables need."""


@dataclass(frozen=True)
class TopicReport:
    """One topic as it is. partitions: 0 where it is missing. problem: '' where it is as wanted."""

    name: str
    partitions: int
    replication: int
    problem: str = ""


def wanted_topics(partitions: int) -> dict[str, int]:
    """Name and number of partitions of every topic; model updates are few and their order matters."""
    return dict.fromkeys(PER_STREAM, partitions) | {MODELS_TOPIC: 1}


def create_topics(broker: str, partitions: int, replication: int) -> list[str]:
    """Create the topics that are missing; returns their names. Raises `BrokerError`."""
    created = []
    admin = _admin(broker)
    try:
        for name, count in wanted_topics(partitions).items():
            try:
                admin.create_topics({name: {"num_partitions": count, "replication_factor": replication}})
                created.append(name)
            except TopicAlreadyExistsError:
                continue
    except KafkaError as error:
        raise BrokerError(f"Kafka at {broker} refused to create topics: {error}") from error
    finally:
        admin.close()
    return created


def check_topics(broker: str, partitions: int | None, replication: int | None) -> list[TopicReport]:
    """Each topic as it is against as wanted. None: any number, as long as all per-stream topics have the same."""
    admin = _admin(broker)
    try:
        names = set(admin.list_topics())
        described = {one["name"]: one["partitions"] for one in admin.describe_topics([n for n in wanted_topics(1) if n in names])}
    except KafkaError as error:
        raise BrokerError(f"Kafka at {broker} did not answer: {error}") from error
    finally:
        admin.close()
    expected = partitions or len(described.get(SEGMENTS_TOPIC, ())) or 1
    reports = []
    for name, count in wanted_topics(expected).items():
        found = described.get(name)
        if found is None:
            reports.append(TopicReport(name, 0, 0, "missing: run `fvq topics create`"))
            continue
        copies = min((len(one["replica_nodes"]) for one in found), default=0)
        problem = ""
        if len(found) != count:
            problem = f"has {len(found)} partitions, wanted are {count}"
        elif replication is not None and copies != replication:
            problem = f"has replication {copies}, wanted is {replication}"
        reports.append(TopicReport(name, len(found), copies, problem))
    return reports


def _admin(broker: str) -> KafkaAdminClient:
    try:
        return KafkaAdminClient(bootstrap_servers=broker.split(","), request_timeout_ms=15000, bootstrap_timeout_ms=8000)
    except (KafkaError, ValueError, OSError) as error:
        raise BrokerError(
            f"no Kafka broker answers at {broker} ({type(error).__name__}): start it, or correct FVQ_BROKER"
        ) from error
