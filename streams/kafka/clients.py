"""The kafka-python clients that this project uses: member of a group, reader, observer of a group, producer, administrator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import kafka
from kafka import KafkaAdminClient, KafkaConsumer
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.net.compat import KafkaNetClient

from streams.errors import BrokerError
from streams.kafka.connection import Connection
from streams.kafka.rights import Operation
from streams.kafka.unreadable import keep_kafka_python_reading
from streams.refusals import who_uses, words

keep_kafka_python_reading()

ACK_SECONDS = 30.0
"""How long an acknowledgement is waited for."""

OBSERVER_MS = 5000
"""Time-out of a request for offsets: the one who asks must not hang as long as a broker does."""

BOOTSTRAP_MS = 8000
"""How long a client of a command looks for the first broker that answers."""

BULK = {"fetch_min_bytes": 65536, "fetch_max_wait_ms": 200}
"""For members that read every score: an answer of the broker costs as much as dozens of messages in it, so the broker
collects messages for up to 200 ms."""


LINGER_MS = 5
"""How long a producer waits for more messages of a request: those that are sent together go together."""


class KafkaProducer(kafka.KafkaProducer):
    """kafka-python's producer, which is closed when `close` returns, and raises nothing then.

    Where a broker does not take what is left within the time, kafka-python's (3.0) raises before it has closed anything: its
    thread would stay, and go on to send for two minutes what its caller has given up and sent again.
    """

    def close(self, timeout: float | None = None, null_logger: bool = False) -> None:
        """Send what is left for so many seconds, and give up the rest."""
        try:
            super().close(timeout, null_logger)
        except KafkaTimeoutError:
            self._sender.force_close()
            with suppress(KafkaTimeoutError):  # what was left fails at once
                super().close(timeout, null_logger)


def _made(client: Callable[..., Any], **options: Any) -> Any:
    """A client of kafka-python.

    Where no broker answers, kafka-python (3.0) raises and leaves the client's thread and its files open for ever. An agent tries
    again every few seconds for as long as an outage lasts: after some hours the process could open no file any more.

    And it loses its option that no broker may make a topic, see `streams.kafka.new_topics`.
    """
    connections: list[KafkaNetClient] = []

    def connect(**settings: Any) -> KafkaNetClient:
        connections.append(KafkaNetClient(**settings))
        connections[-1].cluster.config["allow_auto_create_topics"] = False
        return connections[-1]

    try:
        return client(kafka_client=connect, **options)
    except BaseException:
        for connection in connections:
            connection.close()
        raise


def open_member(connection: Connection, group: str, session_seconds: float, *, bulk: bool) -> KafkaConsumer:
    """A consumer that joins a group; its caller commits. session_seconds: silence after which others take its partitions."""
    return _made(
        KafkaConsumer,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=int(session_seconds * 1000),
        heartbeat_interval_ms=int(session_seconds * 1000 / 6),
        **(BULK if bulk else {}),
        **connection.client_options(),
    )


def open_reader(connection: Connection) -> KafkaConsumer:
    """A consumer in no group: its caller assigns partitions, and no offset is committed. Raises `BrokerError`."""
    with no_broker_errors(connection):
        return _made(
            KafkaConsumer,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            bootstrap_timeout_ms=BOOTSTRAP_MS,
            **connection.client_options(),
        )


@contextmanager
def reading(connection: Connection) -> Iterator[Any]:
    """A consumer of `open_reader`, which is closed at the end. Raises `BrokerError`."""
    reader: Any = open_reader(connection)
    try:
        yield reader
    finally:
        reader.close(timeout_ms=1000)


def open_observer(connection: Connection, group: str) -> KafkaConsumer:
    """A consumer that never joins the group: it only asks for the group's committed offsets."""
    return _made(
        KafkaConsumer,
        group_id=group,
        enable_auto_commit=False,
        request_timeout_ms=OBSERVER_MS,
        bootstrap_timeout_ms=OBSERVER_MS,
        session_timeout_ms=OBSERVER_MS - 1000,
        heartbeat_interval_ms=1000,
        **connection.client_options(),
    )


def open_producer(connection: Connection) -> KafkaProducer:
    """A producer whose messages are acknowledged by all replicas in sync. Raises `BrokerError`."""
    with no_broker_errors(connection):
        options = connection.client_options()
        return _made(KafkaProducer, acks="all", linger_ms=LINGER_MS, max_block_ms=int(ACK_SECONDS * 1000), **options)


@contextmanager
def writing(connection: Connection) -> Iterator[Any]:
    """A producer of `open_producer`, which is closed at the end. Raises `BrokerError`."""
    producer: Any = open_producer(connection)
    try:
        yield producer
    finally:
        producer.close(timeout=1)


def send_all(producer: Any, topic: str, messages: Iterable[tuple[bytes, bytes | None]]) -> None:
    """Send (key, value) messages and wait for all acknowledgements. Raises `BrokerError`."""
    await_sends(topic, (producer.send(topic, key=key, value=value) for key, value in messages), who_uses(producer))


def await_sends(topic: str, sends: Iterable[Any], who: str = "") -> None:
    """Make all sends, then wait for their acknowledgements. Raises `BrokerError`.

    sends: what `producer.send` returns, as a generator: what the sending itself raises becomes a `BrokerError` too.
    who: sends them, as `Connection.who`.
    """
    with broker_errors(f"{topic} does not take a message", "Write", topic, who):
        for acknowledgement in list(sends):
            acknowledgement.get(timeout=ACK_SECONDS)


@contextmanager
def broker_errors(what: str, operation: Operation = "Read", name: str = "", who: str = "") -> Iterator[None]:
    """What kafka-python raises inside becomes a `BrokerError` that says what could not be done.

    operation, name, who: which right is missing where Kafka refuses it, see `streams.refusals.words`.
    """
    try:
        yield
    except KafkaError as error:
        raise BrokerError(f"{what}: {words(error, operation, name, who)}") from error


def open_admin(connection: Connection, request_seconds: float = 15.0) -> KafkaAdminClient:
    """An administrator. Raises `BrokerError` where no broker answers."""
    options = connection.client_options() | {"request_timeout_ms": int(request_seconds * 1000)}
    with no_broker_errors(connection):
        return _made(KafkaAdminClient, bootstrap_timeout_ms=BOOTSTRAP_MS, **options)


def check_broker(connection: Connection) -> None:
    """Raise `BrokerError` where none of the brokers answers."""
    open_admin(connection, request_seconds=5.0).close()


@contextmanager
def no_broker_errors(connection: Connection) -> Iterator[None]:
    """What a client raises that finds no broker becomes a `BrokerError`. Its words name hosts and the mechanism, never the
    password."""
    try:
        yield
    except (KafkaError, ValueError, OSError) as error:
        place = f"{connection.servers} ({type(error).__name__})"
        raise BrokerError(f"no Kafka broker answers at {place}: start it, correct FVQ_BROKER, or see FVQ_KAFKA_*") from error
