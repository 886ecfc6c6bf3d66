"""The kafka-python clients that this project uses: member of a group, reader, observer of a group, producer, administrator."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError

from streams.errors import BrokerError
from streams.kafka.connection import Connection

ACK_SECONDS = 30.0
"""How long an acknowledgement is waited for."""

OBSERVER_MS = 5000
"""Time-out of a request for offsets: the one who asks must not hang as long as a broker does."""

BOOTSTRAP_MS = 8000
"""How long a client of a command looks for the first broker that answers."""

BULK = {"fetch_min_bytes": 65536, "fetch_max_wait_ms": 200}
"""For members that read every score: an answer of the broker costs as much as dozens of messages in it, so the broker
collects messages for up to 200 ms."""


def open_member(connection: Connection, group: str, session_seconds: float, *, bulk: bool = False) -> KafkaConsumer:
    """A consumer that joins a group and commits by itself. session_seconds: silence after which others take its partitions."""
    return KafkaConsumer(
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=int(session_seconds * 1000),
        heartbeat_interval_ms=int(session_seconds * 1000 / 6),
        **(BULK if bulk else {}),
        **connection.client_options(),
    )


def open_reader(connection: Connection) -> KafkaConsumer:
    """A consumer in no group: it is assigned partitions, and its place is nobody's but its own."""
    return KafkaConsumer(
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        bootstrap_timeout_ms=BOOTSTRAP_MS,
        **connection.client_options(),
    )


def open_observer(connection: Connection, group: str) -> KafkaConsumer:
    """A consumer that never joins the group: it only asks for the group's committed offsets."""
    return KafkaConsumer(
        group_id=group,
        enable_auto_commit=False,
        request_timeout_ms=OBSERVER_MS,
        bootstrap_timeout_ms=OBSERVER_MS,
        session_timeout_ms=OBSERVER_MS - 1000,
        heartbeat_interval_ms=1000,
        **connection.client_options(),
    )


def open_producer(connection: Connection) -> KafkaProducer:
    """A producer whose messages are acknowledged by all replicas in sync."""
    return KafkaProducer(acks="all", max_block_ms=int(ACK_SECONDS * 1000), **connection.client_options())


def send_all(producer: Any, topic: str, messages: Iterable[tuple[bytes, bytes | None]], partition: int | None = None) -> None:
    """Send (key, value) messages and wait for all acknowledgements. Raises `KafkaError`."""
    sent = [producer.send(topic, key=key, value=value, partition=partition) for key, value in messages]
    for acknowledgement in sent:
        acknowledgement.get(timeout=ACK_SECONDS)


def open_admin(connection: Connection, request_seconds: float = 15.0) -> KafkaAdminClient:
    """An administrator. Raises `BrokerError` where no broker answers."""
    try:
        options = connection.client_options() | {"request_timeout_ms": int(request_seconds * 1000)}
        return KafkaAdminClient(bootstrap_timeout_ms=BOOTSTRAP_MS, **options)
    except (KafkaError, ValueError, OSError) as error:
        raise no_broker(connection, error, "start it, correct FVQ_BROKER, or see FVQ_KAFKA_*") from error


def check_broker(connection: Connection) -> None:
    """Raise `BrokerError` where none of the brokers answers."""
    open_admin(connection, request_seconds=5.0).close()


def no_broker(connection: Connection, error: Exception, remedy: str = "") -> BrokerError:
    """The error for brokers that do not answer. kafka-python's words name hosts and the mechanism, never the password."""
    text = f"no Kafka broker answers at {connection.servers} ({type(error).__name__})"
    return BrokerError(f"{text}: {remedy}" if remedy else text)
