"""Real servers for the integration tests, started once for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.harness import InfluxServer, KafkaServer


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    server = KafkaServer(tmp_path_factory.mktemp("kafka") / "data")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def kafka(kafka_server: KafkaServer) -> KafkaServer:
    """A running Apache Kafka without topics."""
    if kafka_server("status").returncode != 0:
        kafka_server.start()  # an earlier test took it down
    kafka_server.remove_topics()
    return kafka_server


@pytest.fixture(scope="session")
def influxdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    server = InfluxServer(tmp_path_factory.mktemp("influxdb") / "data")
    server.start(seconds=1200)  # where it was not built before
    yield server
    server.kill()
