"""How brokers are spoken to: one place for addresses, TLS and users, for kafka-python and for Faust's aiokafka."""

from __future__ import annotations

import ssl
import threading
import time
from typing import Any

import faust
from kafka import ConsumerRebalanceListener, KafkaAdminClient
from kafka.errors import KafkaError

from streams.settings import Settings, SettingsError

RECONNECT_MS = 2000
"""Longest pause between attempts to reach a broker that is away. The client's own 30 s would be added to every outage."""


MANY_AT_ONCE = {"fetch_min_bytes": 65536, "fetch_max_wait_ms": 200}
"""For those that read every score: an answer of the broker costs a reader as much as dozens of messages in it, so that some
are waited for, not long."""


GLANCE_MS = 10
"""How long a poll itself may wait."""


class BrokerError(Exception):
    """The broker cannot be reached."""


def client_options(settings: Settings) -> dict[str, Any]:
    """What every kafka-python client is given. Raises `SettingsError` where a file is wrong."""
    protocol = settings.kafka_security
    options: dict[str, Any] = {"security_protocol": protocol, "reconnect_backoff_max_ms": RECONNECT_MS}
    if protocol.endswith("SSL"):
        options["ssl_context"] = tls_context(settings)
    if protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": settings.kafka_sasl,
            "sasl_plain_username": settings.kafka_user,
            "sasl_plain_password": settings.kafka_secret(),
        }
    return options


def faust_credentials(settings: Settings) -> faust.SASLCredentials | faust.SSLCredentials | None:
    """The same for a Faust app's `broker_credentials`; None where nothing is asked for."""
    context = tls_context(settings) if settings.kafka_security.endswith("SSL") else None
    if settings.kafka_security.startswith("SASL"):
        return faust.SASLCredentials(
            username=settings.kafka_user, password=settings.kafka_secret(), mechanism=settings.kafka_sasl, ssl_context=context
        )
    return faust.SSLCredentials(context) if context is not None else None


def tls_context(settings: Settings) -> ssl.SSLContext:
    """Certificates that are trusted, and this client's own. Raises `SettingsError` that names the wrong file."""
    context = ssl.create_default_context()
    if settings.kafka_ca_file is not None:
        try:
            context = ssl.create_default_context(cafile=settings.kafka_ca_file)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError("FVQ_KAFKA_CA_FILE", f"{settings.kafka_ca_file} cannot be read: {error}") from error
    if settings.kafka_cert_file is not None:
        try:
            context.load_cert_chain(settings.kafka_cert_file, settings.kafka_key_file)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError("FVQ_KAFKA_CERT_FILE", f"{settings.kafka_cert_file} cannot be loaded: {error}") from error
    return context


def open_admin(broker: str, security: dict[str, Any] | None = None, request_seconds: float = 15.0) -> KafkaAdminClient:
    """An admin client. security: `client_options` of the settings. Raises `BrokerError` where no server answers."""
    try:
        return KafkaAdminClient(
            bootstrap_servers=broker.split(","),
            request_timeout_ms=int(request_seconds * 1000),
            bootstrap_timeout_ms=8000,
            **(security or {}),
        )
    except (KafkaError, ValueError, OSError) as error:
        # Its words name hosts and the mechanism, never the password.
        raise BrokerError(
            f"no Kafka broker answers at {broker} ({type(error).__name__}): start it, correct FVQ_BROKER, or see FVQ_KAFKA_*"
        ) from error


def check_broker(broker: str, security: dict[str, Any] | None = None) -> None:
    """Raise `BrokerError` where none of the servers answers."""
    open_admin(broker, security, request_seconds=5.0).close()


class Rebalance(ConsumerRebalanceListener):
    """Notes rebalances. What is to be done is done after the poll: what a listener raises, the client swallows.

    seen: one began or ended since it was cleared last. under_way: what the consumer calls its assignment is the old one;
    a poll may return in the middle of a rebalance.
    """

    def __init__(self) -> None:
        self.seen = threading.Event()
        self.under_way = threading.Event()

    def on_partitions_revoked(self, revoked: Any) -> None:  # noqa: ARG002
        self.under_way.set()
        self.seen.set()

    def on_partitions_lost(self, lost: Any) -> None:  # noqa: ARG002
        self.under_way.set()
        self.seen.set()

    def on_partitions_assigned(self, assigned: Any) -> None:  # noqa: ARG002
        self.under_way.clear()
        self.seen.set()


def polled(consumer: Any, rebalance: Rebalance, seconds: float, most: int) -> dict[Any, list[Any]]:
    """Messages that a member of a group has, by partition; waits for some as long as told, and hardly longer.

    consumer: a kafka-python `KafkaConsumer` with this listener. most: messages at a time. While kafka-python (3.0) itself waits,
    it turns in circles as soon as a heartbeat is overdue: with a broker that hangs, a whole core and 12 MiB a second.
    """
    wait_ms = int(seconds * 1000)
    if rebalance.under_way.is_set() or not consumer.assignment():
        # It joins its group while it waits; with glances alone it never would, at the embedded broker.
        return dict(consumer.poll(timeout_ms=wait_ms, max_records=most))
    found = dict(consumer.poll(timeout_ms=min(GLANCE_MS, wait_ms), max_records=most))
    if not found:
        time.sleep(seconds)
    return found
