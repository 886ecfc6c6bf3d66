"""Real servers for the integration tests, started once for all of them."""

from __future__ import annotations

from tests.support.servers import influxdb, kafka, kafka_server

__all__ = ["influxdb", "kafka", "kafka_server"]
