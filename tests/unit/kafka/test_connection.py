"""One connection for both Kafka clients; and no secret in what is printed or logged."""

from __future__ import annotations

import logging
from pathlib import Path

import faust
import pytest
from kafka import KafkaConsumer

from streams import parts
from streams.errors import SettingsError
from streams.kafka.connection import Connection
from streams.logs import LONGEST_CHARS, configure_logging
from streams.settings import Settings


def secured(**changes: object) -> Settings:
    fields = {"broker": "kafka:9093", "kafka_security": "SASL_SSL", "kafka_user": "fvq", "kafka_password": "s3cret"}
    return Settings(**(fields | changes))


PLAIN = Connection("kafka:9092")


def test_both_clients_get_the_same_user_and_mechanism() -> None:
    settings = secured(kafka_sasl="scram-sha-256")
    connection = parts.connection(settings)
    options, credentials = connection.client_options(), connection.faust_credentials()
    assert isinstance(credentials, faust.SASLCredentials)
    assert options["security_protocol"] == credentials.protocol.value == "SASL_SSL"
    assert options["sasl_mechanism"] == credentials.mechanism.value == "SCRAM-SHA-256"
    assert options["sasl_plain_password"] == credentials.password == "s3cret"
    assert "s3cret" not in repr(settings) + repr(connection) + repr(credentials)


def test_tls_alone_and_neither() -> None:
    tls = parts.connection(Settings(broker="kafka:9093", kafka_security="ssl"))
    assert set(tls.client_options()) - set(PLAIN.client_options()) == {"ssl_context"}
    assert isinstance(tls.faust_credentials(), faust.SSLCredentials)
    assert PLAIN.client_options()["security_protocol"] == "PLAINTEXT"
    assert PLAIN.faust_credentials() is None


def test_a_broker_that_comes_back_is_found_soon() -> None:
    """The client's own pause between attempts grows to 30 s, which every outage would be longer by."""
    name = "reconnect_backoff_max_ms"
    assert PLAIN.client_options()[name] <= 2000 < KafkaConsumer.DEFAULT_CONFIG[name]


def test_a_password_comes_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("from-file\n")
    assert secured(kafka_password=None, kafka_password_file=file).kafka_secret() == "from-file"


def test_a_wrong_certificate_is_named(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("this is no certificate")
    with pytest.raises(SettingsError, match="FVQ_KAFKA_CA_FILE"):
        parts.connection(secured(kafka_ca_file=file)).client_options()
    with pytest.raises(SettingsError, match="FVQ_KAFKA_CERT_FILE"):
        parts.connection(secured(kafka_cert_file=file)).client_options()


@pytest.mark.usefixtures("log_as_before")
def test_a_log_line_has_an_end(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "text")
    logging.getLogger("streams").warning("waits for %s", ["a message"] * 10_000)
    line = capsys.readouterr().err
    assert len(line) < LONGEST_CHARS + 100
    assert "characters)" in line
