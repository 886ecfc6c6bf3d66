"""How to connect to the brokers: addresses, TLS and user, for kafka-python and for Faust's aiokafka."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streams.errors import SettingsError
from streams.topic_names import prefixed

if TYPE_CHECKING:
    import faust

RECONNECT_MS = 2000
"""Longest pause between two attempts to reach a broker that is away. kafka-python's own 30 s would prolong every outage."""


@dataclass(frozen=True)
class Connection:
    """Where the brokers are, and who connects to them.

    servers: `host:port[,host:port]`. security: Kafka's `security.protocol`. mechanism: Kafka's `sasl.mechanism`, for the
    user and password. ca_file, cert_file, key_file: PEM files of the brokers' authorities and of this client. prefix: before the
    names of this environment's topics and groups, see `named`.
    """

    servers: str
    security: str = "PLAINTEXT"
    mechanism: str = "SCRAM-SHA-512"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    prefix: str = ""

    def named(self, name: str) -> str:
        """What a topic or a consumer group of this product is called on these brokers."""
        return prefixed(self.prefix, name)

    @property
    def who(self) -> str:
        """Whom the brokers take this client for, in words."""
        if self.user is not None:
            return f"user {self.user}"
        return f"the owner of {self.cert_file}" if self.cert_file is not None else "a client without a user"

    def client_options(self) -> dict[str, Any]:
        """Arguments of every kafka-python client. Raises `SettingsError` where a PEM file cannot be read."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.servers.split(","),
            "security_protocol": self.security,
            "reconnect_backoff_max_ms": RECONNECT_MS,
        }
        if self.security.endswith("SSL"):
            options["ssl_context"] = self._tls_context()
        if self.security.startswith("SASL"):
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password,
            }
        return options

    def faust_credentials(self) -> faust.SASLCredentials | faust.SSLCredentials | None:
        """The same for a Faust app's `broker_credentials`; None for a connection without TLS and user."""
        import faust

        context = self._tls_context() if self.security.endswith("SSL") else None
        if self.security.startswith("SASL"):
            return faust.SASLCredentials(
                username=self.user, password=self.password, mechanism=self.mechanism, ssl_context=context
            )
        return faust.SSLCredentials(context) if context is not None else None

    def _tls_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self.ca_file is not None:
            try:
                context = ssl.create_default_context(cafile=self.ca_file)
            except (OSError, ssl.SSLError) as error:
                raise SettingsError("FVQ_KAFKA_CA_FILE", f"{self.ca_file} cannot be read: {error}") from error
        if self.cert_file is not None:
            try:
                context.load_cert_chain(self.cert_file, self.key_file)
            except (OSError, ssl.SSLError) as error:
                raise SettingsError("FVQ_KAFKA_CERT_FILE", f"{self.cert_file} cannot be loaded: {error}") from error
        return context
